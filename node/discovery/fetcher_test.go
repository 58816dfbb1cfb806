package discovery_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"veto/node/discovery"
	"veto/record"
)

// D1
func TestPrivateAddressesAreRefused(t *testing.T) {
	reached := false
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer s.Close()
	f := discovery.New(false)
	for _, at := range []string{
		s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), "https://[::1]:1/", "https://10.0.0.1:1/", "https://169.254.169.254/",
		"https://192.168.1.1:1/", "https://[::ffff:127.0.0.1]:1/", "https://100.64.0.1:1/", "https://0.0.0.0:1/", "https://[fd00::1]:1/",
	} {
		_, _, err := f.Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: at})
		if err == nil || !strings.Contains(err.Error(), "is a private address") {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, _, err := f.Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: "http://example.com/"}); err == nil || !strings.Contains(err.Error(), "only https") {
		t.Error(err)
	}
	if reached {
		t.Error("a private address was reached")
	}
}

func server(t *testing.T, handlers map[string]http.HandlerFunc) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	for path, h := range handlers {
		mux.HandleFunc(path, h)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestFetch(t *testing.T) {
	var s *httptest.Server
	s = server(t, map[string]http.HandlerFunc{
		"/meta": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":"https://i.example","jwks_uri":"%s/keys"}`, s.URL)
		},
		"/keys": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=7200")
			fmt.Fprint(w, `{"keys":[]}`)
		},
		"/short": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "max-age=1") },
		"/long":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "max-age=999999999") },
		"/plain": func(http.ResponseWriter, *http.Request) {},
	})
	f := discovery.New(true)
	set, fresh, err := f.Fetch(t.Context(), record.Issuer{ID: "i", Issuer: "https://i.example", Discovery: s.URL + "/meta"})
	if err != nil || string(set) != `{"keys":[]}` || fresh != 2*time.Hour {
		t.Errorf("%s %s %v", set, fresh, err)
	}
	for path, want := range map[string]time.Duration{"/short": 5 * time.Minute, "/long": 24 * time.Hour, "/plain": time.Hour} {
		if _, fresh, err := f.Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL + path}); err != nil || fresh != want {
			t.Errorf("%s: %s %v", path, fresh, err)
		}
	}
}

// D2
func TestBadIssuers(t *testing.T) {
	s := server(t, map[string]http.HandlerFunc{
		"/another": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"issuer":"https://evil.example","jwks_uri":"x"}`)
		},
		"/nothing": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issuer":"https://i.example"}`) },
		"/no-json": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `<html>`) },
		"/giant":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", 1<<20)) },
		"/down":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"/circle":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/circle", http.StatusFound) },
	})
	f := discovery.New(true)
	for path, want := range map[string]string{
		"/another": "it says that its issuer is", "/nothing": "names no jwks_uri", "/no-json": "is not a JSON object",
		"/giant": "more than", "/down": "answers 500", "/circle": "redirects",
	} {
		_, _, err := f.Fetch(t.Context(), record.Issuer{ID: "i", Issuer: "https://i.example", Discovery: s.URL + path})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "issuer i: ") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, _, err := f.Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL + "/giant"}); err == nil || !strings.Contains(err.Error(), "more than 262144 bytes") {
		t.Error(err)
	}
}

// D4: also where http is allowed to others, and wherever a redirect or a document leads.
func TestKeysOfOperatorsComeOverHTTPS(t *testing.T) {
	var s *httptest.Server
	s = server(t, map[string]http.HandlerFunc{
		"/keys": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"/away": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)+"/keys", http.StatusFound)
		},
		"/meta": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":"https://i.example","jwks_uri":"%s/keys"}`, strings.Replace(s.URL, "127.0.0.1", "localhost", 1))
		},
	})
	byName := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	f, operators := discovery.New(true), &record.Operators{Audience: "veto"}
	for name, c := range map[string]struct {
		issuer record.Issuer
		good   bool
	}{
		"from this machine": {record.Issuer{JWKSURI: s.URL + "/keys"}, true},
		"by a name":         {record.Issuer{JWKSURI: byName + "/keys"}, false},
		"by a redirect":     {record.Issuer{JWKSURI: s.URL + "/away"}, false},
		"by a document":     {record.Issuer{Issuer: "https://i.example", Discovery: s.URL + "/meta"}, false},
	} {
		if _, _, err := f.Fetch(t.Context(), c.issuer); err != nil {
			t.Errorf("%s, without operators: %v", name, err)
		}
		c.issuer.Operators = operators
		if _, _, err := f.Fetch(t.Context(), c.issuer); (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), "https alone") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
