package control_test

import (
	"net/http"
	"net/http/httptest"
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

// A change that is sent again, with its Idempotency-Key, tells that it was done before, and of what there is now:
// the record and the ETag that it has, or that it is gone.
func TestReplaysAreHonest(t *testing.T) {
	p := open(t)
	ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/shop", `{}`), 200)
	key := "/v1/keys/" + ok[shownKey](p, p.admin("POST", "/v1/keys", `{"consumer": "shop"}`), 201).ID
	rules := `{"issuer": "https://a.example", "jwks_uri": "https://a.example/jwks"}`
	for _, r := range []struct{ method, path, body, change string }{
		{"PUT", "/v1/consumers/acme", `{"name": "first"}`, `PUT {"name": "second"}`},
		{"PATCH", "/v1/consumers/acme", `{"name": "third"}`, `PUT {"name": "second"}`},
		{"PUT", "/v1/roles/r", `{"scopes": []}`, `PUT {"scopes": ["a"]}`},
		{"PUT", "/v1/issuers/a", rules, `PUT ` + rules},
		{"PATCH", key, `{"name": "first"}`, `PATCH {"name": "second"}`},
	} {
		send := func() *httptest.ResponseRecorder {
			return p.admin(r.method, r.path, r.body, "Idempotency-Key", r.method+r.path)
		}
		first := send()
		if first.Code != 200 || first.Header().Get("Idempotency-Replayed") != "" || first.Header().Get("ETag") != `"`+first.Header().Get("Veto-Revision")+`"` {
			t.Errorf("%s %s: %d %v", r.method, r.path, first.Code, first.Header())
		}
		method, body, _ := strings.Cut(r.change, " ")
		changed := p.admin(method, r.path, body)
		again, now := send(), p.admin("GET", r.path, "")
		if h := again.Header(); again.Code != 200 || h.Get("Idempotency-Replayed") != "true" || h.Get("ETag") != changed.Header().Get("ETag") || h.Get("Veto-Revision") != first.Header().Get("Veto-Revision") {
			t.Errorf("%s %s, again: %d %v", r.method, r.path, again.Code, h)
		}
		if again.Body.String() != now.Body.String() || again.Header().Get("ETag") != now.Header().Get("ETag") {
			t.Errorf("%s %s tells of %s, and there is %s", r.method, r.path, again.Body, now.Body)
		}
	}
	for _, path := range []string{"/v1/consumers/acme", "/v1/roles/r", "/v1/issuers/a", key} {
		for _, replay := range []string{"", "true"} {
			if w := p.admin("DELETE", path, "", "Idempotency-Key", "gone"+path); w.Code != 200 || w.Header().Get("Idempotency-Replayed") != replay {
				t.Errorf("%s: %d %v", path, w.Code, w.Header())
			}
		}
	}
	p.problem(p.admin("PUT", "/v1/consumers/acme", `{"name": "first"}`, "Idempotency-Key", "PUT/v1/consumers/acme"), 404, "not_found")
	p.problem(p.admin("PATCH", "/v1/consumers/acme", `{"name": "third"}`, "Idempotency-Key", "PATCH/v1/consumers/acme"), 404, "not_found")
	p.problem(p.admin("PUT", "/v1/roles/r", `{"scopes": []}`, "Idempotency-Key", "PUT/v1/roles/r"), 404, "not_found")
	p.problem(p.admin("PUT", "/v1/issuers/a", rules, "Idempotency-Key", "PUT/v1/issuers/a"), 404, "not_found")
	p.problem(p.admin("PATCH", key, `{"name": "first"}`, "Idempotency-Key", "PATCH"+key), 404, "not_found")
}
