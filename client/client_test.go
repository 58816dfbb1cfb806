package client_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"veto/client"
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
	var problem *client.Error
	_, err = client.New(client.Options{Control: []string{refused.URL}}).Issuers(t.Context())
	if !errors.As(err, &problem) || problem.Status != http.StatusForbidden || problem.Code != "forbidden" {
		t.Errorf("%v", err)
	}
}
