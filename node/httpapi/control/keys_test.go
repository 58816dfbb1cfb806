package control_test

import (
	"slices"
	"strings"
	"testing"

	"veto/record"
	"veto/validate/apikey"
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
	if strings.HasPrefix(k.Secret, apikey.OperatorPrefix) || !slices.Equal(k.Roles, []record.Role{"billing-reader"}) {
		t.Errorf("%s %v", k.Hint, k.Roles)
	}
	p.problem(p.as("", "GET", "/v1/roles", "", "Authorization", "Bearer "+k.Secret), 401, "key_not_found")
	k.APIKey = ok[record.APIKey](p, p.admin("PATCH", "/v1/keys/"+k.ID, `{"roles": []}`), 200)
	if len(k.Roles) != 0 {
		t.Errorf("%v", k.Roles)
	}
	p.problem(p.admin("POST", "/v1/keys", `{"consumer": "acme", "roles": ["admin"]}`), 422, "invalid")
	p.problem(p.admin("POST", "/v1/keys", `{"roles": ["billing-reader"]}`), 422, "invalid")
	p.problem(p.admin("PUT", "/v1/roles/admin", `{"scopes": []}`), 422, "invalid")
	p.problem(p.admin("PUT", "/v1/roles/x", `{"scopes": ["a b"]}`), 422, "invalid")
	p.problem(p.admin("PUT", "/v1/roles/x", `{}`), 422, "invalid")
	p.problem(p.as(record.RoleRevoker, "PUT", "/v1/roles/x", `{"scopes": []}`), 403, "forbidden")
	if w := p.admin("DELETE", "/v1/roles/billing-reader", ""); w.Code != 200 {
		t.Error(w.Body)
	}
	p.problem(p.admin("GET", "/v1/roles/billing-reader", ""), 404, "not_found")
}
