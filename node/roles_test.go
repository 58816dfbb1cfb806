package node_test

import (
	"testing"

	"veto/client"
	"veto/record"
	"veto/validate"
)

// A change of a role is in force on every node with its revision, for keys that have it; and a
// consumer's key with roles opens nothing of the control plane.
func TestRolesHoldOnEveryNode(t *testing.T) {
	s := tell(t, 3)
	put := func(at int, scopes ...string) record.Revision {
		t.Helper()
		r, err := s.at(at).PutRole(s.ctx, "billing-reader", client.RoleFields{Scopes: scopes})
		if err != nil {
			t.Fatal(err)
		}
		return r.Revision
	}
	put(0, "invoices:read")
	if _, err := s.at(0).PutConsumer(s.ctx, "shop", client.ConsumerFields{}); err != nil {
		t.Fatal(err)
	}
	key, err := s.at(1).CreateKey(s.ctx, client.KeyFields{Consumer: "shop", Scopes: []string{"own"}, Roles: []record.Role{"billing-reader"}})
	if err != nil {
		t.Fatal(err)
	}
	answers := func(r record.Revision, scope string, want validate.Code) {
		t.Helper()
		for i := range 3 {
			if v := s.verdict(i, client.Question{Credential: key.Secret, Scopes: []string{"own", scope}, MinRevision: r}); v.Code != want {
				t.Errorf("node %d, %s at %d: %+v, want %s", i, scope, r, v, want)
			}
		}
	}
	answers(key.Revision, "invoices:read", validate.OK)
	answers(key.Revision, "invoices:write", validate.InsufficientScope)
	changed := put(2, "invoices:*")
	answers(changed, "invoices:write", validate.OK)
	changed = put(1)
	answers(changed, "invoices:read", validate.InsufficientScope)
	withKey := client.New(client.Options{Control: []string{s.cluster.Control(0)}, Token: key.Secret})
	if _, err := withKey.Roles(s.ctx, client.List{}); err == nil {
		t.Error("a consumer's key reads the control plane")
	}
}
