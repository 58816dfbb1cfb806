package control_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/node/httpapi/control"
	"veto/record"
	"veto/validate/apikey"
)

// L4
func TestBadKeyRequests(t *testing.T) {
	p := open(t)
	before := p.cluster.changes()
	for body, names := range map[string]string{
		`{"consumer": "a", "roles": ["admin"]}`:                                "Veto's own",
		`{"consumer": "a", "expires_at": "tomorrow"}`:                          "body.expires_at",
		`{"consumer": "a", "expires_at": "2036-01-01T1:00:00Z"}`:               "body.expires_at",
		`{"consumer": "a", "environment": "Live"}`:                             "body.environment",
		`{"consumer": "a", "environment": "op"}`:                               "the word of operators' keys",
		`{"roles": ["auditor"], "environment": "live"}`:                        "an operator's key has none",
		`{"consumer": "a", "sha256": "00ff"}`:                                  "body.sha256",
		`{"consumer": "a", "hint": "sk-"}`:                                     "give its sha256",
		`{"roles": ["auditor"], "sha256": "` + strings.Repeat("0f", 32) + `"}`: "cannot be imported",
		`{"consumer": "a", "limits": {}}`:                                      "limits",
		`{"consumer": "a", "limits": {"rate": "5/h"}}`:                         "body.limits.rate",
		`{"consumer": "a", "limits": {"rate": "1000001/s"}}`:                   "rate",
		`{"consumer": "a", "limits": {"burst": 5}}`:                            "a burst needs a rate",
		`{"roles": ["admin"], "limits": {"rate": "5/s"}}`:                      "operator",
	} {
		w := p.admin("POST", "/v1/keys", body)
		p.problem(w, 422, "invalid")
		if !strings.Contains(w.Body.String(), names) {
			t.Errorf("%s: %s does not name %s", body, w.Body, names)
		}
	}
	if p.cluster.changes() != before {
		t.Error("a refused request changed something")
	}
}

func TestBadRequests(t *testing.T) {
	p := open(t)
	before := p.cluster.changes()
	for _, c := range badRequests() {
		w := p.admin(c.method, c.path, c.body)
		code := "invalid"
		if c.status == 400 {
			code = "bad_request"
		}
		p.problem(w, c.status, code)
		if !strings.Contains(w.Body.String(), c.names) {
			t.Errorf("%s %s %s: %s does not name %s", c.method, c.path, c.body, w.Body, c.names)
		}
	}
	p.problem(p.admin("PUT", "/v1/consumers/acme", `{"name": "`+strings.Repeat("x", 64<<10)+`"}`), 413, "too_large")
	p.problem(p.admin("PUT", "/v1/consumers/acme", `name=x`, "Content-Type", "application/x-www-form-urlencoded"), 415, "unsupported_media_type")
	if p.cluster.changes() != before {
		t.Error("a refused request changed something")
	}
}

// badRequest is refused with the status, in words that name what is wrong.
type badRequest struct {
	method, path, body string
	status             int
	names              string
}

func badRequests() []badRequest {
	return []badRequest{
		{"PUT", "/v1/consumers/acme", `{"nam": "x"}`, 422, "body.nam"},
		{"PUT", "/v1/consumers/acme", `{"name": 5}`, 422, "body.name"},
		{"PUT", "/v1/consumers/acme", `{"metadata": 5}`, 422, "metadata"},
		{"PUT", "/v1/consumers/acme", `{"metadata": null}`, 422, "metadata"},
		{"PUT", "/v1/consumers/acme", `{"name": "x"`, 400, "body"},
		{"PUT", "/v1/consumers/acme", `{"name": "x"} {}`, 400, "body"},
		{"PUT", "/v1/consumers/acme", `{"name": "x", "name": "y"}`, 400, "twice"},
		{"PUT", "/v1/consumers/acme", `{"name": "x", "Name": "y"}`, 422, "body.Name"},
		{"PUT", "/v1/consumers/acme", `{"Name": "y"}`, 422, "body.Name"},
		{"PUT", "/v1/consumers/acme", `{"metadata": {"a": 1, "\u0061": 2}}`, 400, "twice"},
		{"PUT", "/v1/consumers/acme", "{\"name\": \"\xff\"}", 400, "body"},
		{"PUT", "/v1/consumers/acme", ``, 400, "body"},
		{"PUT", "/v1/consumers/ACME", `{}`, 422, "path.id"},
		{"GET", "/v1/consumers?limt=5", ``, 422, "query.limt"},
		{"GET", "/v1/consumers?limit=0", ``, 422, "query.limit"},
		{"GET", "/v1/consumers?limit=1001", ``, 422, "query.limit"},
		{"GET", "/v1/consumers?limit=x", ``, 422, "query.limit"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i"}`, 422, "exactly one of"},
		{"PUT", "/v1/issuers/demo", `{}`, 422, "required property issuer"},
		{"PUT", "/v1/issuers/demo", `[]`, 422, "expected object"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks_uri": "https://x/", "leeway": "soon"}`, 422, "body.leeway"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks_uri": "https://x/", "max_staleness": 5}`, 422, "body.max_staleness"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks_uri": "https://x/", "max_staleness": "999ms"}`, 422, "max_staleness"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks_uri": "https://x/", "max_staleness": "8785h"}`, 422, "max_staleness"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks_uri": "https://x/", "algorithms": ["HS1"]}`, 422, "body.algorithms[0]"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks_uri": "https://x/", "algorithms": ["HS256"]}`, 422, "algorithms"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "shared_secret": "c2hvcnQ"}`, 422, "32 to"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "shared_secret": "***"}`, 422, "base64url"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "https://i.example", "shared_secret": null}`, 422, "shared_secret"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks_uri": "https://x/", "preset": "mine"}`, 422, "body.preset"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks_uri": "https://x/", "claims": {"sub": ["x"]}}`, 422, "body.claims.sub"},
		{"PUT", "/v1/issuers/demo", `{"issuer": "i", "jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}`, 422, "jwks"},
		{"PATCH", "/v1/keys/key_1", `{"limits": {"quota": "5/week"}}`, 422, "body.limits.quota"},
		{"PATCH", "/v1/keys/acme", `{}`, 422, "path.id"},
		{"POST", "/v1/revocations", `{}`, 422, "target"},
		{"POST", "/v1/revocations", `{"target": "jti", "Target": "subject", "issuer": "i", "value": "x"}`, 422, "body"},
		{"POST", "/v1/revocations", `{"target": "jti", "issuer": "i", "value": "x", "and": [{"Target": "client", "value": "y"}]}`, 422, "body.and[0].Target"},
		{"POST", "/v1/revocations", `{"target": "everyone"}`, 422, "body.target"},
		{"POST", "/v1/revocations", `{"target": "jti", "value": "x"}`, 422, "issuer"},
		{"POST", "/v1/revocations", `{"target": "jti", "issuer": "i", "value": "x", "not_before": "2026-01-01T00:00:00Z"}`, 422, "not_before"},
		{"POST", "/v1/revocations?wait=long", `{"target": "key", "value": "key_1"}`, 422, "query.wait"},
		{"POST", "/v1/revocations?timeout=31s", `{"target": "key", "value": "key_1"}`, 422, "timeout"},
		{"POST", "/v1/revocations?timeout=999us", `{"target": "key", "value": "key_1"}`, 422, "timeout"},
		{"GET", "/v1/audit/export?until=0001-01-01T00:00:00Z", "", 422, "until"},
		{"DELETE", "/v1/revocations/rev_1?reason=x", ``, 422, "path.id"},
	}
}

func TestUnrouted(t *testing.T) {
	p := open(t)
	p.problem(p.admin("GET", "/", ""), 404, "not_found")
	p.problem(p.admin("GET", "/v2/keys", ""), 404, "not_found")
	w := p.admin("DELETE", "/v1/keys", "")
	p.problem(w, 405, "method_not_allowed")
	if allow := w.Header().Get("Allow"); !strings.Contains(allow, "GET") || !strings.Contains(allow, "POST") {
		t.Errorf("Allow %q", allow)
	}
}

func TestRoles(t *testing.T) {
	p := open(t)
	for _, c := range []struct {
		method, path, body string
		may                []record.Role
	}{
		{"GET", "/v1/issuers", "", record.Roles()},
		{"PUT", "/v1/consumers/a", "{}", []record.Role{record.RoleAdmin}},
		{"DELETE", "/v1/issuers/a", "", []record.Role{record.RoleAdmin}},
		{"POST", "/v1/keys", `{"roles": ["admin"]}`, []record.Role{record.RoleAdmin}},
		{"POST", "/v1/revocations", `{"target": "key", "value": "key_1"}`, []record.Role{record.RoleAdmin, record.RoleRevoker}},
		{"GET", "/v1/audit", "", []record.Role{record.RoleAdmin, record.RoleAuditor}},
		{"GET", "/v1/audit/head", "", []record.Role{record.RoleAdmin, record.RoleAuditor}},
		{"GET", "/v1/audit/export", "", []record.Role{record.RoleAdmin, record.RoleAuditor}},
		{"GET", "/v1/backup", "", []record.Role{record.RoleAdmin}},
		{"GET", "/metrics", "", []record.Role{record.RoleAdmin, record.RoleAuditor}},
	} {
		for _, role := range record.Roles() {
			w := p.as(role, c.method, c.path, c.body)
			if got, want := w.Code != 403 && w.Code != 401, slices.Contains(c.may, role); got != want {
				t.Errorf("%s as %s: %d", c.path, role, w.Code)
			}
			if w.Code == 403 && !strings.Contains(w.Body.String(), string(c.may[len(c.may)-1])) {
				t.Errorf("%s as %s: %s does not name the role", c.path, role, w.Body)
			}
		}
	}
}

func TestWhoAsks(t *testing.T) {
	p, s := open(t), newSigner(t)
	ok[record.Issuer](p, p.admin("PUT", "/v1/issuers/demo", fmt.Sprintf(`{"issuer": %q, "jwks": %s}`, s.iss, s.jwks(t))), 200)
	consumers := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "acme"}`), 201)
	for name, header := range map[string]string{
		"no key": "", "not bearer": "Basic " + p.secrets[record.RoleAdmin], "empty": "Bearer ", "wrong": "Bearer veto_op_x",
		"a consumer's key": "Bearer " + consumers.Secret, "a JWT": "Bearer " + s.token(t, nil), "too long": "Bearer " + strings.Repeat("x", 20<<10),
	} {
		w := p.as("", "GET", "/v1/cluster", "", "Authorization", header)
		if w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
		}
	}
	for change, code := range map[string]string{`{"disabled": true}`: "key_disabled"} {
		ok[record.APIKey](p, p.admin("PATCH", "/v1/keys/key_auditor", change), 200)
		p.problem(p.as(record.RoleAuditor, "GET", "/v1/cluster", ""), 401, code)
	}
	ok[record.Receipt](p, p.admin("POST", "/v1/revocations", `{"target": "key", "value": "key_revoker"}`), 201)
	p.problem(p.as(record.RoleRevoker, "GET", "/v1/cluster", ""), 401, "revoked")
	p.cluster.ready, p.checks = false, []httpapi.Check{{Name: "caught_up", Detail: "nobody leads"}, {Name: "fresh", OK: true, Detail: "it is"}}
	w := p.admin("GET", "/v1/cluster", "")
	p.problem(w, 503, "not_ready")
	if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "not ready: nobody leads; ask another") {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}

func TestStateOfTheCluster(t *testing.T) {
	p := open(t)
	for _, c := range []struct {
		fail   error
		status int
		code   string
	}{
		{&record.Unavailable{Detail: "no leader", RetryAfter: time.Second}, 503, "unavailable"},
		{record.ErrOutcomeUnknown, 504, "outcome_unknown"},
		{context.DeadlineExceeded, 504, "timeout"},
		{record.Conflict("taken"), 409, "conflict"},
		{errors.New("pebble: /data/veto: disk is full"), 500, "internal"},
	} {
		p.cluster.fail = c.fail
		w := p.admin("DELETE", "/v1/issuers/a", "")
		p.problem(w, c.status, c.code)
		if c.status == 503 && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if inside := strings.Contains(w.Body.String(), "pebble"); inside {
			t.Errorf("an inner error got out: %s", w.Body)
		}
		if c.status == 500 && (!bytes.Contains(p.log.Bytes(), []byte("disk is full")) || !strings.Contains(p.log.String(), w.Header().Get("X-Request-Id"))) {
			t.Errorf("the log does not tell: %s", p.log.String())
		}
	}
}

func TestPanic(t *testing.T) {
	p := open(t, func(c *control.Config) {
		c.Metrics = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { panic(r.Header.Get("Authorization")) })
	})
	w := p.as(record.RoleAuditor, "GET", "/metrics", "")
	p.problem(w, 500, "internal")
	if !strings.Contains(p.log.String(), w.Header().Get("X-Request-Id")) || strings.Contains(p.log.String(), p.secrets[record.RoleAuditor]) {
		t.Errorf("the log: %s", p.log.String())
	}
}

func TestHealth(t *testing.T) {
	p := open(t)
	if w := p.as("", "GET", "/readyz", ""); w.Code != 200 || strings.Contains(w.Body.String(), "checks") {
		t.Errorf("ready: %d %s", w.Code, w.Body)
	}
	p.checks[0].OK = false
	for _, path := range []string{"/readyz?verbose", "/readyz?verbose=1"} {
		if w := p.as("", "GET", path, ""); w.Code != 503 || !strings.Contains(w.Body.String(), `"name":"caught_up","ok":false`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := p.as("", "GET", "/livez", ""); w.Code != 200 {
		t.Errorf("alive: %d", w.Code)
	}
}

func TestPprofIsOffUnlessAskedFor(t *testing.T) {
	p := open(t)
	p.problem(p.admin("GET", "/debug/pprof/", ""), 404, "not_found")
	p = open(t, func(c *control.Config) { c.Pprof = true })
	p.problem(p.as(record.RoleAuditor, "GET", "/debug/pprof/", ""), 403, "forbidden")
	if w := p.admin("GET", "/debug/pprof/goroutine?debug=1", ""); w.Code != 200 {
		t.Errorf("pprof for an admin: %d", w.Code)
	}
}

// Secrets are sent where they belong and where they do not; none comes back, none is logged.
func TestPresentedSecretsStayInside(t *testing.T) {
	p, s := open(t), newSigner(t)
	ok[record.Issuer](p, p.admin("PUT", "/v1/issuers/demo", fmt.Sprintf(`{"issuer": %q, "jwks": %s}`, s.iss, s.jwks(t))), 200)
	for _, secret := range []string{p.secrets[record.RoleAdmin], p.secrets[record.RoleAuditor], s.token(t, nil), s.token(t, map[string]any{"jti": "x"})} {
		for _, path := range []string{
			"GET /v1/keys/%s", "DELETE /v1/keys/%s", "GET /v1/issuers/%s", "GET /v1/consumers/%s", "GET /v1/revocations/%s", "GET /%s",
			"GET /v1/keys?consumer=%s", "GET /v1/keys?cursor=%s", "GET /v1/audit?cursor=%s", "GET /v1/keys?%s=1", "GET /v1/keys?limit=%s",
			"DELETE /v1/revocations/rev_" + strings.Repeat("0", 28) + "?reason=%s", "GET /v1/cluster?token=%s",
		} {
			method, path, _ := strings.Cut(fmt.Sprintf(path, secret), " ")
			p.admin(method, path, "")
		}
		for _, body := range []string{
			`POST /v1/revocations {"token": "%s"}`, `POST /v1/revocations {"token": ["%s"]}`, `POST /v1/revocations {"token": "%s"`,
			`POST /v1/revocations {"token": "%s", "target": "jti"}`, `POST /v1/revocations {"%s": 1}`, `POST /v1/revocations {"target": "%s"}`,
			`POST /v1/revocations {"target": "key", "value": "%s"}`, `POST /v1/revocations {"target": "jti", "issuer": "%s", "value": "x"}`,
			`POST /v1/revocations {"target": "key", "value": "key_1", "reason": "leaked: %s"}`, `POST /v1/revocations {"not_before": "%s"}`,
			`POST /v1/revocations %s`, `POST /v1/revocations?timeout=%s {}`, `POST /v1/keys {"consumer": "%s"}`, `POST /v1/keys {"roles": ["%s"]}`,
			`POST /v1/keys {"expires_at": "%s"}`, `POST /v1/keys {"metadata": "%s"}`, `PUT /v1/issuers/a {"issuer": "i", "jwks": "%s"}`,
			`PUT /v1/issuers/a {"issuer": "i", "leeway": "%s"}`, `PUT /v1/issuers/a {"issuer": "i", "algorithms": ["%s"]}`,
			`PUT /v1/issuers/a {"issuer": "i", "jwks_uri": "%s"}`, `PUT /v1/issuers/a {"issuer": "i", "jwks": {"keys": [{"kty": "oct", "k": "%s"}]}}`,
		} {
			parts := strings.SplitN(fmt.Sprintf(body, secret), " ", 3)
			p.admin(parts[0], parts[1], parts[2])
		}
		p.as("", "GET", "/v1/cluster", "", "Authorization", secret)
		p.as("", "GET", "/v1/cluster", "", "Authorization", "Bearer x"+secret)
		p.admin("PUT", "/v1/consumers/a", "{}", "Content-Type", secret)
		p.admin("PUT", "/v1/consumers/a", "{}", "X-Request-Id", secret)
		if where := strings.Index(p.said.String(), secret); where >= 0 {
			t.Errorf("a secret came back: %.600s", p.said.String()[max(0, where-400):])
		}
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("a secret was logged: %s", p.log.String())
		}
		for _, c := range p.cluster.commands {
			if b, err := c.Encode(); err != nil || bytes.Contains(b, []byte(secret)) {
				t.Errorf("a secret is in the log of the cluster: %s", c.Body.Kind())
			}
		}
	}
}

// The reason of a lift is kept in the audit trail, where it would be shown for good.
func TestNoSecretAsReasonOfALift(t *testing.T) {
	p := open(t)
	r := ok[record.Receipt](p, p.admin("POST", "/v1/revocations", `{"target": "key", "value": "key_revoker"}`), 201)
	before := p.cluster.changes()
	w := p.admin("DELETE", "/v1/revocations/"+r.ID+"?reason=not+"+p.secrets[record.RoleAuditor], "")
	p.problem(w, 422, "invalid")
	if p.cluster.changes() != before || strings.Contains(w.Body.String(), p.secrets[record.RoleAuditor]) {
		t.Errorf("it was lifted, or the secret came back: %s", w.Body)
	}
}

// L3: what has the form of a secret is not kept, wherever it was typed, and does not come back.
func TestNoSecretIsKept(t *testing.T) {
	p := open(t)
	ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/acme", `{}`), 200)
	session := ok[shownSession](p, p.admin("POST", "/v1/consumers/acme/portal-sessions", `{}`), 201).Secret
	key := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "acme"}`), 201)
	own, _, _, err := apikey.Generate(rand.Reader, apikey.Form{Prefix: "acme", Environment: "live"})
	if err != nil {
		t.Fatal(err)
	}
	before := p.cluster.changes()
	for _, secret := range []string{key.Secret, session, own, newSigner(t).token(t, nil)} {
		p.said.Reset()
		for _, request := range []string{
			`POST /v1/keys {"consumer": "acme", "name": "%s"}`, `POST /v1/keys {"consumer": "acme", "metadata": {"a": [{"b": "is %s."}]}}`,
			`POST /v1/keys {"consumer": "acme", "metadata": {"%s": 1}}`, `POST /v1/keys {"consumer": "acme", "scopes": ["%s"]}`,
			`POST /v1/keys {"consumer": "acme", "sha256": "` + strings.Repeat("0f", 32) + `", "hint": "%s"}`,
			`PATCH /v1/keys/` + key.ID + ` {"name": "%s"}`, `PATCH /v1/keys/` + key.ID + ` {"metadata": {"a": "%s"}}`,
			`PUT /v1/consumers/acme {"name": "%s"}`, `PUT /v1/consumers/acme {"metadata": {"a": "%s"}}`, `PUT /v1/consumers/acme {"tags": ["%s"]}`,
			`PUT /v1/consumers/acme {"managers": [{"issuer": "a", "subject": "%s"}]}`, `PATCH /v1/consumers/acme {"name": "%s"}`,
			`PUT /v1/roles/x {"name": "%s", "scopes": []}`, `PUT /v1/roles/x {"scopes": ["%s"]}`, `PUT /v1/issuers/x {"issuer": "%s"}`,
			`POST /v1/keys {"%s": 1}`,
		} {
			parts := strings.SplitN(fmt.Sprintf(request, secret), " ", 3)
			w := p.admin(parts[0], parts[1], parts[2])
			if p.problem(w, 422, "invalid"); !strings.Contains(w.Body.String(), "holds a secret") {
				t.Errorf("%s: %s", request, w.Body)
			}
		}
		for _, written := range []string{secret, fmt.Sprintf(`\u%04x%s`, secret[0], secret[1:])} {
			p.problem(p.by(session, "POST", "/v1/me/keys", `{"name": "`+written+`"}`), 422, "invalid")
		}
		if strings.Contains(p.said.String(), secret) {
			t.Error("the secret came back")
		}
	}
	if p.cluster.changes() != before {
		t.Error("something was kept")
	}
}

// The same Idempotency-Key with another reason is another request.
func TestIdempotencyCoversTheWholeRequest(t *testing.T) {
	p := open(t)
	r := ok[record.Receipt](p, p.admin("POST", "/v1/revocations", `{"target": "key", "value": "key_revoker"}`), 201)
	path := "/v1/revocations/" + r.ID + "?reason="
	ok[struct{}](p, p.admin("DELETE", path+"mistake", "", "Idempotency-Key", "k"), 200)
	ok[struct{}](p, p.admin("DELETE", path+"mistake", "", "Idempotency-Key", "k"), 200)
	p.problem(p.admin("DELETE", path+"other", "", "Idempotency-Key", "k"), 409, "conflict")
	ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/a", "{}"), 200)
	ok[struct{}](p, p.admin("DELETE", "/v1/consumers/a", "", "Idempotency-Key", "k2"), 200)
	p.problem(p.admin("DELETE", "/v1/issuers/a", "", "Idempotency-Key", "k2"), 409, "conflict")
}
