package client_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"veto/client"
	"veto/record"
	"veto/validate"
)

// U1
func TestChangeIsSentAgainWithTheSameKey(t *testing.T) {
	var mu sync.Mutex
	var keys []string
	note := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
	}
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		c, _, err := w.(http.Hijacker).Hijack() // as a node that dies
		if err == nil {
			_ = c.Close()
		}
	}))
	defer broken.Close()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(`{"id":"shop"}`))
	}))
	defer good.Close()
	c := client.New(client.Options{Control: []string{broken.URL, good.URL}})
	v, err := c.PutConsumer(t.Context(), "shop", client.ConsumerFields{})
	if err != nil || v.ID != "shop" {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, k := range keys {
		if k == "" || k != keys[0] {
			t.Errorf("sent with the keys %v", keys)
		}
	}
}

// U2
func TestErrorsHoldNoSecret(t *testing.T) {
	const secret = "veto_op_secret"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer html.Close()
	refused := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"status":403,"code":"forbidden","detail":"this needs an API key with the role admin"}`))
	}))
	defer refused.Close()
	for _, at := range []string{"http://" + l.Addr().String(), html.URL, refused.URL, "://"} {
		c := client.New(client.Options{Control: []string{at}, Data: []string{at}, Token: secret})
		_, errControl := c.Issuers(t.Context())
		_, errData := c.Validate(t.Context(), client.Question{Credential: secret})
		for _, err := range []error{errControl, errData} {
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", at, err)
			}
		}
	}
	for _, at := range []string{"http://me:" + secret + "@" + l.Addr().String(), "http://me:" + secret + "@%"} {
		c := client.New(client.Options{Control: []string{at}})
		_, errControl := c.Issuers(t.Context())
		_, errEvents := c.Events(t.Context(), "", func(client.Event) error { return nil })
		ended, end := context.WithCancel(t.Context())
		end() // or it tries again
		_, errBulk := c.RevokeAll(ended, "k", func() (io.ReadCloser, error) { return http.NoBody, nil }, func(client.Progress) {})
		for _, err := range []error{errControl, errEvents, errBulk, c.Export(t.Context(), io.Discard)} {
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", at, err)
			}
		}
	}
	var problem *client.Error
	_, err = client.New(client.Options{Control: []string{refused.URL}}).Issuers(t.Context())
	if !errors.As(err, &problem) || problem.Status != http.StatusForbidden || problem.Code != "forbidden" {
		t.Errorf("%v", err)
	}
}

// U3
func TestRedirectsAreNotFollowed(t *testing.T) {
	var reached atomic.Bool
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Store(true)
		_, _ = w.Write([]byte(`{"outcome":"allow","code":"ok"}`))
	}))
	defer stranger.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		node := httptest.NewServer(http.RedirectHandler(stranger.URL, status))
		follows := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
		for _, h := range []*http.Client{nil, follows} {
			c := client.New(client.Options{Control: []string{node.URL}, Data: []string{node.URL}, Token: "veto_op_secret", HTTP: h})
			v, errData := c.Validate(t.Context(), client.Question{Credential: "secret"})
			_, errControl := c.Issuers(t.Context())
			if errData == nil || errControl == nil || v.Outcome == validate.Allow || reached.Load() {
				t.Errorf("%d: %s %v %v, the other server was asked: %v", status, v.Outcome, errData, errControl, reached.Load())
			}
		}
		node.Close()
	}
}

// U4
func TestPartOfAnAnswerIsNone(t *testing.T) {
	long := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"items":[]}`))
		// JSON allows spaces at the end: the part that fits would be an answer.
		spaces := []byte(strings.Repeat(" ", 1<<20))
		for range 65 {
			if _, err := w.Write(spaces); err != nil {
				return
			}
		}
	}))
	defer long.Close()
	short := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"items":[]}`))
	}))
	defer short.Close()
	for at, want := range map[string]string{long.URL: "longer than 64 MiB", short.URL: "cut off"} {
		patient := &http.Client{} // 64 MiB may take a while
		_, err := client.New(client.Options{Control: []string{at}, HTTP: patient}).Issuers(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestEveryAddressThatFailedIsNamed(t *testing.T) {
	c := client.New(client.Options{Control: []string{"http://127.0.0.1:1", "http://127.0.0.2:1"}})
	_, err := c.Issuers(t.Context())
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "127.0.0.2:1") {
		t.Errorf("%v", err)
	}
	if _, err := client.New(client.Options{}).Issuers(t.Context()); err == nil {
		t.Error("no address, and no error")
	}
}

// An id that is none would name another path, and so something else.
func TestIDIsPartOfAPath(t *testing.T) {
	asked := atomic.Int64{}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer node.Close()
	c := client.New(client.Options{Control: []string{node.URL}})
	for id, want := range map[string]int64{"": 0, ".": 0, "..": 0, "a/..": 1, "key_1": 1} {
		asked.Store(0)
		if _, err := c.DeleteKey(t.Context(), id); err == nil || asked.Load() != want {
			t.Errorf("%q: %v, and %d were asked", id, err, asked.Load())
		}
	}
}

func TestProblemNamesTheRequest(t *testing.T) {
	var agent atomic.Value
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent.Store(r.UserAgent())
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":503,"code":"unavailable","detail":"no leader","request_id":"req_1"}`)
	}))
	defer node.Close()
	_, err := client.New(client.Options{Control: []string{node.URL}, UserAgent: "tool/1"}).Issuers(t.Context())
	var problem *client.Error
	if !errors.As(err, &problem) || problem.RequestID != "req_1" || !strings.Contains(err.Error(), "req_1") || agent.Load() != "tool/1" {
		t.Errorf("%v, asked by %v", err, agent.Load())
	}
}

// U5
func TestAnswersOfStrangersAreNone(t *testing.T) {
	for _, answer := range []string{"", "{}", "null", `{"revision": 0}`} {
		stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
		}))
		c := client.New(client.Options{Control: []string{stranger.URL}, Data: []string{stranger.URL}})
		_, err1 := c.Validate(t.Context(), client.Question{Credential: "x"})
		_, err2 := c.Revoke(t.Context(), client.RevokeRequest{Target: "key", Value: "x"}, false, 0)
		_, err3 := c.CreateKey(t.Context(), client.KeyFields{})
		_, err4 := c.DeleteKey(t.Context(), "key_1")
		_, err5 := c.ValidateAll(t.Context(), []client.Question{{Credential: "x"}})
		if err1 == nil || err2 == nil || err3 == nil || err4 == nil || err5 == nil {
			t.Errorf("%q was taken for an answer: %v %v %v %v %v", answer, err1, err2, err3, err4, err5)
		}
		stranger.Close()
	}
}

// A node that is not ready sends its callers to another; a refusal is final.
func TestTheNextAddressIsAsked(t *testing.T) {
	node := func(status int, body string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
	}
	starting, good, strict := node(503, `{"status":503,"code":"not_ready"}`), node(200, `{"revision":7}`), node(403, `{"status":403,"code":"forbidden"}`)
	defer starting.Close()
	defer good.Close()
	defer strict.Close()
	if v, err := client.New(client.Options{Control: []string{starting.URL, good.URL}}).DeleteKey(t.Context(), "x"); err != nil || v.Revision != 7 {
		t.Errorf("%+v %v", v, err)
	}
	var problem *client.Error
	if _, err := client.New(client.Options{Control: []string{strict.URL, good.URL}}).DeleteKey(t.Context(), "x"); !errors.As(err, &problem) || problem.Status != 403 {
		t.Errorf("%v", err)
	}
}

// A filter of 0 is none only where it is a number.
func TestFiltersAreSent(t *testing.T) {
	asked := ""
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Encode()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"items":[]}`)
	}))
	defer node.Close()
	c := client.New(client.Options{Control: []string{node.URL}})
	for want, find := range map[string]record.KeyQuery{"": {}, "q=0": {Text: "0"}, "consumer=0&pepper=2": {Consumer: "0", Pepper: 2}} {
		if _, err := c.Keys(t.Context(), find, client.List{}); err != nil || asked != want {
			t.Errorf("%q is asked, want %q: %v", asked, want, err)
		}
	}
}

// U7
func TestEndedCertificateSaysWhatMendsIt(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	h := server.Client()
	transport, _ := h.Transport.(*http.Transport)
	transport.TLSClientConfig.Time = func() time.Time { return server.Certificate().NotAfter.Add(time.Hour) }
	c := client.New(client.Options{Control: []string{server.URL}, HTTP: h})
	if _, err := c.Cluster(t.Context()); err == nil || !strings.Contains(err.Error(), "http_cert_file") {
		t.Error(err)
	}
	transport.TLSClientConfig.Time, transport.TLSClientConfig.RootCAs = nil, x509.NewCertPool()
	if _, err := c.Cluster(t.Context()); err == nil || strings.Contains(err.Error(), "http_cert_file") {
		t.Error(err)
	}
}
