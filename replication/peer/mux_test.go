package peer_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"veto/replication/peer"
)

// E3
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node listens as a node does, but its connections are the test's.
func node(t *testing.T, id peer.Identity, protocols []string, serve func(net.Conn)) string {
	t.Helper()
	config := id.Accepting()
	config.NextProtos = protocols
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// readCall takes one call off the connection.
func readCall(r *bufio.Reader) error {
	request, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, request.Body)
	return err
}

func wantSent(t *testing.T, err error, sent bool) {
	t.Helper()
	var failed *peer.CallError
	if !errors.As(err, &failed) || failed.Sent != sent {
		t.Errorf("want a CallError with Sent %v, got %#v: %v", sent, err, err)
	}
}

// P9
func TestNamelessIsRefused(t *testing.T) {
	a := newAuthority(t)
	nameless := peer.Identity{Certificate: a.Sign(t, time.Now().Add(time.Hour)), Authorities: a.Pool}
	one, nobody := listen(t, a.identity(t, "n1")), listen(t, nameless)
	if _, err := nobody.Call(t.Context(), one.Addr(), "n1", "/echo", nil); err == nil {
		t.Error("a node without an id was answered")
	}
	if _, err := one.Call(t.Context(), nobody.Addr(), "", "/echo", nil); err == nil || !strings.Contains(err.Error(), "names no node") {
		t.Errorf("a node without an id was called: %v", err)
	}
}

// P9: the one who calls verifies too, and does not rely on being refused.
func TestStrangerIsNotCalled(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	one := listen(t, ours.identity(t, "n1"))
	stranger := theirs.identity(t, "n2")
	stranger.Authorities = ours.Pool // it takes us for one of its own
	var heard atomic.Bool
	addr := node(t, stranger, []string{"veto-rpc/1", "veto-raft/1"}, func(c net.Conn) {
		if n, _ := c.Read(make([]byte, 1)); n > 0 {
			heard.Store(true)
		}
	})
	for _, id := range []string{"n2", ""} {
		_, err := one.Call(t.Context(), addr, id, "/echo", []byte("secret"))
		wantSent(t, err, false)
		if c, err := one.DialRaft(addr, id, 5*time.Second); err == nil {
			_ = c.Close()
			t.Errorf("connected to a stranger as %q", id)
		}
	}
	if heard.Load() {
		t.Error("a stranger was told something")
	}
}

// P9: other ports of the cluster show the same certificates.
func TestAnotherPortIsRefused(t *testing.T) {
	a := newAuthority(t)
	one := listen(t, a.identity(t, "n1"))
	addr := node(t, a.identity(t, "n2"), nil, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	_, err := one.Call(t.Context(), addr, "n2", "/echo", nil)
	wantSent(t, err, false)
	if _, err := one.DialRaft(addr, "n2", 5*time.Second); err == nil || !strings.Contains(err.Error(), "not the port for nodes") {
		t.Errorf("%v", err)
	}
}

// E1: the dangerous case is a kept connection that breaks during the second call.
func TestCallIsSentAtMostOnce(t *testing.T) {
	a := newAuthority(t)
	one := listen(t, a.identity(t, "n1"))
	var calls atomic.Int32
	addr := node(t, a.identity(t, "n2"), []string{"veto-rpc/1"}, func(c net.Conn) {
		for r := bufio.NewReader(c); readCall(r) == nil; {
			if calls.Add(1) == 2 {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	if _, err := one.Call(t.Context(), addr, "n2", "/x", []byte("1")); err != nil {
		t.Fatal(err)
	}
	_, err := one.Call(t.Context(), addr, "n2", "/x", []byte("2"))
	wantSent(t, err, true)
	if n := calls.Load(); n != 2 {
		t.Errorf("two calls arrived as %d", n)
	}
}

// E1: a redirect would be a call that nobody made.
func TestRedirectIsNotFollowed(t *testing.T) {
	a := newAuthority(t)
	var calls atomic.Int32
	addr := node(t, a.identity(t, "n2"), []string{"veto-rpc/1"}, func(c net.Conn) {
		for r := bufio.NewReader(c); readCall(r) == nil; {
			calls.Add(1)
			_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n")
		}
	})
	one := listen(t, a.identity(t, "n1")) // after the other, so that it is closed before
	var remote *peer.RemoteError
	if _, err := one.Call(t.Context(), addr, "n2", "/x", nil); !errors.As(err, &remote) || calls.Load() != 1 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

// E2: whoever calls, by whatever means, the answering side keeps to its bound.
func TestTooLargeIsRefused(t *testing.T) {
	a := newAuthority(t)
	one, two := listen(t, a.identity(t, "n1")), listen(t, a.identity(t, "n2"))
	if got, err := one.Call(t.Context(), two.Addr(), "n2", "/echo", make([]byte, peer.MaxBody-3)); err != nil || len(got) != peer.MaxBody {
		t.Errorf("a call within the limit: %d bytes, %v", len(got), err)
	}
	config := a.identity(t, "n1").Dialing("n2")
	config.NextProtos = []string{"veto-rpc/1"}
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<20, bytes.Repeat([]byte("x"), 1<<20))
	for name, head := range map[string]string{
		"length said":   fmt.Sprintf("Content-Length: %d\r\n\r\n", int64(1)<<40),
		"length unsaid": "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 4) + "1\r\nx\r\n",
	} {
		c, err := tls.Dial("tcp", two.Addr(), config)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "POST /echo HTTP/1.1\r\nHost: x\r\n"+head)
		if head[0] == 'C' { // what the header promises must not be waited for beyond the bound
			_, _ = c.Write(make([]byte, peer.MaxBody+1))
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if answer.StatusCode != http.StatusRequestEntityTooLarge || answer.Header.Get("Veto-Error") != peer.CodeTooLarge {
			t.Errorf("%s: %s", name, answer.Status)
		}
		_ = c.Close()
	}
}

// E2
func TestLongAnswerIsRefused(t *testing.T) {
	a := newAuthority(t)
	one := listen(t, a.identity(t, "n1"))
	two := unserved(t, a.identity(t, "n2"))
	two.Handle("/long", func(context.Context, string, []byte) ([]byte, error) { return make([]byte, peer.MaxAnswer+1), nil })
	two.Handle("/large", func(context.Context, string, []byte) ([]byte, error) { return make([]byte, 10*peer.MaxBody), nil })
	two.Handle("/longerror", func(context.Context, string, []byte) ([]byte, error) {
		return nil, errors.New(strings.Repeat("x", 1<<20))
	})
	two.Serve()
	if got, err := one.Call(t.Context(), two.Addr(), "n2", "/large", nil); err != nil || len(got) != 10*peer.MaxBody {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_, err := one.Call(t.Context(), two.Addr(), "n2", "/long", nil)
	wantSent(t, err, true)
	var remote *peer.RemoteError
	if _, err := one.Call(t.Context(), two.Addr(), "n2", "/longerror", nil); !errors.As(err, &remote) || len(remote.Detail) > 4<<10 {
		t.Errorf("%.100v", err)
	}
}

func unserved(t *testing.T, id peer.Identity) *peer.Mux {
	t.Helper()
	m, err := peer.Listen("127.0.0.1:0", id, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// mute takes connections and says nothing.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// E2, E3: net/http goes on dialing after its caller gave up; Close ends that too, which
// TestMain sees.
func TestMuteNodeIsGivenUp(t *testing.T) {
	a := newAuthority(t)
	m := unserved(t, a.identity(t, "n1"))
	addr := mute(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.Call(ctx, addr, "n2", "/echo", nil)
	wantSent(t, err, false)
	if _, err := m.DialRaft(addr, "n2", 50*time.Millisecond); err == nil {
		t.Error("a mute node was connected to")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := goleak.Find(); err != nil {
		t.Error(err)
	}
	_, err = m.Call(t.Context(), addr, "n2", "/echo", nil)
	wantSent(t, err, false)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("a call after Close: %v", err)
	}
}

// E3
func TestCloseWaitsForHandlers(t *testing.T) {
	a := newAuthority(t)
	one, two := unserved(t, a.identity(t, "n1")), unserved(t, a.identity(t, "n2"))
	began := make(chan struct{})
	var ended atomic.Bool
	two.Handle("/slow", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(began)
		<-ctx.Done()
		<-time.After(50 * time.Millisecond) // a handler that tidies up
		ended.Store(true)
		return nil, ctx.Err()
	})
	two.Serve()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := one.Call(t.Context(), two.Addr(), "n2", "/slow", nil)
		wantSent(t, err, true)
	})
	<-began
	if err := two.Close(); err != nil {
		t.Error(err)
	}
	if !ended.Load() {
		t.Error("closed while a handler still ran")
	}
	wg.Wait()
	if err := two.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// E3: a call under way ends with the mux of the one who called.
func TestCloseEndsOwnCalls(t *testing.T) {
	a := newAuthority(t)
	one, two := unserved(t, a.identity(t, "n1")), unserved(t, a.identity(t, "n2"))
	began := make(chan struct{})
	two.Handle("/hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(began)
		<-ctx.Done() // also when the caller is gone
		return nil, ctx.Err()
	})
	two.Serve()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := one.Call(context.WithoutCancel(t.Context()), two.Addr(), "n2", "/hang", nil)
		wantSent(t, err, true)
	})
	<-began
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// E3: more silent connections than there are places for handshakes.
func TestCloseEndsSilentHandshakes(t *testing.T) {
	a := newAuthority(t)
	m := unserved(t, a.identity(t, "n1"))
	for range 100 {
		c, err := net.Dial("tcp", m.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	closed := make(chan error)
	go func() { closed <- m.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second): // a handshake's own limit is twice that
		t.Error("closing waits for strangers")
		<-closed
	}
}

// E5
func TestHandshakesAreBounded(t *testing.T) {
	a := newAuthority(t)
	m, other := listen(t, a.identity(t, "n1")), listen(t, a.identity(t, "n2"))
	var silent []net.Conn
	for range peer.MaxHandshakes + 20 {
		c, err := net.Dial("tcp", m.Addr())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	for m.Handshakes() < peer.MaxHandshakes {
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := other.Call(ctx, m.Addr(), "n1", "/echo", nil); err == nil {
		t.Error("there was a place for one more")
	}
	for _, c := range silent {
		_ = c.Close()
	}
	if _, err := other.Call(t.Context(), m.Addr(), "n1", "/echo", nil); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

// shaky fails to accept at first, as when file descriptors run out.
type shaky struct {
	net.Listener
	failures atomic.Int32
}

func (s *shaky) Accept() (net.Conn, error) {
	if s.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Listener.Accept()
}

// E4
func TestAcceptingSurvivesErrors(t *testing.T) {
	a := newAuthority(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flaky := &shaky{Listener: l}
	flaky.failures.Store(2)
	two := peer.NewMux(flaky, a.identity(t, "n2"), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = two.Close() })
	two.Handle("/echo", func(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil })
	two.Serve()
	if _, err := listen(t, a.identity(t, "n1")).Call(t.Context(), two.Addr(), "n2", "/echo", nil); err != nil {
		t.Error(err)
	}
}
