package control_test

import (
	"net/url"
	"strings"
	"testing"

	"veto/record"
)

// L9: no list takes what another, or the same with another filter, gave.
func TestCursorsOfLists(t *testing.T) {
	p := open(t)
	for _, id := range []string{"a", "b", "c"} {
		ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/"+id, `{"name": "N"}`), 200)
		ok[record.DefinedRole](p, p.admin("PUT", "/v1/roles/"+id, `{"scopes": []}`), 200)
		ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "a", "name": "N"}`), 201)
	}
	type any = page[struct{}]
	lists := []string{"/v1/consumers?", "/v1/consumers?q=n&", "/v1/consumers?disabled=false&", "/v1/keys?", "/v1/keys?consumer=a&", "/v1/keys?q=n&", "/v1/keys?state=active&", "/v1/roles?", "/v1/audit?"}
	for _, from := range lists {
		cursor := ok[any](p, p.admin("GET", from+"limit=1", ""), 200).NextCursor
		if cursor == "" {
			t.Errorf("%s has one page", from)
		}
		for _, to := range append(lists, "/v1/revocations?") {
			w := p.admin("GET", to+"cursor="+cursor, "")
			if to == from {
				ok[any](p, w, 200)
				continue
			}
			p.problem(w, 400, "bad_cursor")
		}
	}
	for _, bad := range []string{"a", "key_1", "1.0", strings.Repeat("A", 5000)} {
		p.problem(p.admin("GET", "/v1/keys?cursor="+url.QueryEscape(bad), ""), 400, "bad_cursor")
	}
}

// Values that are wrong in a way of their own say so, and leave nothing behind.
func TestProblemsOfTheirOwn(t *testing.T) {
	p := open(t)
	k := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "acme"}`), 201)
	sum := strings.Repeat("0f", 32)
	ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "acme", "sha256": "`+sum+`"}`), 201)
	large := `{"consumer": "acme", "scopes": ["a"], "metadata": {"a": "` + strings.Repeat("a", 16<<10) + `"}}`
	before := p.cluster.changes()
	p.problem(p.admin("POST", "/v1/keys", large), 422, "metadata_too_large")
	p.problem(p.admin("PUT", "/v1/consumers/acme", strings.Replace(large, `"consumer": "acme", "scopes": ["a"], `, "", 1)), 422, "metadata_too_large")
	p.problem(p.admin("POST", "/v1/keys", `{"roles": ["superuser"]}`), 422, "unknown_role")
	p.problem(p.admin("POST", "/v1/keys", `{"consumer": "acme", "sha256": "`+sum+`"}`), 409, "duplicate_key")
	for reason, status := range map[record.Reason]int{record.ReasonExpiryInPast: 422, record.ReasonUnknownRole: 422, record.ReasonMetadataTooLarge: 422} {
		p.cluster.fail = &record.Rejection{Reason: reason, Detail: "x"}
		p.problem(p.admin("PATCH", "/v1/keys/"+k.ID, `{"name": "x"}`), status, string(reason))
	}
	if p.cluster.changes() != before {
		t.Error("a refused request changed something")
	}
}
