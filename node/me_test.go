package node_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"veto/client"
	"veto/record"
	"veto/validate"
)

// A consumer's managers are known on every node with the revision that made them so; what they do holds
// on every node; and it is all there after the nodes were stopped.
func TestManagersOnEveryNode(t *testing.T) {
	s, a := tell(t, 3), newAuthority(t, "https://corp.example")
	must := func(r record.Revision, err error) record.Revision {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	issuer, err := s.at(0).PutIssuer(s.ctx, "corp", a.rules(nil))
	must(issuer.Revision, err)
	shop, err := s.at(0).PutConsumer(s.ctx, "shop", client.ConsumerFields{
		Managers: []record.Person{{Issuer: "corp", Subject: "ann"}}, Grantable: &record.Grantable{Scopes: []string{"orders:*"}},
	})
	must(shop.Revision, err)
	session, err := s.at(0).OpenPortalSession(s.ctx, "shop", time.Hour)
	made := must(session.Revision, err)
	ann := a.token("ann", nil)
	for i := range 3 {
		s.reach(i, made)
		for name, token := range map[string]string{"a JWT": ann, "a session": session.Secret} {
			if me, err := s.as(i, token).Me(s.ctx, ""); err != nil || me.Consumer != "shop" {
				t.Errorf("node %d, by %s: %+v %v", i, name, me, err)
			}
			if _, err := s.as(i, token).Cluster(s.ctx); err == nil {
				t.Errorf("node %d lets %s in as an operator's", i, name)
			}
		}
	}
	key, err := s.as(1, ann).CreateMyKey(s.ctx, "", client.MyKeyFields{Name: "CI", Scopes: []string{"orders:read"}})
	must(key.Revision, err)
	if _, err := s.as(2, session.Secret).CreateMyKey(s.ctx, "", client.MyKeyFields{Scopes: []string{"users:read"}}); err == nil {
		t.Error("a manager gives what it may not")
	}
	answers := func(secret string, r record.Revision, want validate.Code) {
		t.Helper()
		for i := range 3 {
			if v := s.ask(i, secret, r); v.Code != want {
				t.Errorf("node %d: %+v, want %s", i, v, want)
			}
		}
	}
	answers(key.Secret, key.Revision, validate.OK)
	s.reach(2, key.Revision)
	rolled, err := s.as(2, session.Secret).RollMyKey(s.ctx, "shop", key.ID, 0, false)
	must(rolled.Revision, err)
	answers(rolled.Secret, rolled.Revision, validate.OK)
	answers(key.Secret, rolled.Revision, validate.KeyNotFound)
	receipt, err := s.as(0, ann).RevokeMyKey(s.ctx, "", key.ID, "leaked", true, 5*time.Second)
	must(receipt.Revision, err)
	if len(receipt.EnforcedOn) != 3 {
		t.Errorf("%+v", receipt)
	}
	answers(rolled.Secret, receipt.Revision, validate.Revoked)

	s.stopAll()
	s.restartAll()
	for i := range 3 {
		for _, token := range []string{ann, session.Secret} {
			keys, err := s.as(i, token).MyKeys(s.ctx, "", client.List{})
			if err != nil || len(keys.Items) != 1 || keys.Items[0].ID != key.ID {
				t.Errorf("node %d: %+v %v", i, keys, err)
			}
		}
	}
	s.managersEnd(ann, session, key.ID)
}

// A lifetime of nothing is not that which is meant when none is given.
func TestSessionWithoutALifetime(t *testing.T) {
	s := tell(t, 1)
	if _, err := s.at(0).PutConsumer(s.ctx, "shop", client.ConsumerFields{}); err != nil {
		t.Fatal(err)
	}
	for body, status := range map[string]int{`{"lifetime": "0s"}`: 422, `{"lifetime": "59s"}`: 422, `{}`: 201} {
		if a := s.http(0, "POST", "/v1/consumers/shop/portal-sessions", body); a.status != status {
			t.Errorf("%s: %+v", body, a)
		}
	}
}

func (s *story) stopAll() {
	s.Helper()
	for i := range s.nodes {
		if err := s.cluster.StopNode(i); err != nil {
			s.Fatal(err)
		}
	}
}

// managersEnd ends a session and a manager, and looks that no node knows them any more.
func (s *story) managersEnd(ann string, session client.NewSession, keyID string) {
	s.Helper()
	ended, err := s.at(1).EndPortalSession(s.ctx, "shop", session.ID)
	if err != nil {
		s.Fatal(err)
	}
	another, err := s.at(1).OpenPortalSession(s.ctx, "shop", 0)
	if err != nil {
		s.Fatal(err)
	}
	for i := range 3 {
		s.reach(i, ended.Revision)
		if _, err := s.as(i, session.Secret).Me(s.ctx, ""); err == nil {
			s.Errorf("node %d lets a session in that was ended", i)
		}
	}
	disabled := true
	off, err := s.at(2).UpdateConsumer(s.ctx, "shop", client.ConsumerChange{Disabled: &disabled, Managers: &[]record.Person{}})
	if err != nil {
		s.Fatal(err)
	}
	for i := range 3 {
		s.reach(i, off.Revision)
		for _, token := range []string{ann, another.Secret} {
			var problem struct{ Code string }
			if status := s.call(i, token, "POST", "/v1/me/keys/"+keyID+"/roll", `{"overlap": "0s"}`, &problem); status != http.StatusUnauthorized && status != http.StatusForbidden {
				s.Errorf("node %d: %d %+v", i, status, problem)
			}
		}
	}
	trail, err := s.at(2).Audit(s.ctx, client.List{Limit: 1000})
	if err != nil {
		s.Fatal(err)
	}
	var said []string
	for _, e := range trail.Items {
		if e.From.Person.Subject == "ann" || e.By == session.ID {
			said = append(said, e.Action+" "+strings.Join(e.Kinds, "+")+" "+e.From.Person.Subject)
		}
	}
	if got := strings.Join(said, ", "); got != "manage_key key ann, manage_key key , deliver revocation ann" && got != "manage_key key ann, manage_key key , revoke revocation ann" {
		s.Errorf("the audit trail says: %s", got)
	}
}
