package control_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi/control"
	"veto/node/httpapi/leaks"
	"veto/record"
)

// L10: a report is taken of who signed it or of a revoker, and of nobody else; what it holds stays inside.
func TestReportsOfLeaks(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, func(c *control.Config) { c.Signers = leaks.Signers{"k1": &key.PublicKey} })
	k := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "acme"}`), 201)
	signed := func(body string) []string {
		sum := sha256.Sum256([]byte(body))
		der, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return []string{leaks.IdentifierHeader, "k1", leaks.SignatureHeader, base64.StdEncoding.EncodeToString(der)}
	}
	const path = "/v1/keys/leaked"
	p.said.Reset()
	before := p.cluster.changes()
	body := fmt.Sprintf(`[{"token": %q, "type": "t", "url": "https://example.com/%s"}]`, k.Secret, k.Secret)
	p.problem(p.as("", "POST", path, body), 401, "unauthorized")
	p.problem(p.as(record.RoleAuditor, "POST", path, body), 403, "forbidden")
	p.problem(p.as("", "POST", path, body+" ", signed(body)...), 401, "bad_signature")
	p.problem(p.as("", "POST", path, body, leaks.IdentifierHeader, "k1"), 401, "bad_signature")
	p.problem(p.admin("POST", path, body, leaks.SignatureHeader, "MEQ="), 401, "bad_signature")
	p.problem(p.as(record.RoleRevoker, "POST", path, `[{"token": "`+k.Secret+`"`), 422, "invalid")
	p.problem(p.as(record.RoleRevoker, "POST", path, `[{"token": "x", "type": "`+k.Secret+`"}]`), 422, "invalid")
	p.problem(p.as(record.RoleRevoker, "POST", path, strings.Repeat(" ", leaks.MaxBody+1)), 413, "too_large")
	p.cluster.ready = false
	p.problem(p.as("", "POST", path, body, signed(body)...), 503, "not_ready")
	p.cluster.ready = true
	if p.cluster.changes() != before {
		t.Error("a report that was refused changed something")
	}
	if l := ok[[]leaks.Label](p, p.as("", "POST", path, body, signed(body)...), 200); len(l) != 1 || l[0].Label != "true_positive" {
		t.Errorf("%+v", l)
	}
	c := p.cluster.last()
	r := c.Body.(record.Revoke).Revocations[0]
	if c.By != record.LeakGitHub || r.Value != k.ID || r.Reason != "leaked: reported by github" {
		t.Errorf("%+v", c)
	}
	if p.cluster.changes() != before+1 {
		t.Error("not revoked once")
	}
	if strings.Contains(p.said.String(), k.Secret) || strings.Contains(p.log.String(), k.Secret) {
		t.Error("the secret came back, or was logged")
	}
}

// What a bound key may not revoke is to it as nobody's; and an old secret whose time is over harms no key.
func TestReportsOfLeaksAreBound(t *testing.T) {
	p := open(t)
	bound := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"roles": ["revoker"], "consumers": ["shop"]}`), 201)
	p.secrets[record.Role(bound.ID)] = bound.Secret
	ours := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "shop"}`), 201)
	theirs := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "till"}`), 201)
	before := p.cluster.changes()
	report := func(as record.Role, secret string) string {
		t.Helper()
		return ok[[]leaks.Label](p, p.as(as, "POST", "/v1/keys/leaked", fmt.Sprintf(`[{"token": %q, "type": "t"}]`, secret)), 200)[0].Label
	}
	if l := report(record.Role(bound.ID), theirs.Secret); l != "false_positive" || p.cluster.changes() != before {
		t.Errorf("%s, %d changes", l, p.cluster.changes()-before)
	}
	if l := report(record.Role(bound.ID), ours.Secret); l != "true_positive" || p.cluster.changes() != before+1 {
		t.Errorf("%s, %d changes", l, p.cluster.changes()-before)
	}
	k := p.cluster.keys[theirs.ID]
	k.Rotating = &record.Rotating{Hash: k.Hash, Until: now().Add(-time.Second)}
	p.cluster.keys[theirs.ID] = k
	if l := report(record.RoleRevoker, theirs.Secret); l != "true_positive" || p.cluster.changes() != before+1 {
		t.Errorf("an old secret: %s, %d changes", l, p.cluster.changes()-before)
	}
}

// Where keys are to be marked, one command marks all that were found, each once.
func TestReportsOfLeaksMark(t *testing.T) {
	p := open(t, func(c *control.Config) { c.MarkLeaks = true })
	one := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "shop"}`), 201)
	two := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "shop"}`), 201)
	before := p.cluster.changes()
	body := fmt.Sprintf(`[{"token": %q, "type": "t"}, {"token": %q, "type": "t"}, {"token": %q, "type": "t"}]`, one.Secret, two.Secret, one.Secret)
	ok[[]leaks.Label](p, p.as(record.RoleRevoker, "POST", "/v1/keys/leaked", body), 200)
	if b, is := p.cluster.last().Body.(record.MarkLeaked); !is || len(b.Keys) != 2 || b.Keys[0].ID != one.ID || b.Keys[1].ID != two.ID || p.cluster.changes() != before+1 {
		t.Errorf("%+v", p.cluster.last())
	}
	ok[[]leaks.Label](p, p.as(record.RoleRevoker, "POST", "/v1/keys/leaked", `[{"token": "x", "type": "t"}]`), 200)
	if p.cluster.changes() != before+1 {
		t.Error("what is nobody's changed something")
	}
}
