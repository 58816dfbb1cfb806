package control_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi/control"
	"veto/node/httpapi/gate"
	"veto/record"
	"veto/validate/apikey"
)

// access says who is let in by each route; a route that is not here fails the test.
var access = map[string]string{
	"GET /openapi.json": "anyone", "GET /openapi.yaml": "anyone", "GET /openapi-3.0.json": "anyone", "GET /openapi-3.0.yaml": "anyone",
	"GET /livez": "anyone", "GET /readyz": "anyone",
	"GET /v1/cluster": "bound", "GET /v1/revocations/{id}": "bound",
	"GET /v1/consumers": "any", "GET /v1/consumers/{id}": "any", "GET /v1/issuers": "any", "GET /v1/issuers/{id}": "any",
	"GET /v1/issuers/{id}/keys": "any", "GET /v1/keys": "any", "GET /v1/keys/{id}": "any", "GET /v1/roles": "any", "GET /v1/roles/{id}": "any",
	"GET /v1/revocations": "any", "GET /v1/revocations/export": "any", "GET /v1/events": "any", "GET /v1/pepper": "any",
	"GET /v1/audit": "auditor", "GET /v1/audit/head": "auditor", "GET /v1/audit/export": "auditor", "GET /metrics": "auditor",
	"POST /v1/revocations": "revoker", "POST /v1/revocations/bulk": "revoker", "POST /v1/keys/leaked": "revoker",
	"PUT /v1/consumers/{id}": "admin", "PATCH /v1/consumers/{id}": "admin", "DELETE /v1/consumers/{id}": "admin",
	"POST /v1/consumers/{id}/portal-sessions": "admin", "DELETE /v1/consumers/{id}/portal-sessions/{session}": "admin",
	"PUT /v1/issuers/{id}": "admin", "DELETE /v1/issuers/{id}": "admin", "POST /v1/issuers/{id}/refresh": "admin",
	"POST /v1/keys": "admin", "PATCH /v1/keys/{id}": "admin", "DELETE /v1/keys/{id}": "admin", "POST /v1/keys/{id}/roll": "admin",
	"PUT /v1/roles/{id}": "admin", "DELETE /v1/roles/{id}": "admin", "DELETE /v1/revocations/{id}": "admin", "POST /v1/pepper/rotate": "admin", "GET /v1/backup": "admin",
	"POST /v1/cluster/nodes/{id}/leave": "admin", "POST /v1/cluster/nodes/{id}/promote": "admin", "POST /v1/cluster/nodes/{id}/demote": "admin", "POST /v1/cluster/nodes/{id}/remove": "admin",
	"GET /debug/pprof/": "admin", "GET /debug/pprof/cmdline": "admin", "GET /debug/pprof/profile": "admin", "GET /debug/pprof/symbol": "admin", "GET /debug/pprof/trace": "admin",
	"GET /v1/me": "manager", "GET /v1/me/keys": "manager", "POST /v1/me/keys": "manager", "POST /v1/me/keys/{id}/roll": "manager", "POST /v1/me/keys/{id}/revoke": "manager",
}

// visitor is one who asks: what it opens, and what is forbidden to it. Of all else it is nobody known.
type visitor struct{ authorization, opens, forbidden string }

// operators are those of the cluster by API key, good ones and such as are none any more.
func (p *plane) operators() map[string]visitor {
	p.Helper()
	made := func(change func(*record.APIKey)) string {
		secret, hash, _, err := apikey.Generate(rand.Reader, operatorForm)
		if err != nil {
			p.Fatal(err)
		}
		p.ids++
		k := record.APIKey{ID: fmt.Sprintf("key_visitor%d", p.ids), Hash: hash, Roles: []record.Role{record.RoleAdmin}}
		change(&k)
		p.cluster.keys[k.ID] = k
		return "Bearer " + secret
	}
	old, hash, _, err := apikey.Generate(rand.Reader, operatorForm)
	if err != nil {
		p.Fatal(err)
	}
	revoked := record.Name{Target: record.TargetKey, Value: "key_revoked"}
	p.cluster.revocations[digestKey.Digest(revoked)] = record.Revocation{Name: revoked}
	const nothing = ""
	return map[string]visitor{
		"an admin":        {"Bearer " + p.secrets[record.RoleAdmin], "any bound admin revoker auditor", nothing},
		"a revoker":       {"bearer " + p.secrets[record.RoleRevoker], "any bound revoker", "admin auditor"},
		"an auditor":      {"Bearer " + p.secrets[record.RoleAuditor], "any bound auditor", "admin revoker"},
		"a validator":     {"Bearer " + p.secrets[record.RoleValidator], "any bound", "admin revoker auditor"},
		"a bound revoker": {made(func(k *record.APIKey) { k.Roles, k.Issuers = []record.Role{record.RoleRevoker}, []string{"i"} }), "bound revoker", "any admin auditor"},
		"a bound one who reads": {made(func(k *record.APIKey) {
			k.Roles, k.Issuers = []record.Role{record.RoleRevoker, record.RoleAuditor}, []string{"i"}
		}), "any bound revoker auditor", "admin"},
		"nobody":              {"", nothing, nothing},
		"an empty secret":     {"Bearer ", nothing, nothing},
		"another scheme":      {"Basic " + p.secrets[record.RoleAdmin], nothing, nothing},
		"no scheme":           {p.secrets[record.RoleAdmin], nothing, nothing},
		"a secret and more":   {"Bearer " + p.secrets[record.RoleAdmin] + " " + p.secrets[record.RoleAdmin], nothing, nothing},
		"a wrong secret":      {"Bearer " + old, nothing, nothing},
		"a cut secret":        {"Bearer " + p.secrets[record.RoleAdmin][:20], nothing, nothing},
		"an expired key":      {made(func(k *record.APIKey) { k.ExpiresAt = now().Add(-time.Second) }), nothing, nothing},
		"a disabled key":      {made(func(k *record.APIKey) { k.Disabled = true }), nothing, nothing},
		"a revoked key":       {made(func(k *record.APIKey) { k.ID = "key_revoked" }), nothing, nothing},
		"a key without roles": {made(func(k *record.APIKey) { k.Roles = nil }), nothing, nothing},
		"a consumer's key":    {made(func(k *record.APIKey) { k.Consumer = "acme" }), nothing, nothing}, // which names a role as operators' are called
		"a secret of before":  {"Bearer " + p.rolled(made, old, hash), nothing, nothing},
	}
}

// rolled makes a key whose former secret is over.
func (p *plane) rolled(made func(func(*record.APIKey)) string, old string, hash record.KeyHash) string {
	p.Helper()
	made(func(k *record.APIKey) { k.Rotating = &record.Rotating{Hash: hash, Until: now().Add(-time.Second)} })
	return old
}

// people are those who come with a JWT or a portal session.
func (p *plane) people() map[string]visitor {
	p.Helper()
	s, other, stranger := newSigner(p.T), newSigner(p.T), newSigner(p.T)
	other.iss, stranger.iss = "https://other.example", "https://nobody.example"
	p.trust("corp", s, groups)
	p.trust("other", other, "")
	session := func(consumer string) string {
		ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/"+consumer, `{"managers": [{"issuer": "corp", "subject": "alice"}]}`), 200)
		return ok[shownSession](p, p.admin("POST", "/v1/consumers/"+consumer+"/portal-sessions", `{}`), 201).Secret
	}
	good, disabled := session("acme"), session("shut")
	ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/shut", `{"disabled": true}`), 200)
	token := func(by signer, claims ...any) string {
		c := map[string]any{"aud": forVeto, "sub": "alice"}
		for i := 0; i < len(claims); i += 2 {
			c[claims[i].(string)] = claims[i+1]
		}
		if c["aud"] == nil {
			delete(c, "aud")
		}
		return "Bearer " + by.token(p.T, c)
	}
	const late = "veto_portal_late"
	hash := record.KeyHash(sha256.Sum256([]byte(late)))
	p.cluster.sessions[record.SessionID(hash)] = record.PortalSession{ID: record.SessionID(hash), Consumer: "acme", Hash: hash, ExpiresAt: now()}
	const all, nothing = "any bound admin revoker auditor manager", ""
	return map[string]visitor{
		"a JWT of an admin":                  {token(s, "groups", "veto-admins", "sub", "ann"), "any bound admin revoker auditor", "manager"},
		"a JWT of a reader":                  {token(s, "groups", "veto-readers", "sub", "ann"), "any bound auditor", "admin revoker manager"},
		"a JWT without a role":               {token(s, "sub", "ann"), nothing, all},
		"a manager":                          {token(s, "aud", nil), "manager", nothing},
		"a namesake of another issuer":       {token(other, "groups", "veto-admins"), nothing, "manager"},
		"a JWT of an issuer nobody trusts":   {token(stranger, "groups", "veto-admins"), nothing, nothing},
		"a JWT for another API":              {token(s, "groups", "veto-admins", "aud", "https://api.example", "sub", "ann"), nothing, "manager"},
		"an expired JWT":                     {token(s, "groups", "veto-admins", "iat", now().Add(-time.Hour).Unix(), "exp", now().Add(-time.Minute).Unix()), nothing, nothing},
		"a portal session":                   {"Bearer " + good, "manager", nothing},
		"a portal session that is over":      {"Bearer " + late, nothing, nothing},
		"a portal session's id":              {"Bearer " + record.SessionID(hash), nothing, nothing},
		"a portal session of who is shut":    {"Bearer " + disabled, nothing, "manager"},
		"a portal session that nobody made":  {"Bearer veto_portal_" + strings.Repeat("x", 43), nothing, nothing},
		"a portal session with a dot behind": {"Bearer " + good + ".", nothing, nothing},
	}
}

// L1, L12: whoever asks, by whatever route, is let in, forbidden, or nobody known, as the table says.
func TestWhoIsLetInWhere(t *testing.T) {
	var patterns []string
	p := open(t, func(c *control.Config) { c.Pprof = true })
	p.handler, patterns = control.NewWithRoutes(p.config)
	all := p.operators()
	for name, v := range p.people() {
		all[name] = v
	}
	seen := map[string]bool{}
	for _, pattern := range patterns {
		seen[pattern] = true
		class, ok := access[pattern]
		if !ok {
			t.Errorf("%s has no row: say who is let in", pattern)
			continue
		}
		method, path, _ := strings.Cut(pattern, " ")
		for name, v := range all {
			p.visits(name, v, class, method, path)
			if method == http.MethodGet {
				p.visits(name, v, class, http.MethodHead, path)
			}
		}
	}
	for pattern := range access {
		if !seen[pattern] {
			t.Errorf("%s has a row, and nothing answers it", pattern)
		}
	}
	for path, methods := range describedBy(p).Paths {
		for method, o := range methods {
			if pattern := strings.ToUpper(method) + " " + path; !seen[pattern] && o.Plane != "data" {
				t.Errorf("%s is described, and nothing answers it", pattern)
			}
		}
	}
}

func (p *plane) visits(name string, v visitor, class, method, path string) {
	p.Helper()
	// Over from the start: a profile or a stream ends with whoever asked for it.
	ctx, cancel := context.WithCancel(p.Context())
	cancel()
	if path == "/debug/pprof/" {
		path += "heap"
	}
	r := httptest.NewRequestWithContext(ctx, method, strings.NewReplacer("{id}", "x", "{session}", "x").Replace(path), strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	if v.authorization != "" {
		r.Header.Set("Authorization", v.authorization)
	}
	if class == "manager" { // of several, the one whose session is there
		r.URL.RawQuery = "consumer=" + map[bool]string{false: "acme", true: "shut"}[strings.Contains(name, "shut")]
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	in := func(classes string) bool { return strings.Contains(" "+classes+" ", " "+class+" ") }
	switch {
	case class == "anyone" || in(v.opens):
		if w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden {
			p.Errorf("%s is not let in by %s %s: %d %s", name, method, path, w.Code, w.Body)
		}
	case in(v.forbidden):
		if w.Code != http.StatusForbidden && w.Code != http.StatusNotFound {
			p.Errorf("%s %s is not forbidden to %s: %d %s", method, path, name, w.Code, w.Body)
		}
	case w.Code != http.StatusUnauthorized:
		p.Errorf("%s %s knows %s: %d %s", method, path, name, w.Code, w.Body)
	}
}

// Another spelling of a path is no way around.
func TestSpellingsOfPathsLetNobodyIn(t *testing.T) {
	p := open(t, func(c *control.Config) { c.Pprof = true })
	for _, path := range []string{
		"//metrics", "/metrics/", "/./metrics", "/livez/../metrics", "/livez/%2e%2e/metrics", "/livez%2f..%2fmetrics", "/METRICS", "/metrics;x", "/metrics%00",
		"/v1//keys", "/v1/keys/", "/v1/keys/?", "/v1/keys%2f", "/debug//pprof/heap", "/debug/pprof", "/debug/pprof/../pprof/heap", "/v1/me/../keys", "*",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT", "get"} {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			r.Method, r.RequestURI = method, path
			if path != "*" {
				u, err := r.URL.Parse("http://x" + path)
				if err != nil {
					t.Fatal(err)
				}
				r.URL = u
			}
			w := httptest.NewRecorder()
			p.handler.ServeHTTP(w, r)
			if w.Code < 300 {
				t.Errorf("%s %s: %d %.80s", method, path, w.Code, w.Body)
			}
		}
	}
}

// L13
func TestWhoComesTooOften(t *testing.T) {
	p := open(t, func(c *control.Config) {
		c.Callers, c.Strangers = gate.NewRates(gate.Rate{PerSecond: 1, Burst: 5}), gate.NewRates(gate.Rate{PerSecond: 0.5, Burst: 5})
	})
	for n := range 8 { // by whatever route, of operations and of others
		path := []string{"/v1/keys", "/metrics", "/v1/revocations/export"}[n%3]
		if w := p.as(record.RoleAuditor, "GET", path, ""); n < 5 && w.Code != 200 || n >= 5 && (w.Code != 429 || w.Header().Get("Retry-After") != "1") {
			t.Errorf("%d, %s: %d %v", n, path, w.Code, w.Header())
		}
		w := p.as("", []string{"GET", "POST"}[n%2], []string{"/v1/keys", "/v1/keys/leaked"}[n%2], "[]", "Authorization", fmt.Sprintf("Bearer wrong%d", n))
		if n < 5 && w.Code != 401 || n >= 5 && (w.Code != 429 || w.Header().Get("Retry-After") != "2") {
			t.Errorf("a stranger, %d: %d %v", n, w.Code, w.Header())
		}
	}
	p.problem(p.as("", "GET", "/v1/me", ""), 429, "too_many_requests")
	for range 10 {
		if w := p.as("", "GET", "/livez", ""); w.Code != 200 {
			t.Errorf("whether it is alive: %d", w.Code)
		}
	}
	if w := p.admin("GET", "/v1/keys", ""); w.Code != 200 {
		t.Errorf("another at the same address pays for it: %d", w.Code)
	}
}

// L13: no cookies, no CORS, and no body that a form or a plain request of a page could send.
func TestOtherSitesPagesGetNothing(t *testing.T) {
	p := open(t)
	secret := p.secrets[record.RoleAdmin]
	for pattern, class := range access {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{id}", "x", "{session}", "x").Replace(path)
		pre := p.as("", "OPTIONS", path, "", "Origin", "https://evil.example", "Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization")
		w := p.as("", method, path, "", "Origin", "https://evil.example", "Cookie", "token="+secret+"; Authorization=Bearer "+secret)
		for _, got := range []*httptest.ResponseRecorder{pre, w} {
			for name := range got.Header() {
				if strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" {
					t.Errorf("%s: %s", pattern, name)
				}
			}
		}
		if pre.Code < 400 || class != "anyone" && w.Code != 401 && !strings.HasPrefix(path, "/debug/") {
			t.Errorf("%s: %d, with a cookie %d", pattern, pre.Code, w.Code)
		}
	}
	before := p.cluster.changes()
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
		for path, body := range map[string]string{"/v1/keys": `{"roles": ["admin"]}`, "/v1/revocations": `{"target": "key", "value": "key_admin"}`, "/v1/revocations/bulk": `{"target": "key", "value": "key_admin"}`} {
			if w := p.admin("POST", path, body, "Content-Type", kind); w.Code != 415 {
				t.Errorf("%s as %s: %d", path, kind, w.Code)
			}
		}
	}
	if p.cluster.changes() != before {
		t.Error("something was changed")
	}
}
