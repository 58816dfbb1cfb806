package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"veto/replication/peer"
	"veto/test/authority"
)

// signer gives identities of one cluster.
type signer struct{ *authority.Authority }

func newAuthority(t *testing.T) signer {
	t.Helper()
	return signer{authority.New(t)}
}

func (s signer) identity(t *testing.T, id string) peer.Identity {
	t.Helper()
	return s.until(t, id, time.Now().Add(time.Hour))
}

func (s signer) until(t *testing.T, id string, end time.Time) peer.Identity {
	t.Helper()
	return peer.Identity{ID: id, Certificate: s.Sign(t, end, id), Authorities: s.Pool}
}

type coded struct{ error }

func (coded) Code() string { return "a_code" }

func listen(t *testing.T, id peer.Identity) *peer.Mux {
	t.Helper()
	m, err := peer.Listen("127.0.0.1:0", id, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m.Handle("/echo", func(_ context.Context, from string, body []byte) ([]byte, error) {
		return append([]byte(from+":"), body...), nil
	})
	m.Handle("/fail", func(context.Context, string, []byte) ([]byte, error) { return nil, coded{errors.New("no")} })
	m.Handle("/hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	m.Serve()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestCalls(t *testing.T) {
	a := newAuthority(t)
	one, two := listen(t, a.identity(t, "n1")), listen(t, a.identity(t, "n2"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			got, err := one.Call(t.Context(), two.Addr(), "n2", "/echo", []byte("hello"))
			if err != nil || string(got) != "n1:hello" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	_, err := one.Call(t.Context(), two.Addr(), "n2", "/fail", nil)
	var remote *peer.RemoteError
	if !errors.As(err, &remote) || remote.Code != "a_code" || remote.Detail != "no" {
		t.Errorf("%v", err)
	}
	if _, err := one.Call(t.Context(), two.Addr(), "n2", "/echo", make([]byte, peer.MaxBody+1)); err == nil {
		t.Error("a call over the limit was sent")
	}
}

func TestRaftConnections(t *testing.T) {
	a := newAuthority(t)
	one, two := listen(t, a.identity(t, "n1")), listen(t, a.identity(t, "n2"))
	go func() {
		c, err := two.Raft().Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	c, err := one.DialRaft(two.Addr(), "n2", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, []byte("ping")) {
		t.Errorf("%q, %v", got, err)
	}
}

// P9
func TestStrangersAreRefused(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	one := listen(t, ours.identity(t, "n1"))
	stranger := listen(t, theirs.identity(t, "n1"))
	if _, err := stranger.Call(t.Context(), one.Addr(), "n1", "/echo", nil); err == nil {
		t.Error("a stranger was answered")
	}
	if _, err := one.Call(t.Context(), stranger.Addr(), "n1", "/echo", nil); err == nil {
		t.Error("a stranger was called")
	}
	// One who would take anybody, and shows nothing or a stranger's certificate.
	for name, config := range map[string]*tls.Config{
		"no certificate":        {InsecureSkipVerify: true, NextProtos: []string{"veto-rpc/1"}},
		"stranger's":            {InsecureSkipVerify: true, NextProtos: []string{"veto-rpc/1"}, Certificates: []tls.Certificate{theirs.identity(t, "n1").Certificate}},
		"ours, but TLS 1.2":     {InsecureSkipVerify: true, NextProtos: []string{"veto-rpc/1"}, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ours.identity(t, "n1").Certificate}},
		"ours, unknown purpose": {InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{ours.identity(t, "n1").Certificate}},
	} {
		if answered(t, one.Addr(), config) {
			t.Errorf("%s: answered", name)
		}
	}
	if config := (&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"veto-rpc/1"}, Certificates: []tls.Certificate{ours.identity(t, "n9").Certificate}}); !answered(t, one.Addr(), config) {
		t.Error("this test cannot tell: ours was not answered either")
	}
}

func answered(t *testing.T, addr string, config *tls.Config) bool {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, config)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	b, _ := io.ReadAll(c)
	return strings.HasPrefix(string(b), "HTTP/1.1 200")
}

// P9
func TestWrongIDIsRefused(t *testing.T) {
	a := newAuthority(t)
	one, two := listen(t, a.identity(t, "n1")), listen(t, a.identity(t, "n2"))
	if _, err := one.Call(t.Context(), two.Addr(), "n3", "/echo", nil); err == nil || !strings.Contains(err.Error(), "node n2 answers where n3 was expected") {
		t.Errorf("%v", err)
	}
	if _, err := one.DialRaft(two.Addr(), "n3", time.Second); err == nil {
		t.Error("another node was taken for n3")
	}
	if _, err := one.DialNotices(t.Context(), two.Addr(), "n3"); err == nil {
		t.Error("another node was taken for n3, to tell it")
	}
}

// E1
func TestCallTellsWhetherItWasSent(t *testing.T) {
	a := newAuthority(t)
	one, two := listen(t, a.identity(t, "n1")), listen(t, a.identity(t, "n2"))
	var failed *peer.CallError
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := one.Call(ctx, two.Addr(), "n2", "/hang", nil); !errors.As(err, &failed) || !failed.Sent {
		t.Errorf("hangs: %v", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	if _, err := one.Call(t.Context(), free.Addr().String(), "n2", "/echo", nil); !errors.As(err, &failed) || failed.Sent {
		t.Errorf("nobody there: %v", err)
	}
}

// E5: a node's certificate and authorities are exchanged while it talks. Calls go on, and what was connected by
// the old ones is cut off after the grace.
func TestIdentityIsRenewed(t *testing.T) {
	old, fresh := newAuthority(t), newAuthority(t)
	a, b := listen(t, old.identity(t, "a")), listen(t, old.identity(t, "b"))
	says := func(from, to *peer.Mux, id string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := from.Call(ctx, to.Addr(), id, "/echo", nil)
		return err
	}
	raft, err := a.DialRaft(b.Addr(), "b", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer raft.Close()
	taken, err := b.Raft().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	told, err := a.DialNotices(t.Context(), b.Addr(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()

	both := old.Pool.Clone()
	both.AddCert(fresh.Certificate)
	with := func(by signer, id string, believes *x509.CertPool) peer.Identity {
		i := by.identity(t, id)
		i.Authorities = believes
		return i
	}
	for n, step := range []func(m *peer.Mux, id string){
		func(m *peer.Mux, id string) { m.Renew(with(old, id, both), time.Hour) },
		func(m *peer.Mux, id string) { m.Renew(with(fresh, id, both), time.Hour) },
		func(m *peer.Mux, id string) { m.Renew(with(fresh, id, fresh.Pool), 0) },
	} {
		for _, x := range []struct {
			m  *peer.Mux
			id string
		}{{a, "a"}, {b, "b"}} {
			step(x.m, x.id)
			for _, f := range []func() error{func() error { return says(a, b, "b") }, func() error { return says(b, a, "a") }} {
				err := f()
				if err != nil && n == 2 { // without a grace, a connection may be cut while a call goes over it
					err = f()
				}
				if err != nil {
					t.Errorf("step %d, %s: %v", n, x.id, err)
				}
			}
		}
	}
	for name, c := range map[string]net.Conn{"of Raft": raft, "of notices": told} {
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			continue // it was closed on this side
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection %s by the old authority goes on: %v", name, err)
		}
	}
	if err := says(listen(t, old.identity(t, "late")), a, "a"); err == nil {
		t.Error("the old authority is still believed")
	}
}

// Certificates outlive a cluster that was restored or recovered, and its nodes may come back.
func TestAnotherClusterIsRefused(t *testing.T) {
	a := newAuthority(t)
	of := func(id, cluster string) peer.Identity {
		i := a.identity(t, id)
		i.Cluster = func() string { return cluster }
		return i
	}
	now, same, before, fresh := listen(t, of("n1", "cluster-2")), listen(t, of("n2", "cluster-2")), listen(t, of("n3", "cluster-1")), listen(t, of("n4", ""))
	for _, row := range []struct {
		name     string
		from, to *peer.Mux
		id       string
		taken    bool
	}{
		{"the same", same, now, "n1", true},
		{"the one before", before, now, "n1", false},
		{"the other way", now, before, "n3", false},
		{"from none", fresh, now, "n1", true},
		{"to none", now, fresh, "n4", true},
	} {
		_, err := row.from.Call(t.Context(), row.to.Addr(), row.id, "/echo", nil)
		if (err == nil) != row.taken {
			t.Errorf("a call, %s: %v", row.name, err)
		}
		var failed *peer.CallError
		if !row.taken && (!errors.As(err, &failed) || failed.Sent) {
			t.Errorf("%s: it is not known that the call was not sent: %v", row.name, err)
		}
		c, err := row.from.DialRaft(row.to.Addr(), row.id, 5*time.Second)
		if err == nil {
			_ = c.Close()
		}
		if (err == nil) != row.taken {
			t.Errorf("Raft, %s: %v", row.name, err)
		}
		if c, err = row.from.DialNotices(t.Context(), row.to.Addr(), row.id); err == nil {
			_ = c.Close()
		}
		if (err == nil) != row.taken {
			t.Errorf("notices, %s: %v", row.name, err)
		}
	}
}

// emptyAndTwo are node n3, of the cluster that own says, which is none yet; n1, of cluster-1; and n2, of cluster-2.
func emptyAndTwo(t *testing.T) (empty, one, other *peer.Mux, own *atomic.Value) {
	t.Helper()
	a := newAuthority(t)
	own = new(atomic.Value)
	own.Store("")
	of := func(id string, cluster func() string) *peer.Mux {
		i := a.identity(t, id)
		i.Cluster = cluster
		return listen(t, i)
	}
	empty = of("n3", func() string { return own.Load().(string) })
	return empty, of("n1", func() string { return "cluster-1" }), of("n2", func() string { return "cluster-2" }), own
}

// P9: of two clusters that an empty node was reached by, it is of one, and hears the other no more.
func TestAnotherClusterThatWasThereFirst(t *testing.T) {
	empty, one, other, own := emptyAndTwo(t)
	ways := map[*peer.Mux]net.Conn{}
	for _, m := range []*peer.Mux{one, other} {
		if _, err := m.Call(t.Context(), empty.Addr(), "n3", "/echo", nil); err != nil {
			t.Fatal(err)
		}
		c, err := m.DialRaft(empty.Addr(), "n3", 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ways[m] = c
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		taken, err := empty.Raft().Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		go func() { _, _ = io.Copy(taken, taken) }()
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	own.Store("cluster-1")
	for m, heard := range map[*peer.Mux]bool{one: true, other: false} {
		if _, err := m.Call(t.Context(), empty.Addr(), "n3", "/echo", nil); (err == nil) != heard {
			t.Errorf("a call, which is to be heard: %t: %v", heard, err)
		}
		c := ways[m]
		_, err := c.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		if (err == nil) != heard {
			t.Errorf("Raft, which is to be heard: %t: %v", heard, err)
		}
	}
}

// P9: a node that connected while it was of no cluster connects anew once it is of one, and says so.
func TestNodeThatIsOfAClusterNowSaysSo(t *testing.T) {
	empty, one, other, own := emptyAndTwo(t)
	ids := map[*peer.Mux]string{one: "n1", other: "n2"}
	heard := func(m *peer.Mux) (bool, error) {
		_, err := empty.Call(t.Context(), m.Addr(), ids[m], "/echo", nil)
		return err == nil, err
	}
	ways := map[*peer.Mux]net.Conn{}
	for m, id := range ids {
		if ok, err := heard(m); !ok {
			t.Fatal(err)
		}
		c, err := empty.DialRaft(m.Addr(), id, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ways[m] = c
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	own.Store("cluster-1")
	if ok, err := heard(one); !ok {
		t.Errorf("its own cluster's does not hear it: %v", err)
	}
	var failed *peer.CallError
	if ok, err := heard(other); ok || !errors.As(err, &failed) || failed.Sent {
		t.Errorf("another cluster's heard a call: %t, %v", ok, err)
	}
	for m, id := range ids {
		if _, err := ways[m].Write([]byte("x")); err == nil {
			t.Errorf("%s hears Raft on a connection from before", id)
		}
		c, err := empty.DialRaft(m.Addr(), id, 5*time.Second)
		if err == nil {
			defer c.Close()
			_, err = c.Write([]byte("x"))
		}
		if (err == nil) != (m == one) {
			t.Errorf("%s hears Raft on a connection from now: %v", id, err)
		}
	}
}

// E8: notices go in a class of their own, so that a network can have them go first, and tests can lose them alone.
func TestNoticesAreOfTheirClass(t *testing.T) {
	const af21 = 0x48
	a := newAuthority(t)
	one, two := listen(t, a.identity(t, "n1")), listen(t, a.identity(t, "n2"))
	told, err := one.DialNotices(t.Context(), two.Addr(), "n2")
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	heard, from, err := two.AcceptNotices(t.Context())
	if err != nil || from != "n1" {
		t.Fatal(from, err)
	}
	defer heard.Close()
	raft, err := one.DialRaft(two.Addr(), "n2", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer raft.Close()
	for c, want := range map[net.Conn]int{told: af21, heard: af21, raft: 0} {
		if class, err := ipv4.NewConn(peer.Carrier(c)).TOS(); err != nil || class != want {
			t.Errorf("%x, want %x: %v", class, want, err)
		}
	}
}
