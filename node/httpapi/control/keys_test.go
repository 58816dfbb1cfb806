package control_test

import (
	"slices"
	"strings"
	"testing"

	"veto/record"
)

func TestRolesOfConsumersKeys(t *testing.T) {
	p := open(t)
	got := ok[record.DefinedRole](p, p.admin("PUT", "/v1/roles/billing-reader", `{"name": "Billing", "scopes": ["invoices:read"]}`), 200)
	if got.ID != "billing-reader" || !slices.Equal(got.Scopes, []string{"invoices:read"}) {
		t.Errorf("%+v", got)
	}
	if ok[record.DefinedRole](p, p.as(record.RoleAuditor, "GET", "/v1/roles/billing-reader", ""), 200).Name != "Billing" {
		t.Error("shown otherwise")
	}
	if l := ok[page[record.DefinedRole]](p, p.admin("GET", "/v1/roles?limit=1", ""), 200); len(l.Items) != 1 || l.NextCursor != "" {
		t.Errorf("%+v", l)
	}
	k := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "acme", "roles": ["billing-reader"]}`), 201)
	if strings.HasPrefix(k.Secret, operatorForm.String()) || !slices.Equal(k.Roles, []record.Role{"billing-reader"}) {
		t.Errorf("%s %v", k.Hint, k.Roles)
	}
	p.problem(p.as("", "GET", "/v1/roles", "", "Authorization", "Bearer "+k.Secret), 401, "key_not_found")
	k.APIKey = ok[record.APIKey](p, p.admin("PATCH", "/v1/keys/"+k.ID, `{"roles": []}`), 200)
	if len(k.Roles) != 0 {
		t.Errorf("%v", k.Roles)
	}
	p.problem(p.admin("POST", "/v1/keys", `{"consumer": "acme", "roles": ["admin"]}`), 422, "invalid")
	p.problem(p.admin("POST", "/v1/keys", `{"roles": ["billing-reader"]}`), 422, "unknown_role")
	p.problem(p.admin("PUT", "/v1/roles/admin", `{"scopes": []}`), 422, "invalid")
	p.problem(p.admin("PUT", "/v1/roles/x", `{"scopes": ["a b"]}`), 422, "invalid")
	p.problem(p.admin("PUT", "/v1/roles/x", `{}`), 422, "invalid")
	p.problem(p.as(record.RoleRevoker, "PUT", "/v1/roles/x", `{"scopes": []}`), 403, "forbidden")
	if w := p.admin("DELETE", "/v1/roles/billing-reader", ""); w.Code != 200 {
		t.Error(w.Body)
	}
	p.problem(p.admin("GET", "/v1/roles/billing-reader", ""), 404, "not_found")
}

// A key that is bound reads what it may revoke, and no more.
func TestWhatABoundKeyReads(t *testing.T) {
	p := open(t)
	ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/shop", `{}`), 200)
	bound := func(more string) record.Role {
		t.Helper()
		k := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumers": ["shop"], "targets": ["key", "consumer"], `+more+`}`), 201)
		p.secrets[record.Role(k.ID)] = k.Secret
		return record.Role(k.ID)
	}
	revoker, both := bound(`"roles": ["revoker"]`), bound(`"roles": ["revoker", "auditor"]`)
	ours := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "shop"}`), 201)
	theirs := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "till"}`), 201)
	revoke := func(as record.Role, id string, status int) record.Receipt {
		t.Helper()
		return ok[record.Receipt](p, p.as(as, "POST", "/v1/revocations", `{"target": "key", "value": "`+id+`"}`), status)
	}
	may, not := revoke(revoker, ours.ID, 201), revoke(record.RoleRevoker, theirs.ID, 201)
	revoke(revoker, theirs.ID, 403)
	for path, status := range map[string]int{
		"/v1/revocations/" + may.ID: 200, "/v1/revocations/" + not.ID: 404, "/v1/cluster": 200,
		"/v1/revocations": 403, "/v1/revocations/export": 403, "/v1/events": 403, "/v1/issuers": 403, "/v1/consumers": 403, "/v1/consumers/shop": 403,
		"/v1/keys": 403, "/v1/keys/" + ours.ID: 403, "/v1/roles": 403, "/v1/audit": 403,
	} {
		if w := p.as(revoker, "GET", path, ""); w.Code != status {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, status)
		}
		if w := p.as(both, "GET", path, ""); w.Code != 200 {
			t.Errorf("an auditor, %s: %d %s", path, w.Code, w.Body)
		}
	}
	p.problem(p.as(revoker, "DELETE", "/v1/revocations/"+may.ID+"?reason=x", ""), 403, "forbidden")
	p.problem(p.admin("POST", "/v1/keys", `{"roles": ["admin"], "consumers": ["shop"]}`), 422, "invalid")
	p.problem(p.admin("POST", "/v1/keys", `{"roles": ["revoker"], "targets": ["all"]}`), 422, "invalid")
	lines := `{"target": "key", "value": "` + theirs.ID + `"}` + "\n" + `{"target": "key", "value": "` + ours.ID + `"}` + "\n"
	w := p.as(revoker, "POST", "/v1/revocations/bulk", lines, "Content-Type", "application/x-ndjson")
	if !strings.Contains(w.Body.String(), `"refused":1`) {
		t.Errorf("a stream: %s", w.Body)
	}
}

func TestPepperIsRotatedOnce(t *testing.T) {
	p := open(t)
	s := ok[record.PepperStatus](p, p.as(record.RoleAuditor, "GET", "/v1/pepper", ""), 200)
	if s.State != record.PepperHeld || len(s.Peppers) != 1 || s.Peppers[0].WrappedBy != "a" || len(s.Peppers[0].Wrapped) != 0 || len(s.Keys) != 1 {
		t.Errorf("%+v", s)
	}
	p.problem(p.as(record.RoleAuditor, "POST", "/v1/pepper/rotate", ""), 403, "forbidden")
	before := len(p.cluster.commands)
	for range 2 {
		ok[map[string]any](p, p.admin("POST", "/v1/pepper/rotate", "", "Idempotency-Key", "once"), 200)
	}
	last := p.cluster.commands[len(p.cluster.commands)-1]
	if _, is := last.Body.(record.PutPepper); !is || last.By == "" || last.From.Way != record.WayHTTP || last.Request.Key != "once" {
		t.Errorf("%+v", last)
	}
	if n := len(p.cluster.commands) - before; n != 1 {
		t.Errorf("rotated %d times", n)
	}
}
