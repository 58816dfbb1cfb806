package control_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"veto/record"
)

// Every change of a record carries its condition into the command, and what makes one takes none.
func TestConditionsOfRequests(t *testing.T) {
	p := open(t)
	rules := `{"issuer": "https://a.example", "jwks_uri": "https://a.example/jwks"}`
	ok[record.Issuer](p, p.admin("PUT", "/v1/issuers/a", rules), 200)
	ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/acme", `{}`), 200)
	k := ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "acme"}`), 201)
	rev := ok[record.Receipt](p, p.admin("POST", "/v1/revocations", `{"target": "key", "value": "`+k.ID+`"}`), 201)
	want := record.Condition{When: record.WhenRevision, Revisions: []record.Revision{42, 7}}
	for _, r := range [][3]string{
		{"PUT", "/v1/issuers/a", rules},
		{"PUT", "/v1/consumers/acme", `{}`},
		{"PATCH", "/v1/consumers/acme", `{"disabled": true}`},
		{"PATCH", "/v1/keys/" + k.ID, `{"name": "x"}`},
		{"POST", "/v1/keys/" + k.ID + "/roll", `{"overlap": "0s"}`},
		{"PUT", "/v1/roles/r", `{"scopes": []}`},
		{"DELETE", "/v1/revocations/" + rev.ID + "?reason=x", ""},
		{"DELETE", "/v1/roles/r", ""},
		{"DELETE", "/v1/keys/" + k.ID, ""},
		{"DELETE", "/v1/consumers/acme", ""},
		{"DELETE", "/v1/issuers/a", ""},
	} {
		before := p.cluster.changes()
		p.problem(p.admin(r[0], r[1], r[2], "If-Match", "42"), http.StatusBadRequest, "bad_request")
		p.problem(p.admin(r[0], r[1], r[2], "If-None-Match", `"42"`), http.StatusBadRequest, "bad_request")
		if p.cluster.changes() != before {
			t.Errorf("%s %s: done, though its condition is malformed", r[0], r[1])
		}
		if w := p.admin(r[0], r[1], r[2], "If-Match", `"42", "7"`); w.Code != 200 {
			t.Errorf("%s %s: %d %s", r[0], r[1], w.Code, w.Body)
		} else if r[0] != "DELETE" && w.Header().Get("ETag") != `"`+w.Header().Get("Veto-Revision")+`"` {
			t.Errorf("%s %s: %v", r[0], r[1], w.Header())
		}
		if d := cmp.Diff(want, p.cluster.last().Condition); d != "" {
			t.Errorf("%s %s: %s", r[0], r[1], d)
		}
	}
	ok[record.DefinedRole](p, p.admin("PUT", "/v1/roles/r", `{"scopes": []}`, "If-None-Match", "*"), 200)
	if p.cluster.last().Condition.When != record.WhenAbsent {
		t.Errorf("%+v", p.cluster.last().Condition)
	}
}

// What keeps no condition refuses one, as what keeps some refuses a malformed one: in the same words everywhere.
func TestConditionsThatAreNotKept(t *testing.T) {
	p, _, _, _, session := managed(t)
	before, kept, not := p.cluster.changes(), 0, 0
	for path, methods := range describedBy(p).Paths {
		for method, o := range methods {
			if method == "get" || o.Plane != "" {
				continue
			}
			token := p.secrets[record.RoleAdmin]
			if o.Role == "manager" {
				token = session
			}
			keeps := slices.ContainsFunc(o.Parameters, func(x struct {
				Name string `json:"name"`
			},
			) bool {
				return x.Name == "If-Match"
			})
			target, kind := strings.NewReplacer("{id}", "key_ofacme", "{session}", "x").Replace(path), "application/json"
			if strings.HasSuffix(path, "/bulk") {
				kind = "application/x-ndjson"
			}
			for _, etag := range []string{`42`, `"42"`, "*"} {
				if keeps && etag != "42" {
					continue
				}
				w := p.by(token, strings.ToUpper(method), target, "[]", "If-Match", etag, "Content-Type", kind)
				p.problem(w, http.StatusBadRequest, "bad_request")
			}
			if keeps {
				kept++
			} else {
				not++
			}
		}
	}
	if p.cluster.changes() != before || kept < 10 || not < 10 {
		t.Errorf("%d changes; %d keep conditions, %d do not", p.cluster.changes()-before, kept, not)
	}
}

// The same Idempotency-Key with another condition is another request.
func TestConditionIsPartOfTheRequest(t *testing.T) {
	p := open(t)
	put := func(etag string, status int) {
		t.Helper()
		if w := p.admin("PUT", "/v1/consumers/acme", `{}`, "Idempotency-Key", "k", "If-Match", etag); w.Code != status {
			t.Errorf("%s: %d %s", etag, w.Code, w.Body)
		}
	}
	put(`"1"`, 200)
	put(`"1"`, 200)
	put(`"2"`, 409)
	put(`*`, 409)
}

func TestPreconditionFailed(t *testing.T) {
	p := open(t)
	p.cluster.fail = &record.Rejection{Reason: record.ReasonPrecondition, Detail: "changed", Present: 42}
	w := p.admin("PUT", "/v1/consumers/acme", `{}`, "If-Match", `"41"`)
	p.problem(w, http.StatusPreconditionFailed, "precondition_failed")
	if said := ok[struct {
		ETag string `json:"etag"`
	}](p, w, 412); said.ETag != `"42"` || w.Header().Get("ETag") != `"42"` {
		t.Errorf("%+v %v", said, w.Header())
	}
}
