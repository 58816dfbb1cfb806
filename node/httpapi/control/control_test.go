package control_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"veto/node/httpapi"
	"veto/node/httpapi/control"
	"veto/record"
	"veto/record/trail"
	"veto/validate"
	"veto/validate/apikey"
	"veto/validate/jwt"
	"veto/validate/keyset"
)

func now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

var operatorForm = apikey.Form{Prefix: apikey.Prefix, Environment: record.OperatorEnvironment}

// plane is a control plane over a state in memory.
type plane struct {
	*testing.T
	handler http.Handler
	cluster *cluster
	log     bytes.Buffer
	secrets map[record.Role]string
	refresh error
	checks  []httpapi.Check
	said    strings.Builder // everything that was answered
	ids     int
	closing chan struct{}
	config  control.Config
	api     *described // once it was read
}

func open(t *testing.T, change ...func(*control.Config)) *plane {
	t.Helper()
	p := &plane{T: t, cluster: newCluster(), secrets: map[record.Role]string{}, checks: []httpapi.Check{{Name: "caught_up", OK: true}}, closing: make(chan struct{})}
	close(p.closing) // a stream ends with what there is
	for _, role := range record.Roles() {
		secret, hash, hint, err := apikey.Generate(rand.Reader, operatorForm)
		if err != nil {
			t.Fatal(err)
		}
		id := "key_" + string(role)
		p.secrets[role], p.cluster.keys[id] = secret, record.APIKey{ID: id, Hash: hash, Hint: hint, Roles: []record.Role{role}}
	}
	c := p.cluster
	config := control.Config{
		Proposer: c, Records: c, Cluster: c, Peppers: peppers{c}, Events: c, Closing: p.closing,
		Validator: validate.New(c, validate.Policy{MaxStaleness: time.Minute}, jwt.New(c.trust, nil, func(string) {}), apikey.New(c), nil),
		ParseJWKS: keyset.ParseGiven,
		Backup: func(_ context.Context, w io.Writer) error {
			if c.backup == nil {
				return record.Conflict("another one")
			}
			return c.backup(w)
		},
		Refresh: func(context.Context, record.Issuer) error { return p.refresh },
		NewKey: func(environment string) (string, record.KeyHash, string, error) {
			return apikey.Generate(rand.Reader, apikey.Form{Prefix: apikey.Prefix, Environment: environment})
		},
		FindKey: func(secret string) (*record.APIKey, bool, bool) {
			return c.APIKey(apikey.Hash(secret), nil)
		},
		NewID:   func(prefix string) string { p.ids++; return fmt.Sprintf("%s%02d", prefix, p.ids) },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "veto_ready 1\n") }),
		Ready:   func() []httpapi.Check { return p.checks }, Now: now, NodeID: "n1", Version: "test",
		Log: slog.New(slog.NewTextHandler(&p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&config)
	}
	p.config = config
	p.handler = control.New(config)
	return p
}

// as sends a request with the key of a role; with none if it is empty.
func (p *plane) as(role record.Role, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	p.Helper()
	r := httptest.NewRequestWithContext(p.Context(), method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if role != "" {
		r.Header.Set("Authorization", "Bearer "+p.secrets[role])
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	fmt.Fprintf(&p.said, "%v %s\n", w.Header(), w.Body)
	p.isDescribed(method, r.URL.Path, w)
	return w
}

func (p *plane) admin(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	p.Helper()
	return p.as(record.RoleAdmin, method, path, body, headers...)
}

// ok checks the status and reads the answer.
func ok[T any](p *plane, w *httptest.ResponseRecorder, status int) T {
	p.Helper()
	var out T
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != status {
		p.Fatalf("%d %s (%v), want %d", w.Code, w.Body, err, status)
	}
	return out
}

// problem checks that the answer is a whole problem document.
func (p *plane) problem(w *httptest.ResponseRecorder, status int, code string) httpapi.Problem {
	p.Helper()
	got := ok[httpapi.Problem](p, w, status)
	if got.Status != status || got.Code != code || got.Detail == "" || got.Type == "" || w.Header().Get("Content-Type") != httpapi.ContentType {
		p.Errorf("%s %s, want %d %s", w.Header().Get("Content-Type"), w.Body, status, code)
	}
	if got.RequestID == "" || got.RequestID != w.Header().Get(httpapi.RequestIDHeader) {
		p.Errorf("the problem does not name its request: %s", w.Body)
	}
	return got
}

type page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor"`
}

func TestIssuers(t *testing.T) {
	p, s := open(t), newSigner(t)
	rules := fmt.Sprintf(`{"issuer": %q, "jwks": %s, "max_lifetime": "2h", "max_staleness": "5s", "audiences": ["api"]}`, s.iss, s.jwks(t))
	w := p.admin("PUT", "/v1/issuers/demo", rules)
	got := ok[record.Issuer](p, w, 200)
	if got.ID != "demo" || time.Duration(got.MaxLifetime) != 2*time.Hour || len(got.Algorithms) == 0 || w.Header().Get("Veto-Revision") != "11" {
		t.Errorf("put: %s, revision %q", w.Body, w.Header().Get("Veto-Revision"))
	}
	if by := p.cluster.last().By; by != "key_admin" {
		t.Errorf("the change is by %q", by)
	}
	if keys := ok[page[record.SigningKey]](p, p.admin("GET", "/v1/issuers/demo/keys", ""), 200); len(keys.Items) != 1 || keys.Items[0].KID != "k1" {
		t.Errorf("keys: %+v", keys)
	}
	if all := ok[page[record.Issuer]](p, p.admin("GET", "/v1/issuers", ""), 200); len(all.Items) != 1 {
		t.Errorf("list: %+v", all)
	}
	if one := ok[record.Issuer](p, p.admin("GET", "/v1/issuers/demo", ""), 200); time.Duration(one.MaxStaleness) != 5*time.Second {
		t.Errorf("max_staleness: %s", one.MaxStaleness)
	}
	ok[page[record.SigningKey]](p, p.admin("POST", "/v1/issuers/demo/refresh", ""), 200)
	p.refresh = errors.New("issuer.example answers 500")
	p.problem(p.admin("POST", "/v1/issuers/demo/refresh", ""), 502, "issuer_unreachable")
	if gone := ok[struct{ Revision int }](p, p.admin("DELETE", "/v1/issuers/demo", ""), 200); gone.Revision != 12 {
		t.Errorf("delete: %+v", gone)
	}
	p.problem(p.admin("GET", "/v1/issuers/demo", ""), 404, "not_found")
	p.problem(p.admin("GET", "/v1/issuers/demo/keys", ""), 404, "not_found")
	big := fmt.Sprintf(`{"issuer": "i", "jwks": {"keys": [], "x": %q}}`, strings.Repeat("x", 100<<10))
	p.problem(p.admin("PUT", "/v1/issuers/demo", big), 422, "invalid") // over 64 KiB, and read
	p.problem(p.admin("PUT", "/v1/issuers/demo", big+strings.Repeat(" ", 512<<10)), 413, "too_large")
}

// A revocation that the log does not have yet is answered as what it is.
func TestPendingReceipt(t *testing.T) {
	p := open(t)
	p.cluster.leaderless = true
	got := ok[record.Receipt](p, p.admin("POST", "/v1/revocations?timeout=10ms", `{"target": "subject", "issuer": "i", "value": "alice", "and": [{"target": "client", "value": "app"}]}`), 202)
	want := record.Receipt{
		ID: digestKey.Digest(record.Name{
			Target: record.TargetSubject, Issuer: "i", Value: "alice", And: []record.Part{{Target: record.TargetClient, Value: "app"}},
		}).RevocationID(),
		State: record.StatePending, DurableOn: []string{"n1"}, EnforcedOn: got.EnforcedOn, PendingOn: got.PendingOn,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	now := ok[map[string]any](p, p.admin("GET", "/v1/revocations/"+got.ID, ""), 200)
	if now["state"] != "pending" || fmt.Sprint(now["durable_on"]) != "[n1]" {
		t.Errorf("%v", now)
	}
	p.problem(p.admin("DELETE", "/v1/revocations/"+got.ID+"?reason=mistake", ""), 409, "conflict")
}

func TestConsumersAndPages(t *testing.T) {
	p := open(t)
	for _, id := range []string{"a", "b", "c"} {
		ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/"+id, `{"name": "N", "metadata": {"plan": "free"}}`), 200)
	}
	first := ok[page[record.Consumer]](p, p.admin("GET", "/v1/consumers?limit=2", ""), 200)
	second := ok[page[record.Consumer]](p, p.admin("GET", "/v1/consumers?limit=2&cursor="+first.NextCursor, ""), 200)
	if len(first.Items) != 2 || first.NextCursor == "" || len(second.Items) != 1 || second.NextCursor != "" || second.Items[0].ID != "c" {
		t.Errorf("pages: %+v %+v", first, second)
	}
	if v := ok[record.Consumer](p, p.admin("PATCH", "/v1/consumers/b", `{"disabled": true}`), 200); !v.Disabled || v.Name != "N" {
		t.Errorf("%+v", v)
	}
	for query, want := range map[string]int{"": 3, "disabled=true": 1, "disabled=false": 2, "q=B": 1, "q=n": 3, "tag=x": 0, "tag=x&tag=y": 0} {
		if all := ok[page[record.Consumer]](p, p.admin("GET", "/v1/consumers?"+query, ""), 200); len(all.Items) != want {
			t.Errorf("%s: %d found", query, len(all.Items))
		}
	}
	p.problem(p.admin("PATCH", "/v1/consumers/nobody", `{"disabled": true}`), 404, "not_found")
	ok[struct{}](p, p.admin("DELETE", "/v1/consumers/b", ""), 200)
	p.problem(p.admin("DELETE", "/v1/consumers/b", ""), 404, "not_found")
	audit := ok[page[trail.Entry]](p, p.admin("GET", "/v1/audit?limit=3&cursor="+httpapi.Cursor(p.cluster, "audit", "1.0"), ""), 200)
	if len(audit.Items) != 3 || audit.Items[0].Revision != 2 || audit.NextCursor != httpapi.Cursor(p.cluster, "audit", "4.0") {
		t.Errorf("audit: %+v", audit)
	}
	p.problem(p.admin("GET", "/v1/audit?cursor=x", ""), 400, "bad_cursor")
	if empty := p.admin("GET", "/v1/revocations", ""); !strings.Contains(empty.Body.String(), `"items":[]`) {
		t.Errorf("an empty list: %s", empty.Body)
	}
}

type shownKey struct {
	record.APIKey
	Secret string `json:"secret"`
}

func TestSecretIsShownOnce(t *testing.T) {
	p := open(t)
	w := p.admin("POST", "/v1/keys", `{"consumer": "acme", "name": "CI", "scopes": ["read"]}`, "Idempotency-Key", "once")
	k := ok[shownKey](p, w, 201)
	if !strings.HasPrefix(k.Secret, "veto_") || k.ID == "" || w.Header().Get("Idempotency-Replayed") != "" {
		t.Fatalf("create: %s", w.Body)
	}
	if stored, _, _ := p.cluster.Key(k.ID); stored.Hash != apikey.Hash(k.Secret) {
		t.Error("what is stored is not the hash of what was shown")
	}
	again := p.admin("POST", "/v1/keys", `{"consumer": "acme", "name": "CI", "scopes": ["read"]}`, "Idempotency-Key", "once")
	if same := ok[shownKey](p, again, 200); same.ID != k.ID || same.Secret != "" || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s %v", again.Body, again.Header())
	}
	p.problem(p.admin("POST", "/v1/keys", `{"consumer": "acme"}`, "Idempotency-Key", "once"), 409, "conflict")
	p.admin("GET", "/v1/keys", "")
	p.admin("GET", "/v1/keys?consumer=acme", "")
	p.admin("GET", "/v1/keys/"+k.ID, "")
	if off := ok[record.APIKey](p, p.admin("PATCH", "/v1/keys/"+k.ID, `{"disabled": true}`), 200); !off.Disabled {
		t.Error("the key is not disabled")
	}
	ok[struct{}](p, p.admin("DELETE", "/v1/keys/"+k.ID, ""), 200)
	p.problem(p.admin("POST", "/v1/keys", `{"consumer": "acme", "name": "CI", "scopes": ["read"]}`, "Idempotency-Key", "once"), 404, "not_found")
	p.problem(p.admin("PATCH", "/v1/keys/"+k.ID, `{"disabled": true}`), 404, "not_found")
	if n := strings.Count(p.said.String(), k.Secret); n != 1 {
		t.Errorf("the secret was shown %d times", n)
	}
	if operator := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"roles": ["revoker"]}`), 201); !strings.HasPrefix(operator.Secret, operatorForm.String()) {
		t.Errorf("an operator's key begins with %.8s", operator.Secret)
	}
	if twice := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"roles": ["revoker", "auditor", "revoker"]}`), 201); !slices.Equal(twice.Roles, []record.Role{record.RoleRevoker, record.RoleAuditor}) {
		t.Errorf("a role that is given twice is kept as %q", twice.Roles)
	}
}

func TestRoll(t *testing.T) {
	p := open(t)
	k := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"roles": ["revoker"]}`), 201)
	path := "/v1/keys/" + k.ID + "/roll"
	w := p.admin("POST", path, `{"overlap": "24h"}`, "Idempotency-Key", "roll")
	rolled := ok[shownKey](p, w, 200)
	if rolled.ID != k.ID || rolled.Secret == k.Secret || !strings.HasPrefix(rolled.Secret, operatorForm.String()) || w.Header().Get("Veto-Revision") == "" {
		t.Fatalf("%s", w.Body)
	}
	if r := rolled.Rotating; r == nil || r.Hint != k.Hint || !r.Until.Equal(now().Add(24*time.Hour)) || strings.Contains(w.Body.String(), "Hash") {
		t.Errorf("%s", w.Body)
	}
	again := p.admin("POST", path, `{"overlap": "24h"}`, "Idempotency-Key", "roll")
	if same := ok[shownKey](p, again, 200); same.Secret != "" || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s", again.Body)
	}
	p.problem(p.admin("POST", path, `{"overlap": "1h"}`, "Idempotency-Key", "roll"), 409, "conflict")
	p.problem(p.admin("POST", path, `{}`), 422, "invalid")
	p.problem(p.admin("POST", path, `{"overlap": "a day"}`), 422, "invalid")
	p.problem(p.as(record.RoleRevoker, "POST", path, `{"overlap": "24h"}`), 403, "forbidden")
	p.problem(p.admin("POST", "/v1/keys/key_0/roll", `{"overlap": "24h"}`), 404, "not_found")
	if now := ok[shownKey](p, p.admin("POST", path, `{"overlap": "0s", "force": true}`), 200); now.Rotating != nil || !p.cluster.last().Body.(record.RollKey).Force {
		t.Errorf("%+v", now)
	}
	if n := strings.Count(p.said.String(), rolled.Secret); n != 1 {
		t.Errorf("the secret was shown %d times", n)
	}
	ok[record.APIKey](p, p.admin("PATCH", "/v1/keys/"+k.ID, `{"disabled": true}`), 200)
	p.problem(p.admin("POST", path, `{"overlap": "24h"}`), 409, "key_disabled")
}

func TestKeyOfAnEnvironment(t *testing.T) {
	p := open(t)
	k := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "acme", "environment": "live"}`), 201)
	stored, _, _ := p.cluster.Key(k.ID)
	if !strings.HasPrefix(k.Secret, "veto_live_") || !strings.HasPrefix(k.Hint, "veto_live_…") || k.Environment != "live" || stored.Environment != "live" {
		t.Errorf("%+v, stored %+v", k, stored)
	}
}

func TestKeyIsImported(t *testing.T) {
	p := open(t)
	const secret = "another system's secret"
	hash := apikey.Hash(secret)
	body := func(hint string) string {
		return fmt.Sprintf(`{"consumer": "acme", "sha256": "%X", "hint": %q}`, hash[:], hint)
	}
	p.problem(p.admin("POST", "/v1/keys", body(secret)), 422, "invalid")
	w := p.admin("POST", "/v1/keys", body("ano…ret"), "Idempotency-Key", "once")
	k := ok[shownKey](p, w, 201)
	stored, _, _ := p.cluster.Key(k.ID)
	if k.Secret != "" || !k.Imported || k.Hint != "ano…ret" || stored.Hash != hash || !stored.Imported || w.Header().Get("Idempotency-Replayed") != "" {
		t.Errorf("%s, stored %+v", w.Body, stored)
	}
	again := p.admin("POST", "/v1/keys", body("ano…ret"), "Idempotency-Key", "once")
	if same := ok[shownKey](p, again, 200); same.ID != k.ID || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s", again.Body)
	}
	p.problem(p.admin("POST", "/v1/keys", body("other")), 409, "duplicate_key")
	if said := p.said.String() + p.log.String(); strings.Contains(said, secret) || strings.Contains(strings.ToLower(said), fmt.Sprintf("%x", hash)) {
		t.Error("the secret or its hash was shown")
	}
}

func TestIdempotencyKeyIsBoundedInBytes(t *testing.T) {
	p := open(t)
	p.problem(p.admin("DELETE", "/v1/keys/key_revoker", "", "Idempotency-Key", strings.Repeat("é", 255)), 422, "invalid")
	ok[struct{}](p, p.admin("DELETE", "/v1/keys/key_revoker", "", "Idempotency-Key", strings.Repeat("x", 255)), 200)
}

func TestRevokeByName(t *testing.T) {
	p := open(t)
	w := p.as(record.RoleRevoker, "POST", "/v1/revocations?wait=enforced&timeout=9s",
		`{"target": "subject", "issuer": "https://issuer.example", "value": "someone", "reason": "left", "not_before": "2026-11-01T00:00:00Z"}`)
	r := ok[record.Receipt](p, w, 201)
	if r.State != "committed" || r.Revision != 11 || w.Header().Get("Veto-Revision") != "11" ||
		strings.Join(r.EnforcedOn, ",") != "n1,at 11,all true" || strings.Join(r.PendingOn, ",") != "within 9s" {
		t.Errorf("receipt: %s", w.Body)
	}
	made := p.cluster.last().Body.(record.Revoke).Revocations[0]
	if made.Target != record.TargetSubject || made.Value != "someone" || made.Reason != "left" || made.NotBefore.Day() != 1 || !made.Expiry.IsZero() {
		t.Errorf("revoked: %+v", made)
	}
	got := p.as(record.RoleAuditor, "GET", "/v1/revocations/"+r.ID, "")
	if !strings.Contains(got.Body.String(), r.ID) || !strings.Contains(got.Body.String(), `"target":"subject"`) {
		t.Errorf("get: %s", got.Body)
	}
	p.problem(p.as(record.RoleRevoker, "DELETE", "/v1/revocations/"+r.ID+"?reason=mistake", ""), 403, "forbidden")
	p.problem(p.admin("DELETE", "/v1/revocations/"+r.ID, ""), 422, "invalid")
	ok[struct{}](p, p.admin("DELETE", "/v1/revocations/"+r.ID+"?reason=mistake", ""), 200)
	p.problem(p.admin("GET", "/v1/revocations/"+r.ID, ""), 404, "not_found")
}

func TestRevokeByToken(t *testing.T) {
	p, s := open(t), newSigner(t)
	ok[record.Issuer](p, p.admin("PUT", "/v1/issuers/demo", fmt.Sprintf(`{"issuer": %q, "jwks": %s}`, s.iss, s.jwks(t))), 200)
	revoke := func(token string) *httptest.ResponseRecorder {
		return p.as(record.RoleRevoker, "POST", "/v1/revocations", fmt.Sprintf(`{"token": %q, "reason": "leaked"}`, token))
	}
	ok[record.Receipt](p, revoke(s.token(t, map[string]any{"jti": "j1"})), 201)
	r := p.cluster.last().Body.(record.Revoke).Revocations[0]
	if !cmp.Equal(r.Name, record.Name{Target: record.TargetJTI, Issuer: s.iss, Value: "j1"}) || !r.Expiry.Equal(now().Add(time.Hour)) {
		t.Errorf("with a jti: %+v", r)
	}
	ok[record.Receipt](p, revoke(s.token(t, nil)), 201)
	r = p.cluster.last().Body.(record.Revoke).Revocations[0]
	if r.Target != record.TargetToken || len(r.Value) != 43 || !r.Expiry.Equal(now().Add(time.Hour)) {
		t.Errorf("without a jti: %+v", r)
	}
	before := p.cluster.changes()
	p.problem(revoke(s.token(t, map[string]any{"iat": now().Add(-2 * time.Hour).Unix(), "exp": now().Add(-time.Hour).Unix()})), 422, "expired")
	other := newSigner(t)
	p.problem(revoke(other.token(t, map[string]any{"jti": "j1"})), 422, "bad_signature")
	p.problem(revoke("not.a.token"), 422, "malformed")
	p.problem(revoke(p.secrets[record.RoleAdmin]), 422, "malformed")
	both := fmt.Sprintf(`{"token": %q, "target": "jti", "value": "x", "issuer": "y"}`, s.token(t, nil))
	p.problem(p.admin("POST", "/v1/revocations", both), 422, "invalid")
	if p.cluster.changes() != before {
		t.Error("a refused token changed something")
	}
}
