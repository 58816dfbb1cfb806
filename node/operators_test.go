package node_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"veto/client"
	"veto/record"
	"veto/test/patient"
	"veto/test/token"
	"veto/validate/keyset"
)

// authority signs tokens of people.
type authority struct {
	*testing.T
	key ed25519.PrivateKey
	iss string
}

func newAuthority(t *testing.T, iss string) authority {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return authority{t, key, iss}
}

func (a authority) rules(o *record.Operators) client.Rules {
	a.Helper()
	set, err := keyset.PublicJWKS(map[string]crypto.PublicKey{"k": a.key.Public()})
	if err != nil {
		a.Fatal(err)
	}
	return client.Rules{Issuer: a.iss, JWKS: set, Operators: o}
}

func (a authority) token(subject string, more map[string]any) string {
	a.Helper()
	claims := map[string]any{"iss": a.iss, "sub": subject, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	for name, v := range more {
		claims[name] = v
	}
	return token.Sign(a, a.key, "k", "", claims)
}

// as is a client of one node with another credential.
func (s *story) as(i int, token string) *client.Client {
	return client.New(client.Options{Control: []string{s.cluster.Control(i)}, Token: token, HTTP: patient.Client()})
}

// reach waits until the node has the revision.
func (s *story) reach(i int, r record.Revision) {
	s.Helper()
	s.ask(i, "veto_x", r)
}

// call sends one request to one node, with the Idempotency-Key same, and reads the answer.
func (s *story) call(i int, token, method, path, body string, into any) (status int) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.ctx, method, s.cluster.Control(i)+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "same")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer w.Body.Close()
	if err := json.NewDecoder(w.Body).Decode(into); err != nil {
		s.Fatal(err)
	}
	return w.StatusCode
}

// A map of operators is in force on every node with its revision, and no more so when it is changed;
// what such operators do is in the audit trail by issuer and subject.
func TestOperatorsByJWTOnEveryNode(t *testing.T) {
	s, a := tell(t, 3), newAuthority(t, "https://corp.example")
	operators := func(role record.Role) record.Revision {
		t.Helper()
		i, err := s.at(0).PutIssuer(s.ctx, "corp", a.rules(&record.Operators{Audience: "veto", Claim: "groups", Roles: map[string][]record.Role{"ops": {role}}}))
		if err != nil {
			t.Fatal(err)
		}
		return i.Revision
	}
	ann := a.token("ann", map[string]any{"aud": "veto", "groups": []string{"ops"}})
	bob := a.token("bob", map[string]any{"aud": "veto", "groups": []string{"ops"}})
	made := operators(record.RoleAdmin)
	for i := range 3 {
		s.reach(i, made)
		if _, err := s.as(i, ann).PutConsumer(s.ctx, "shop", client.ConsumerFields{}); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	trail, err := s.at(2).Audit(s.ctx, client.List{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, e := range trail.Items {
		if e.Action == "put_consumer" && e.From.Person == (record.Person{Issuer: "corp", Subject: "ann"}) && e.By == e.From.Person.ID() {
			found++
		}
	}
	if found != 3 {
		t.Errorf("%d entries of ann's: %+v", found, trail.Items)
	}
	// One Idempotency-Key of two people is two requests.
	receipts := map[string]bool{}
	for name, token := range map[string]string{"ann": ann, "bob": bob} {
		var r record.Receipt
		if status := s.call(1, token, "POST", "/v1/revocations", fmt.Sprintf(`{"target": "subject", "issuer": %q, "value": "x-%s"}`, a.iss, name), &r); status != http.StatusCreated {
			t.Errorf("%s: %d", name, status)
		}
		receipts[r.ID] = true
	}
	if len(receipts) != 2 {
		t.Error("one's request is taken for the other's")
	}
	changed := operators(record.RoleAuditor)
	for i := range 3 {
		s.reach(i, changed)
		if _, err := s.as(i, ann).PutConsumer(s.ctx, "shop", client.ConsumerFields{}); err == nil {
			t.Errorf("node %d lets a former admin change something", i)
		}
		if _, err := s.as(i, ann).Audit(s.ctx, client.List{}); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	gone := s.revoke(2, client.RevokeRequest{Target: "subject", Issuer: a.iss, Value: "ann"})
	for i := range 3 {
		s.reach(i, gone.Revision)
		if _, err := s.as(i, ann).Audit(s.ctx, client.List{}); err == nil {
			t.Errorf("node %d lets in who is revoked", i)
		}
	}
}
