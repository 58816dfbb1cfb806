package data_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/node/httpapi/data"
	"veto/record"
	"veto/validate"
	"veto/validate/apikey"
	"veto/validate/jwt"
	"veto/validate/keyset"
)

// state is a node that knows one API key.
type state struct {
	*progress
	hash record.KeyHash
	key  *record.APIKey
}

func (s *state) Revoked(record.Name, int64) (record.Revocation, bool) {
	return record.Revocation{}, false
}
func (s *state) Digest(record.Name) record.Digest         { return record.Digest{} }
func (s *state) InUse() record.ClassSet                   { return record.SingleTargets }
func (s *state) FirstDenied([]record.Digest, int64) int   { return -1 }
func (s *state) AnsweredBy(record.Digest, int64) string   { return "the test" }
func (s *state) Consumer(string) (*record.Consumer, bool) { return nil, false }
func (s *state) Imports() bool                            { return false }
func (s *state) Locked() bool                             { return false }
func (s *state) APIKey(h record.KeyHash, _ *record.KeyRoom) (k *record.APIKey, old, ok bool) {
	return s.key, false, h == s.hash
}

// asked remembers the last question on its way to the validator, and panics when told to.
type asked struct {
	data.Validator
	mu    sync.Mutex
	last  validate.Request
	panic any
	// operator, if set, is whose key every operator's key is.
	operator *record.APIKey
}

func (a *asked) Operator(token string, now time.Time) (*record.APIKey, validate.Verdict) {
	if a.operator != nil {
		return a.operator, validate.Verdict{Outcome: validate.Allow, Code: validate.OK}
	}
	return a.Validator.Operator(token, now)
}

func (a *asked) Validate(r validate.Request, now time.Time) validate.Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = r
	if a.panic != nil {
		panic(a.panic)
	}
	return a.Validator.Validate(r, now)
}

func (a *asked) panics(with any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.panic = with
}

func (a *asked) question() validate.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// plane is a data plane on loopback.
type plane struct {
	*testing.T
	url      string
	addr     string
	progress *progress
	secret   string
	asked    *asked
	log      *lockedBuffer
	seen     chan validate.Verdict
	checks   []httpapi.Check
	server   *data.Server
	served   chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, change ...func(*data.Config)) *plane {
	t.Helper()
	secret, hash, hint, err := apikey.Generate(strings.NewReader(strings.Repeat("r", 64)), apikey.Form{Prefix: apikey.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	s := &state{newProgress(), hash, &record.APIKey{ID: "key_1", Consumer: "acme", Hash: hash, Hint: hint, Scopes: []string{"read"}}}
	p := &plane{T: t, progress: s.progress, secret: secret, log: &lockedBuffer{}, seen: make(chan validate.Verdict, 100), served: make(chan error, 1)}
	p.asked = &asked{Validator: validate.New(s, validate.Policy{MaxStaleness: time.Minute}, jwt.New(keyset.NewHolder(), nil, func(string) {}), apikey.New(s), nil)}
	p.checks = []httpapi.Check{{Name: "caught_up", OK: true}}
	c := data.Config{
		Validator: p.asked, Revisions: s, Ready: func() []httpapi.Check { return p.checks }, Now: time.Now,
		Observe: func(v validate.Verdict, _ time.Duration) { p.seen <- v },
		Log:     slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&c)
	}
	p.server = data.New(c)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr, p.url = l.Addr().String(), "http://"+l.Addr().String()
	go func() { p.served <- p.server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.server.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

type answer struct {
	*http.Response
	body string
}

func (p *plane) send(method, path, body string, headers ...string) answer {
	p.Helper()
	r, err := http.NewRequestWithContext(p.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		p.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		p.Fatal(err)
	}
	return answer{response, string(b)}
}

// problem checks that the answer is a whole problem document, and gives its detail.
func (p *plane) problem(a answer, status int, code string) string {
	p.Helper()
	var got httpapi.Problem
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		p.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	if a.StatusCode != status || got.Status != status || got.Code != code || a.Header.Get("Content-Type") != httpapi.ContentType {
		p.Errorf("%d %s %s, want %d %s", a.StatusCode, a.Header.Get("Content-Type"), a.body, status, code)
	}
	if got.RequestID == "" || got.RequestID != a.Header.Get(httpapi.RequestIDHeader) || got.Detail == "" || got.Type == "" {
		p.Errorf("the problem is not whole: %s", a.body)
	}
	return got.Detail
}

func TestValidate(t *testing.T) {
	p := start(t)
	for name, a := range map[string]answer{
		"body":    p.send("POST", "/v1/validate", `{"credential": "`+p.secret+`", "scopes": ["read"]}`, "Content-Type", "application/json; charset=utf-8"),
		"bearer":  p.send("POST", "/v1/validate", "", "Authorization", "bearer "+p.secret),
		"api key": p.send("POST", "/v1/validate", "", "X-API-Key", p.secret),
		"both, the same": p.send("POST", "/v1/validate", `{"credential": "`+p.secret+`"}`,
			"Authorization", "Bearer "+p.secret, "X-API-Key", p.secret),
		"another scheme": p.send("POST", "/v1/validate", "", "Authorization", "Basic eDp5", "X-API-Key", p.secret),
	} {
		var v validate.Verdict
		if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.StatusCode != http.StatusOK || v.Outcome != validate.Allow || v.KeyID != "key_1" {
			t.Errorf("%s: %d %s (%v)", name, a.StatusCode, a.body, err)
		}
		if a.Header.Get("Veto-Revision") != "7" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, a.Header)
		}
		if seen := <-p.seen; seen.Code != validate.OK {
			t.Errorf("%s: observed %s", name, seen.Code)
		}
	}
	// A deny is an answer.
	if a := p.send("POST", "/v1/validate", `{"credential": "x"}`); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"outcome":"deny"`) {
		t.Errorf("a deny: %d %s", a.StatusCode, a.body)
	}
}

func TestMinRevision(t *testing.T) {
	p := start(t)
	for _, c := range []struct {
		body, header string
		want         record.Revision
	}{{"0", "5", 5}, {"9", "5", 9}, {"5", "9", 9}} {
		p.send("POST", "/v1/validate", `{"credential": "x", "min_revision": `+c.body+`}`, "Veto-Min-Revision", c.header)
		if got := p.asked.question().MinRevision; got != c.want {
			t.Errorf("body %s, header %s: asked for %d", c.body, c.header, got)
		}
	}
}

func TestBadRequests(t *testing.T) {
	p := start(t)
	for _, c := range []struct {
		body, names string
		headers     []string
	}{
		{`{"credential": "x", "audiance": "y"}`, `"audiance"`, nil},
		{`{"Credential": "x"}`, `"Credential"`, nil},
		{`{"credential": "x", "audience": "a", "audience": "b"}`, `"audience"`, nil},
		{`{"credential": "x", "credential": "x"}`, `"credential"`, nil},
		{`{"credential": 5}`, "credential must be a string", nil},
		{`{"credential": null}`, "credential must be a string", nil},
		{`{"credential": "x", "audience": null}`, "audience must be a string", nil},
		{`{"credential": "x", "scopes": "read"}`, "scopes must be a list of strings", nil},
		{`{"credential": "x", "scopes": [null]}`, "scopes must be a list of strings", nil},
		{`{"credential": "x", "scopes": null}`, "scopes must be a list of strings", nil},
		{`{"credential": "x", "scopes": [` + strings.Repeat(`"s",`, 100) + `"s"]}`, "at most 100 scopes", nil},
		{`{"credential": "x", "min_revision": -1}`, "min_revision must be a whole number", nil},
		{`{"credential": "x", "min_revision": 1.5}`, "min_revision must be a whole number", nil},
		{`{"credential": "x", "min_revision": "1"}`, "min_revision must be a whole number", nil},
		{`{"credential": "x", "cost": 0}`, "cost must be a whole number from 1 to 10000", nil},
		{`{"credential": "x", "cost": 10001}`, "cost must be", nil},
		{`{"credential": "x", "cost": -1}`, "cost must be", nil},
		{`{"credential": "x", "cost": 1.5}`, "cost must be", nil},
		{`{"credential": "x", "cost": "2"}`, "cost must be", nil},
		{`{"credential": "x", "max_staleness": 5}`, "max_staleness must be a duration above zero", nil},
		{`{"credential": "x", "max_staleness": null}`, "max_staleness must be", nil},
		{`{"credential": "x", "max_staleness": ""}`, "max_staleness must be", nil},
		{`{"credential": "x", "max_staleness": "0s"}`, "max_staleness must be", nil},
		{`{"credential": "x", "max_staleness": "-5s"}`, "max_staleness must be", nil},
		{`{"credential": "x", "max_staleness": "+5s"}`, "max_staleness must be", nil},
		{`{"credential": "x", "max_staleness": "5"}`, "max_staleness must be", nil},
		{`{"credential": "x", "max_staleness": "5s "}`, "max_staleness must be", nil},
		{`{"credential": "x", "max_staleness": "5s", "max_staleness": "5s"}`, "max_staleness", nil},
		{`{"credential": "x", "explain": 1}`, "explain must be true or false", nil},
		{`{"credential": "x"} {}`, "not JSON", nil},
		{`{"credential": "x"`, "not JSON", nil},
		{`{"credential": "x",}`, "not JSON", nil},
		{"{\"credential\": \"\xff\"}", "not JSON", nil},
		{`null`, "JSON object", nil},
		{`["x"]`, "JSON object", nil},
		{`{}`, "no credential", nil},
		{``, "no credential", nil},
		{`{"credential": "x"}`, "two different", []string{"Authorization", "Bearer y"}},
		{``, "two different", []string{"Authorization", "Bearer y", "X-API-Key", "z"}},
		{``, "two different", []string{"Authorization", "Bearer y", "Authorization", "Bearer z"}},
		{`{"credential": "x"}`, "empty", []string{"X-API-Key", ""}},
		{`{"credential": "x"}`, "Veto-Min-Revision", []string{"Veto-Min-Revision", "-1"}},
		{`{"credential": "x", "min_revision": 5}`, "Veto-Min-Revision", []string{"Veto-Min-Revision", "soon"}},
	} {
		a := p.send("POST", "/v1/validate", c.body, c.headers...)
		if detail := p.problem(a, 400, "bad_request"); !strings.Contains(detail, c.names) {
			t.Errorf("%.60s %v: %q does not name %q", c.body, c.headers, detail, c.names)
		}
	}
	p.problem(p.send("POST", "/v1/validate?audience=x", `{"credential": "x"}`), 400, "bad_request")
	p.problem(p.send("POST", "/v1/validate", `credential=x`, "Content-Type", "application/x-www-form-urlencoded"), 415, "unsupported_media_type")
	p.problem(p.send("POST", "/v1/validate", "--b\r\n", "Content-Type", "multipart/form-data; boundary=b"), 415, "unsupported_media_type")
	if len(p.seen) > 0 {
		t.Errorf("%d of these were decided", len(p.seen))
	}
}

func TestRoutes(t *testing.T) {
	p := start(t)
	p.problem(p.send("GET", "/v1/other", ""), 404, "not_found")
	a := p.send("GET", "/v1/validate", "")
	p.problem(a, 405, "method_not_allowed")
	if a.Header.Get("Allow") != "POST" {
		t.Errorf("Allow %q", a.Header.Get("Allow"))
	}
	p.problem(p.send("POST", "/livez", ""), 405, "method_not_allowed")
	if a := p.send("HEAD", "/livez", ""); a.StatusCode != http.StatusOK || a.body != "" {
		t.Errorf("HEAD /livez: %d %q", a.StatusCode, a.body)
	}
}

func TestReadiness(t *testing.T) {
	p := start(t)
	if a := p.send("GET", "/readyz", ""); a.StatusCode != http.StatusOK || a.body != `{"ready":true}` {
		t.Errorf("ready: %d %s", a.StatusCode, a.body)
	}
	p.checks = []httpapi.Check{{Name: "caught_up", OK: true}, {Name: "fresh", Detail: "no leader"}}
	if a := p.send("GET", "/readyz", ""); a.StatusCode != http.StatusServiceUnavailable || strings.Contains(a.body, "checks") {
		t.Errorf("not ready: %d %s", a.StatusCode, a.body)
	}
	if a := p.send("GET", "/readyz?verbose", ""); a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, `"name":"fresh","ok":false,"detail":"no leader"`) {
		t.Errorf("not ready, verbose: %d %s", a.StatusCode, a.body)
	}
	p.problem(p.send("GET", "/readyz?verbos", ""), 400, "bad_request")
	if a := p.send("GET", "/livez", ""); a.StatusCode != http.StatusOK {
		t.Errorf("alive though not ready: %d", a.StatusCode)
	}
}

// Q11
func TestWhatValidationsTakeIsCounted(t *testing.T) {
	const decision = time.Millisecond // that is, between two looks at the clock
	var looks atomic.Int64
	p := start(t, func(c *data.Config) {
		c.Now = func() time.Time { return time.Unix(1000, looks.Add(int64(decision))) }
	})
	before := p.server.Took()
	count := func(path, body string) time.Duration {
		p.send("POST", path, body)
		took := p.server.Took() - before
		before += took
		return took
	}
	question := `{"credential": "x"}`
	one := count("/v1/validate", question)
	if one <= decision {
		t.Errorf("one took %s, of which the decision %s", one, decision)
	}
	if batch, want := count("/v1/validate/batch", `{"requests": [`+question+","+question+","+question+`]}`), one+2*decision; batch != want {
		t.Errorf("a batch of three took %s, want %s", batch, want)
	}
	if none := count("/nowhere", question); none != 0 {
		t.Errorf("what is no question took %s", none)
	}
}
