package peer_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"veto/replication/peer"
)

// E6
func TestRefusedIsToldWhy(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	of := func(i peer.Identity, cluster string) *peer.Mux {
		i.Cluster = func() string { return cluster }
		return listen(t, i)
	}
	one, other := of(ours.identity(t, "n1"), "cluster-1"), of(ours.identity(t, "n2"), "cluster-2")
	ended := of(ours.until(t, "n3", time.Now().Add(-time.Minute)), "cluster-1")
	stranger := of(theirs.identity(t, "n4"), "cluster-1")
	for name, row := range map[string]struct {
		from, to *peer.Mux
		id       string
		cluster  bool
	}{
		"another cluster":              {other, one, "n1", true},
		"the other way":                {one, other, "n2", true},
		"a certificate that has ended": {ended, one, "n1", false},
		"and is the answering one's":   {one, ended, "n3", false},
		"another authority":            {stranger, one, "n1", false},
		"and the other way":            {one, stranger, "n4", false},
	} {
		var refused *peer.RefusedError
		if _, err := row.from.Call(t.Context(), row.to.Addr(), row.id, "/echo", nil); !errors.As(err, &refused) || refused.Cluster != row.cluster {
			t.Errorf("a call, %s: %#v, %v", name, refused, err)
		}
		c, err := row.from.DialRaft(row.to.Addr(), row.id, 5*time.Second)
		if err == nil {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		if refused = nil; !errors.As(err, &refused) || refused.Cluster != row.cluster {
			t.Errorf("Raft, %s: %#v, %v", name, refused, err)
		}
	}
	if _, err := one.Call(t.Context(), "127.0.0.1:1", "n5", "/echo", nil); errors.As(err, new(*peer.RefusedError)) {
		t.Errorf("nobody refused: %v", err)
	}
}

// E6: each try is from another port, and finds at another time that the certificate has ended.
func TestRefusalIsLoggedOnce(t *testing.T) {
	a := newAuthority(t)
	var log bytes.Buffer
	m, err := peer.Listen("127.0.0.1:0", a.identity(t, "n1"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	m.Serve()
	for _, id := range []string{"n2", "n3"} {
		ended := listen(t, a.until(t, id, time.Now().Add(-time.Minute)))
		for range 5 {
			if _, err := ended.Call(t.Context(), m.Addr(), "n1", "/echo", nil); err == nil {
				t.Fatal("it was heard")
			}
		}
	}
	if err := m.Close(); err != nil { // what is said is said then
		t.Fatal(err)
	}
	for _, id := range []string{"n2", "n3"} {
		if n := strings.Count(log.String(), "shows_certificate_of="+id); n != 1 {
			t.Errorf("%s is named %d times: %s", id, n, log.String())
		}
	}
}

// E6
func TestRefusalsAreBounded(t *testing.T) {
	says, now := peer.Refusals(), time.Now()
	for i := range peer.MaxRefusals {
		if what := fmt.Sprint(i); !says(what, now) || says(what, now.Add(peer.RefusedEvery-1)) {
			t.Fatalf("%s is not said once", what)
		}
	}
	one, two := x509.CertificateInvalidError{Reason: x509.Expired, Detail: "at one time"}, x509.CertificateInvalidError{Reason: x509.Expired, Detail: "at another"}
	if peer.Reason(one) != peer.Reason(two) {
		t.Error("a certificate has ended for another reason each time")
	}
	if !says("one more", now) || says("another", now.Add(peer.RefusedEvery-1)) {
		t.Error("of all others one is said")
	}
	if now = now.Add(peer.RefusedEvery); !says("one more", now) || !says("0", now) {
		t.Error("it is not said again later")
	}
}
