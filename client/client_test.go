package client_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"veto/client"
)

// U1
func TestChangeIsSentAgainWithTheSameKey(t *testing.T) {
	var keys []string
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		c, _, err := w.(http.Hijacker).Hijack() // as a node that dies
		if err == nil {
			_ = c.Close()
		}
	}))
	defer broken.Close()
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		_, _ = w.Write([]byte(`{"id":"shop"}`))
	}))
	defer good.Close()
	c := client.New(client.Options{Control: []string{broken.URL, good.URL}})
	v, err := c.PutConsumer(t.Context(), "shop", client.ConsumerFields{})
	if err != nil || v.ID != "shop" {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k == "" || k != keys[0] {
			t.Errorf("sent with the keys %v", keys)
		}
	}
	first := keys[0]
	if _, err := c.PutConsumer(t.Context(), "shop", client.ConsumerFields{}); err != nil || keys[len(keys)-1] == first {
		t.Errorf("another change has the same key: %v %v", keys, err)
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
