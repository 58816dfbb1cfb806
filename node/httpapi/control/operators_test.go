package control_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"veto/record"
)

const forVeto = "https://veto.example"

// trust trusts the signer's issuer, with the operators; with none if they are empty.
func (p *plane) trust(id string, s signer, operators string) {
	p.Helper()
	if operators == "" {
		operators = "null"
	}
	ok[record.Issuer](p, p.admin("PUT", "/v1/issuers/"+id, fmt.Sprintf(`{"issuer": %q, "jwks": %s, "operators": %s}`, s.iss, s.jwks(p.T), operators)), 200)
}

func (p *plane) by(token, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	p.Helper()
	return p.as("", method, path, body, append(headers, "Authorization", "Bearer "+token)...)
}

const groups = `{"audience": "` + forVeto + `", "claim": "groups", "roles": {"veto-admins": ["admin"], "veto-readers": ["auditor", "validator"]}}`

// L11: what a JWT must have to be an operator's, and of which roles it then is.
func TestOperatorsByJWT(t *testing.T) {
	p, s, other := open(t), newSigner(t), newSigner(t)
	other.iss = "https://other.example"
	p.trust("corp", s, groups)
	p.trust("other", other, "")
	claims := func(change ...any) map[string]any {
		c := map[string]any{"aud": []string{forVeto}, "groups": []string{"staff", "veto-admins"}}
		for i := 0; i < len(change); i += 2 {
			c[change[i].(string)] = change[i+1]
		}
		return c
	}
	good := s.token(t, claims())
	body, err := json.Marshal(claims("iss", s.iss, "sub", "someone", "iat", now().Unix(), "exp", now().Add(time.Hour).Unix()))
	if err != nil {
		t.Fatal(err)
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k1"}`)) + "." + base64.RawURLEncoding.EncodeToString(body) + "."
	forged := other
	forged.iss = s.iss
	for name, c := range map[string]struct {
		token       string
		read, write int
		code        string
	}{
		"an admin":                        {good, 200, 200, ""},
		"a value as a text":               {s.token(t, claims("groups", "veto-admins")), 200, 200, ""},
		"a reader":                        {s.token(t, claims("groups", []string{"veto-readers"})), 200, 403, "forbidden"},
		"nothing mapped":                  {s.token(t, claims("groups", []string{"staff"})), 403, 403, "forbidden"},
		"another case":                    {s.token(t, claims("groups", []string{"Veto-Admins"})), 403, 403, "forbidden"},
		"words of one text":               {s.token(t, claims("groups", "staff veto-admins")), 403, 403, "forbidden"},
		"no such claim":                   {s.token(t, claims("groups", nil)), 403, 403, "forbidden"},
		"an object":                       {s.token(t, claims("groups", map[string]any{"veto-admins": true})), 403, 403, "forbidden"},
		"a list with more than texts":     {s.token(t, claims("groups", []any{"veto-admins", 5})), 403, 403, "forbidden"},
		"the claim in another":            {s.token(t, claims("groups", nil, "x", map[string]any{"groups": []string{"veto-admins"}})), 403, 403, "forbidden"},
		"for another API":                 {s.token(t, claims("aud", "https://api.example")), 401, 401, "wrong_audience"},
		"for nobody":                      {s.token(t, claims("aud", nil)), 401, 401, "malformed"},
		"of an issuer without operators":  {other.token(t, claims()), 401, 401, "key_not_found"},
		"signed by another":               {forged.token(t, claims()), 401, 401, "bad_signature"},
		"signed by nobody":                {none, 401, 401, "unsupported_alg"},
		"expired":                         {s.token(t, claims("iat", now().Add(-time.Hour).Unix(), "exp", now().Add(-time.Minute).Unix())), 401, 401, "expired"},
		"too long-lived":                  {s.token(t, claims("exp", now().Add(48*time.Hour).Unix())), 401, 401, "too_long_lived"},
		"of nobody":                       {s.token(t, claims("sub", "")), 401, 401, "missing_claim"},
		"of a subject that is too long":   {s.token(t, claims("sub", strings.Repeat("x", 256))), 401, 401, "missing_claim"},
		"of an issuer that nobody trusts": {s.token(t, claims("iss", "https://third.example")), 401, 401, "unknown_issuer"},
		"cut":                             {good[:len(good)-1], 401, 401, "malformed"},
		"two":                             {good + " " + good, 401, 401, "malformed"},
	} {
		for method, want := range map[string]int{"GET": c.read, "PUT": c.write} {
			path, body := "/v1/cluster", ""
			if method == "PUT" {
				path, body = "/v1/consumers/acme", "{}"
			}
			if w := p.by(c.token, method, path, body); w.Code != want {
				t.Errorf("%s: %s %d %s, want %d", name, method, w.Code, w.Body, want)
			} else if want > 200 {
				p.problem(w, want, c.code)
			}
		}
	}
	if said := p.said.String() + p.log.String(); strings.Contains(said, good) {
		t.Error("a token was repeated")
	}
}

// L11: what is taken back is over at once: from the person, from the map, from the issuer.
func TestOperatorsByJWTAreNoMore(t *testing.T) {
	p, s := open(t), newSigner(t)
	p.trust("corp", s, groups)
	good := s.token(t, map[string]any{"aud": forVeto, "groups": "veto-admins"})
	ok[struct{}](p, p.by(good, "GET", "/v1/cluster", ""), 200)
	ok[record.Receipt](p, p.admin("POST", "/v1/revocations", fmt.Sprintf(`{"target": "subject", "issuer": %q, "value": "someone"}`, s.iss)), 201)
	p.problem(p.by(good, "GET", "/v1/cluster", ""), 401, "revoked")
	ann := s.token(t, map[string]any{"aud": forVeto, "groups": "veto-admins", "sub": "ann"})
	ok[struct{}](p, p.by(ann, "GET", "/v1/cluster", ""), 200)
	p.trust("corp", s, strings.Replace(groups, `"admin"`, `"auditor"`, 1))
	ok[struct{}](p, p.by(ann, "GET", "/v1/cluster", ""), 200)
	p.problem(p.by(ann, "PUT", "/v1/consumers/acme", "{}"), 403, "forbidden")
	p.trust("corp", s, "")
	p.problem(p.by(ann, "GET", "/v1/cluster", ""), 401, "key_not_found")
}

// A node that cannot be sure of a JWT lets nobody in by it, not even to revoke.
func TestOperatorsByJWTOfAnUnreadyNode(t *testing.T) {
	p, s := open(t), newSigner(t)
	p.trust("corp", s, groups)
	token := s.token(t, map[string]any{"aud": forVeto, "groups": "veto-admins"})
	p.cluster.ready = false
	p.problem(p.by(token, "POST", "/v1/revocations", `{"target": "key", "value": "key_revoker"}`), 503, "not_ready")
}

// Who asked is in the command; and an Idempotency-Key is one's own.
func TestOperatorsByJWTAreToldApart(t *testing.T) {
	p, s := open(t), newSigner(t)
	p.trust("corp", s, groups)
	seen := map[string]bool{}
	for _, sub := range []string{"ann", "bob", "corp\x00ann"} {
		token := s.token(t, map[string]any{"aud": forVeto, "groups": "veto-admins", "sub": sub})
		ok[record.Consumer](p, p.by(token, "PUT", "/v1/consumers/acme", "{}"), 200)
		c := p.cluster.last()
		if c.From.Person != (record.Person{Issuer: "corp", Subject: sub}) || !strings.HasPrefix(c.By, "jwt_") || len(c.By) > 63 || seen[c.By] {
			t.Errorf("by %q, from %+v", c.By, c.From)
		}
		seen[c.By] = true
		ok[record.Receipt](p, p.by(token, "POST", "/v1/revocations", `{"target": "key", "value": "key_revoker"}`), 201)
		if c := p.cluster.last(); !seen[c.By] {
			t.Errorf("revoked by %q", c.By)
		}
	}
	ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/acme", "{}"), 200)
	if c := p.cluster.last(); c.By != "key_admin" || c.From.Person != (record.Person{}) {
		t.Errorf("an API key: %+v", c)
	}
}

func TestBadOperators(t *testing.T) {
	p, s := open(t), newSigner(t)
	before := p.cluster.changes()
	for _, operators := range []string{
		`{}`, `{"audience": "", "claim": "groups", "roles": {"a": ["admin"]}}`, `{"audience": "a", "claim": "", "roles": {"a": ["admin"]}}`,
		`{"audience": "a", "claim": "c", "roles": {}}`, `{"audience": "a", "claim": "c", "roles": {"": ["admin"]}}`,
		`{"audience": "a", "claim": "c", "roles": {"v": []}}`, `{"audience": "a", "claim": "c", "roles": {"v": ["root"]}}`,
		`{"audience": "a", "claim": "c", "roles": {"v": ["admin"]}, "disabled": true}`,
	} {
		p.problem(p.admin("PUT", "/v1/issuers/corp", fmt.Sprintf(`{"issuer": %q, "jwks": %s, "operators": %s}`, s.iss, s.jwks(t), operators)), 422, "invalid")
	}
	if p.cluster.changes() != before {
		t.Error("a refused request changed something")
	}
}
