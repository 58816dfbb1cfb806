package discovery_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"veto/node/discovery"
	"veto/record"
)

// D1: by the ranges, as most cannot be reached from a test.
func TestWhatIsPublic(t *testing.T) {
	for ip, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "100.63.255.255": true, "100.128.0.1": true, "172.32.0.1": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.0.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "100.127.255.255": false, "0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false,
		"255.255.255.255": false, "240.0.0.1": false, "192.0.0.8": false, "198.18.0.1": false,
		"::": false, "::1": false, "::127.0.0.1": false, "fe80::1": false, "fc00::1": false, "fd12::1": false,
		"fec0::1": false, "ff02::1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::7f00:1": false,
		"2002:7f00:1::": false, "2001::1": false, "::ffff:0:127.0.0.1": false, "::ffff:100.64.0.1": false, "::ffff:8.8.8.8": true, "100::1": false,
	} {
		if got := discovery.Public(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: public %v", ip, got)
		}
	}
}

// D1: an address with a zone is not in any range, unless the zone is taken off.
func TestZonesDoNotHide(t *testing.T) {
	for _, at := range []string{"https://[fec0::1%25lo]:1/", "https://[64:ff9b::7f00:1%25lo]:1/"} {
		_, _, err := discovery.New(false).Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: at})
		if err == nil || !strings.Contains(err.Error(), "is a private address") {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// D1: a proxy would connect where this node may not. The environment is read once in the life
// of a process, so the asking is done in another. (0.0.0.0 is this machine, and not exempt as loopback is.)
func TestNoProxyIsAsked(t *testing.T) {
	const inside = "VETO_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		for _, at := range []string{"http://0.0.0.0:1/", "https://0.0.0.0:1/"} {
			_, _, _ = discovery.New(true).Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: at})
		}
		return
	}
	var asked atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer proxy.Close()
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoProxyIsAsked$")
	again.Env = append(os.Environ(), inside+"=1", "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL)
	if out, err := again.CombinedOutput(); err != nil || asked.Load() {
		t.Errorf("asked a proxy: %v; %s %v", asked.Load(), out, err)
	}
}

func secure(t *testing.T, f *discovery.Fetcher, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	f.Trust(s.Certificate())
	return s
}

// D1: over real TLS; neither a redirect nor a jwks_uri leads from https to http, even where
// http is allowed by itself.
func TestNothingLeadsFromHTTPSToHTTP(t *testing.T) {
	var reached atomic.Bool
	open := server(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) {
		reached.Store(true)
		fmt.Fprint(w, `{"keys":[]}`)
	}})
	f := discovery.New(true)
	var s *httptest.Server
	s = secure(t, f, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/keys":
			fmt.Fprint(w, `{"keys":[]}`)
		case "/down":
			http.Redirect(w, r, open.URL, http.StatusFound)
		case "/meta":
			fmt.Fprintf(w, `{"issuer":"iss","jwks_uri":%q}`, s.URL+"/keys")
		case "/lowmeta":
			fmt.Fprintf(w, `{"issuer":"iss","jwks_uri":%q}`, open.URL)
		}
	})
	if set, _, err := f.Fetch(t.Context(), record.Issuer{ID: "i", Issuer: "iss", Discovery: s.URL + "/meta"}); err != nil || string(set) != `{"keys":[]}` {
		t.Errorf("%s %v", set, err)
	}
	for _, i := range []record.Issuer{
		{ID: "i", JWKSURI: s.URL + "/down"}, {ID: "i", Issuer: "iss", Discovery: s.URL + "/down"}, {ID: "i", Issuer: "iss", Discovery: s.URL + "/lowmeta"},
	} {
		if _, _, err := f.Fetch(t.Context(), i); err == nil || !strings.Contains(err.Error(), "https leads to http") {
			t.Errorf("%+v: %v", i, err)
		}
	}
	if _, _, err := discovery.New(true).Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server with an unknown certificate: %v", err)
	}
	if reached.Load() {
		t.Error("http was spoken")
	}
}

// D1: the address counts at the moment of dialing, for what a document names and for what is
// asked first.
func TestJWKSURIInsideIsRefused(t *testing.T) {
	f := discovery.New(false)
	s := secure(t, f, func(http.ResponseWriter, *http.Request) { t.Error("reached") })
	for _, i := range []record.Issuer{{ID: "i", JWKSURI: s.URL}, {ID: "i", Issuer: "iss", Discovery: s.URL}} {
		if _, _, err := f.Fetch(t.Context(), i); err == nil || !strings.Contains(err.Error(), "is a private address") {
			t.Errorf("%v", err)
		}
	}
}

// D2: three redirects are followed, a fourth is not.
func TestRedirectsAreCounted(t *testing.T) {
	s := server(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		if left := len(strings.Trim(r.URL.Path, "/")); left > 0 {
			http.Redirect(w, r, "/"+strings.Repeat("x", left-1), http.StatusFound)
		}
	}})
	f := discovery.New(true)
	if _, _, err := f.Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL + "/xxx"}); err != nil {
		t.Error(err)
	}
	if _, _, err := f.Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL + "/xxxx"}); err == nil || !strings.Contains(err.Error(), "more than 3 redirects") {
		t.Error(err)
	}
}

// D2: one limit of time for all of it; an issuer that trickles does not hold the node up.
func TestSlowIssuerIsGivenUp(t *testing.T) {
	s := server(t, map[string]http.HandlerFunc{ // which is closed only when nobody is answered any more
		"/silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"/trickle": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
			}
		},
	})
	f := discovery.New(true)
	f.Limit(100 * time.Millisecond)
	for _, path := range []string{"/silent", "/trickle"} {
		_, _, err := f.Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL + path})
		if err == nil || !strings.HasPrefix(err.Error(), "issuer i: ") || !strings.Contains(err.Error(), "did not answer in time") || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// D2: a length that is only claimed is enough, and no byte of it is read.
func TestClaimedLengthIsBounded(t *testing.T) {
	s := server(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000000")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}})
	_, _, err := discovery.New(true).Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL})
	if err == nil || !strings.Contains(err.Error(), "more than 262144 bytes") {
		t.Error(err)
	}
}

// D2: the bound is on what arrives here, not on what was sent: this is 1 MiB in 1 KiB.
func TestCompressedGiantIsRefused(t *testing.T) {
	s := server(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			fmt.Fprint(w, strings.Repeat(" ", 1<<20))
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, strings.Repeat(" ", 1<<20))
		_ = z.Close()
	}})
	_, _, err := discovery.New(true).Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL})
	if err == nil || !strings.Contains(err.Error(), "more than 262144 bytes") {
		t.Error(err)
	}
}

// D2: metadata that is JSON, and wrong.
func TestWrongMetadata(t *testing.T) {
	for document, want := range map[string]string{
		`null`: "not a JSON object", `[]`: "not a JSON object", `"x"`: "not a JSON object", ``: "not a JSON object",
		`{"issuer":"iss"} {}`: "not a JSON object",
		`{}`:                  "its issuer is", `{"issuer":null}`: "its issuer is", `{"issuer":1,"jwks_uri":"x"}`: "its issuer is",
		`{"issuer":"iss/","jwks_uri":"x"}`:                      "its issuer is",
		`{"ISSUER":"iss","jwks_uri":"x"}`:                       "its issuer is",
		`{"issuer":"iss","jwks_uri":["x"]}`:                     "names no jwks_uri",
		`{"issuer":"iss","jwks_uri":"file:///etc/passwd"}`:      "only https",
		`{"issuer":"iss","jwks_uri":"/keys"}`:                   "only https",
		`{"issuer":"iss","jwks_uri":"https://"}`:                "must have a host",
		`{"issuer":"iss","jwks_uri":"https://u:p@127.0.0.1/"}`:  "and no user",
		`{"issuer":"iss","jwks_uri":"https://a/\u0000"}`:        "cannot be read",
		`{"issuer":"iss","jwks_uri":"https://a/` + long + `"}`:  "too long",
		`{"issuer":"iss","jwks_uri":"x","x":"` + giant + `"}`:   "more than 65536 bytes",
		`{"issuer":"` + long + `","jwks_uri":"https://a.test"}`: "its issuer is",
	} {
		s := server(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, document) }})
		_, _, err := discovery.New(true).Fetch(t.Context(), record.Issuer{ID: "i", Issuer: "iss", Discovery: s.URL})
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 500 {
			t.Errorf("%.80s: %v", document, err)
		}
	}
}

var long, giant = strings.Repeat("x", 4000), strings.Repeat("x", 64<<10)

// Paths and queries can hold secrets, and errors are shown and logged.
func TestErrorsNameOnlyTheHost(t *testing.T) {
	s := server(t, map[string]http.HandlerFunc{"/secret": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/secret", http.StatusFound)
	}})
	for at, host := range map[string]string{
		"http://127.0.0.1:1/secret?secret": "127.0.0.1:1", s.URL + "/secret?secret": "127.0.0.1:1", s.URL + "/gone/secret": strings.TrimPrefix(s.URL, "http://"),
	} {
		_, _, err := discovery.New(true).Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: at})
		if err == nil || !strings.Contains(err.Error(), host) || strings.Contains(err.Error(), "secret") || !strings.HasPrefix(err.Error(), "issuer i: ") {
			t.Errorf("%v", err)
		}
	}
}

func TestFreshness(t *testing.T) {
	for want, headers := range map[time.Duration][][]string{
		time.Hour:        {nil, {"no-cache"}, {"s-maxage=60"}, {"max-age=-1"}, {"max-age="}},
		2 * time.Hour:    {{"max-age=7200"}, {"public", "Max-Age=7200"}, {`max-age="7200"`}, {"public,max-age=7200,immutable"}},
		5 * time.Minute:  {{"max-age=0"}, {"max-age=299"}},
		24 * time.Hour:   {{"max-age=86401"}, {"max-age=9223372037"}, {"max-age=99999999999999999999999"}},
		90 * time.Minute: {{"max-age=5400, max-age=60"}},
	} {
		for _, values := range headers {
			s := server(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) { w.Header()["Cache-Control"] = values }})
			_, got, err := discovery.New(true).Fetch(t.Context(), record.Issuer{ID: "i", JWKSURI: s.URL})
			if err != nil || got != want {
				t.Errorf("%q: %s, not %s: %v", values, got, want, err)
			}
		}
	}
}

// FuzzMetadata: whatever is taken is about the issuer, by its exact name, and no panic.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"iss","jwks_uri":"https://127.0.0.1:1/"}`))
	f.Add([]byte(`{"issuer":"other","Issuer":"iss","jwks_uri":"http://127.0.0.1:1/"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, document []byte) {
		uri, err := discovery.KeysOf(document, "iss")
		if err != nil {
			return
		}
		var members map[string]any
		if err := json.Unmarshal(document, &members); err != nil || members["issuer"] != "iss" || members["jwks_uri"] != uri || uri == "" {
			t.Errorf("%q: %q", document, uri)
		}
	})
}
