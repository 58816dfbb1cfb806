package gate_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"veto/node/httpapi/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves the handler, with limits that are soon reached, and gives the address.
func serve(t *testing.T, connections int, h http.HandlerFunc, change ...func(*gate.Limits)) string {
	t.Helper()
	return listen(t, connections, h, change...).Addr().String()
}

func listen(t *testing.T, connections int, h http.HandlerFunc, change ...func(*gate.Limits)) *gate.Listener {
	t.Helper()
	l := gate.Limits{
		Header: 50 * time.Millisecond, Body: 50 * time.Millisecond, Idle: 50 * time.Millisecond, Write: time.Minute, HeaderBytes: 4096, Requests: gate.NewPlaces(10),
		Always: []string{"/livez"}, Busy: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
	}
	for _, f := range change {
		f(&l)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := gate.NewServer(l, h)
	s.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	bounded, done := gate.Bound(listener, connections, slog.New(slog.DiscardHandler)), make(chan error, 1)
	go func() { done <- s.Serve(bounded) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return bounded
}

func dial(t *testing.T, addr, text string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // so that a test that fails ends
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

const request = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"

func status(t *testing.T, c net.Conn) int {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return r.StatusCode
}

// G1
func TestConnectionsAreBounded(t *testing.T) {
	l := listen(t, 3, func(w http.ResponseWriter, _ *http.Request) {}, func(l *gate.Limits) { l.Idle, l.Header = time.Minute, time.Minute })
	addr := l.Addr().String()
	var open []net.Conn
	for range 3 {
		c := dial(t, addr, request)
		if got := status(t, c); got != 200 {
			t.Fatalf("%d", got)
		}
		open = append(open, c)
	}
	if b, err := io.ReadAll(dial(t, addr, "")); len(b) > 0 || err != nil {
		t.Errorf("the fourth was told %q, %v", b, err)
	}
	if l.Open() != 3 || l.Refused() != 1 {
		t.Errorf("%d are open, %d were refused", l.Open(), l.Refused())
	}
	for _, c := range open {
		if _, err := io.WriteString(c, request); err != nil || status(t, c) != 200 {
			t.Errorf("one of the first three: %v", err)
		}
	}
	_ = open[0].Close()
	for { // until the server has seen that it is gone
		c := dial(t, addr, "")
		_, err := io.WriteString(c, request)
		if r, e := http.ReadResponse(bufio.NewReader(c), nil); err == nil && e == nil && r.StatusCode == 200 {
			return
		}
	}
}

// G2
func TestRequestsAreBounded(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	addr := serve(t, 10, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			began <- struct{}{}
			<-end
		}
	}, func(l *gate.Limits) { l.Requests, l.Header, l.Body = gate.NewPlaces(2), time.Minute, time.Minute })
	var long []net.Conn
	for range 2 {
		long = append(long, dial(t, addr, strings.Replace(request, "/x", "/long", 1)))
		<-began
	}
	if got := status(t, dial(t, addr, request)); got != 503 {
		t.Errorf("the third: %d", got)
	}
	if got := status(t, dial(t, addr, strings.Replace(request, "/x", "/livez", 1))); got != 200 {
		t.Errorf("whether it is alive: %d", got)
	}
	close(end)
	for _, c := range long {
		if got := status(t, c); got != 200 {
			t.Errorf("one of the first two: %d", got)
		}
	}
	if got := status(t, dial(t, addr, request)); got != 200 {
		t.Errorf("afterwards: %d", got)
	}
}

// G3: each is cut off though it says a little now and then, or though nobody reads what it says.
func TestSlowSendersAreCutOff(t *testing.T) {
	const head = "POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
	for name, c := range map[string]struct{ at, begins string }{
		"says nothing":                 {"", ""},
		"in the header":                {"", "GET / HTTP/1.1\r\nHost: x\r\nX-A: "},
		"between requests":             {"", request},
		"in a body that is read":       {"read", fmt.Sprintf(head, "read")},
		"in a body that is not":        {"", fmt.Sprintf(head, "x")},
		"in a body of a busy server":   {"busy", fmt.Sprintf(head, "x")},
		"in chunks that are not read":  {"", "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"},
		"in a body behind expectation": {"read", strings.Replace(fmt.Sprintf(head, "read"), "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)},
	} {
		addr := serve(t, 10, func(w http.ResponseWriter, r *http.Request) {
			if c.at == "read" {
				_, _ = io.Copy(io.Discard, r.Body)
			}
		}, func(l *gate.Limits) {
			if c.at == "busy" {
				l.Requests = gate.NewPlaces(0)
			}
		})
		conn := dial(t, addr, c.begins)
		if c.begins != request { // a byte a while is not enough
			stop := make(chan struct{})
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for n := 0; n < 900 && c.begins != ""; n++ {
					select {
					case <-stop:
						return
					case <-tick.C:
						if _, err := conn.Write([]byte("a")); err != nil {
							return
						}
					}
				}
			}()
			defer func() { close(stop); <-ended }()
		}
		// Until the server closes it, within 20 s, or the deadline fails the test.
		if _, err := io.Copy(io.Discard, conn); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("%s: it is not cut off", name)
			}
		}
	}
}

// G3
func TestLongAnswersAreNot(t *testing.T) {
	addr := serve(t, 10, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			w.WriteHeader(500)
		case <-time.After(200 * time.Millisecond): // four times what the body may take
		}
	}, func(l *gate.Limits) { l.Header, l.Idle = time.Minute, time.Minute })
	for _, text := range []string{request, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"} {
		if got := status(t, dial(t, addr, text)); got != 200 {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// G4
func TestEachCallerHasARate(t *testing.T) {
	r, now := gate.NewRates(gate.Rate{PerSecond: 10, Burst: 3}), time.Unix(1000, 0)
	take := func(caller string) (time.Duration, bool) { return r.Take(caller, now) }
	for n := range 5 {
		if wait, ok := take("a"); ok != (n < 3) || !ok && wait != 100*time.Millisecond {
			t.Errorf("%d: %s %t", n, wait, ok)
		}
	}
	if _, ok := take("b"); !ok {
		t.Error("another caller pays for it")
	}
	now = now.Add(100 * time.Millisecond)
	if _, ok := take("a"); !ok {
		t.Error("it came again when it was told to")
	}
	if _, ok := take("a"); ok {
		t.Error("and twice")
	}
	now = now.Add(time.Hour)
	for n := range 4 {
		if _, ok := take("a"); ok != (n < 3) {
			t.Errorf("after a rest, %d: %t", n, ok)
		}
	}
	now = now.Add(-time.Hour) // a clock that is set back gives nothing
	if _, ok := take("a"); ok {
		t.Error("the clock gave it more")
	}
	if n := r.Refused(); n != 5 {
		t.Errorf("%d were refused", n)
	}
	none := gate.NewRates(gate.Rate{})
	if _, ok := none.Take("a", now); !ok {
		t.Error("there is no rate")
	}
}

// G4: whoever comes in many names takes no memory, and frees nobody who comes steadily.
func TestCallersAreForgotten(t *testing.T) {
	r, now := gate.NewRates(gate.Rate{PerSecond: 0.001, Burst: 2}), time.Unix(1000, 0)
	let := 0
	for n := range 200_000 {
		r.Take(strconv.Itoa(n), now)
		if n%1000 == 0 {
			if _, ok := r.Take("steady", now); ok {
				let++
			}
		}
	}
	if let != 2 {
		t.Errorf("one who comes steadily was let in %d times", let)
	}
	if young, aged := r.Remembered(); young+aged > 2*gate.MaxCallers || young == 0 {
		t.Errorf("%d and %d are remembered", young, aged)
	}
}

// G5
func TestPlacesAreBounded(t *testing.T) {
	p := gate.NewPlaces(2)
	let := 0
	for range 3 {
		if p.Take() {
			let++
		}
	}
	if let != 2 || p.Taken() != 2 || p.Refused() != 1 {
		t.Errorf("%d are taken, %d refused", p.Taken(), p.Refused())
	}
	p.Leave()
	if p.Taken() != 1 || !p.Take() {
		t.Error("a place that was left is not free")
	}
	var none *gate.Places
	for range 1000 {
		if !none.Take() {
			t.Fatal("nil bounds")
		}
	}
	none.Leave()
}

// G7
func TestSharesAreBounded(t *testing.T) {
	s := gate.NewShares(2)
	for n, want := range []bool{true, true, false} {
		if s.Take("a") != want {
			t.Fatalf("place %d of 2: %v", n+1, !want)
		}
	}
	if s.Refused() != 1 {
		t.Errorf("%d were refused", s.Refused())
	}
	if !s.Take("b") {
		t.Error("b pays for a")
	}
	s.Leave("a")
	if !s.Take("a") || s.Take("a") {
		t.Error("a place that was left is not one place")
	}
	s.Leave("a")
	s.Leave("a")
	s.Leave("b")
	if n := s.Callers(); n != 0 {
		t.Errorf("%d callers who have none are remembered", n)
	}
	var none *gate.Shares
	if !none.Take("a") {
		t.Error("nil bounds")
	}
	none.Leave("a")
}
