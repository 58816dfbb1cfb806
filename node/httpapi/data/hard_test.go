package data_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi/data"
)

func TestLimits(t *testing.T) {
	p := start(t)
	// Only announced: who sends it all may find the connection closed before the answer is read.
	p.problem(p.raw(fmt.Sprintf("POST /v1/validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", data.MaxBody+1)), 413, "too_large")
	p.problem(p.send("POST", "/v1/validate", `{}`, "X-Long", strings.Repeat("x", 33<<10)), 431, "too_large")
	if a := p.send("POST", "/v1/validate", `{"credential": "`+strings.Repeat("x", 20<<10)+`"}`); !strings.Contains(a.body, `"code":"too_large"`) || a.StatusCode != http.StatusOK {
		t.Errorf("a credential over its bound: %d %s", a.StatusCode, a.body)
	}
	p.problem(p.raw("no http at all\r\n\r\n"), 400, "bad_request")
	if a := p.send("GET", "/livez", ""); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
}

// raw sends bytes and reads one answer.
func (p *plane) raw(text string) answer {
	p.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte(text)); err != nil {
		p.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		p.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body := new(strings.Builder)
	if _, err := bufio.NewReader(response.Body).WriteTo(body); err != nil {
		p.Fatal(err)
	}
	return answer{response, body.String()}
}

func TestPanic(t *testing.T) {
	p := start(t)
	p.asked.panics("unexpected: " + p.secret)
	a := p.send("POST", "/v1/validate", "", "X-API-Key", p.secret)
	p.problem(a, 500, "internal")
	if log := p.log.String(); !strings.Contains(log, a.Header.Get("X-Request-Id")) || strings.Contains(log, p.secret) {
		t.Errorf("the log: %s", log)
	}
	p.asked.panics(nil)
	if a := p.send("POST", "/v1/validate", "", "X-API-Key", p.secret); !strings.Contains(a.body, "allow") {
		t.Errorf("afterwards: %s", a.body)
	}
}

// A credential may stand where it does not belong; it is not repeated from there either.
func TestCredentialStaysInside(t *testing.T) {
	p := start(t)
	const token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
	for _, secret := range []string{p.secret, token, "73829173829173829"} {
		quoted := `"` + secret + `"`
		for _, send := range [][]string{
			{`{"credential": ` + quoted + `}`},
			{`{"credential": [` + quoted + `]}`},
			{`{"credential": 73829173829173829}`},
			{`{"min_revision": ` + quoted + `}`},
			{`{` + quoted + `: "x"}`},
			{`{` + quoted + `: "x", ` + quoted + `: "x"}`},
			{`{"credential": ` + quoted},
			{secret},
			{``, "Authorization", "Bearer " + secret},
			{``, "Authorization", secret},
			{``, "X-API-Key", secret, "Authorization", "Bearer other"},
			{``, "Veto-Min-Revision", secret},
		} {
			if a := p.send("POST", "/v1/validate", send[0], send[1:]...); strings.Contains(a.body, secret) {
				t.Errorf("%v comes back: %s", send, a.body)
			}
		}
		if a := p.send("POST", "/v1/validate?"+secret, ""); strings.Contains(a.body, secret) {
			t.Errorf("a query comes back: %s", a.body)
		}
		p.raw("POST " + secret + "\r\n\r\n")
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("the log holds it: %s", p.log)
		}
	}
}

func TestCloseBeforeServe(t *testing.T) {
	s := data.New(data.Config{Log: slog.New(slog.DiscardHandler)})
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		_ = l.Close() // so that it ends at last
		t.Fatal("it serves though it is closed")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open still: %v", err)
	}
}

// Close waits neither for who keeps a connection open nor for who never says anything.
func TestClose(t *testing.T) {
	p := start(t)
	for _, first := range []string{"", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Write([]byte(first)); err != nil {
			t.Fatal(err)
		}
		if first != "" {
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := p.server.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-p.served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := net.Dial("tcp", p.addr); err == nil {
		t.Error("it still accepts")
	}
}

// The listener speaks TLS when it is given a certificate's configuration, and only then.
func TestTLSIsRequired(t *testing.T) {
	s := data.New(data.Config{TLS: &tls.Config{MinVersion: tls.VersionTLS13}, Log: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	if response, err := http.Get("http://" + l.Addr().String() + "/livez"); err == nil {
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			t.Error("it answers in the clear")
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
