package node_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"veto/client"
	"veto/record"
	"veto/record/trail"
)

// answered is what a node says over HTTP.
type answered struct {
	status int
	etag   string
	body   map[string]any
}

func (s *story) http(i int, method, path, body string, headers ...string) answered {
	s.Helper()
	r, err := http.NewRequestWithContext(s.ctx, method, s.cluster.Control(i)+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.cluster.AdminToken())
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for n := 0; n < len(headers); n += 2 {
		r.Header.Add(headers[n], headers[n+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Error(err)
		return answered{}
	}
	defer response.Body.Close()
	a := answered{status: response.StatusCode, etag: response.Header.Get("ETag")}
	text, err := io.ReadAll(response.Body)
	if err != nil || len(text) > 0 && json.Unmarshal(text, &a.body) != nil {
		s.Errorf("%s %s: %s %v", method, path, text, err)
	}
	return a
}

// Values that are wrong in a way of their own say so on every node, and leave nothing behind.
func TestRefusedInAWayOfItsOwn(t *testing.T) {
	s := tell(t, 3)
	s.http(0, "PUT", "/v1/consumers/shop", `{}`)
	key := s.http(0, "POST", "/v1/keys", `{"consumer": "shop", "expires_at": "2999-01-01T00:00:00Z"}`)
	path := "/v1/keys/" + fmt.Sprint(key.body["id"])
	imported := `{"consumer": "shop", "sha256": "` + strings.Repeat("0f", 32) + `"}`
	if a := s.http(0, "POST", "/v1/keys", imported); a.status != 201 {
		t.Fatalf("%+v", a)
	}
	changes := func() int { return strings.Count(s.trail(0, trail.Filter{By: "first admin"}), "\n") }
	before := changes()
	large := strings.Repeat("a", 16<<10)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/v1/keys", `{"consumer": "shop", "expires_at": "2020-01-01T00:00:00Z"}`, 422, "expiry_in_past"},
		{"PATCH", path, `{"name": "n", "expires_at": "2020-01-01T00:00:00Z"}`, 422, "expiry_in_past"},
		{"POST", "/v1/keys", `{"consumer": "shop", "metadata": {"a": "` + large + `"}}`, 422, "metadata_too_large"},
		{"PATCH", path, `{"name": "n", "metadata": {"a": "` + large + `"}}`, 422, "metadata_too_large"},
		{"PATCH", "/v1/consumers/shop", `{"name": "n", "metadata": {"a": "` + large + `"}}`, 422, "metadata_too_large"},
		{"POST", "/v1/keys", `{"consumer": "shop", "roles": ["nobody"]}`, 422, "unknown_role"},
		{"POST", "/v1/keys", `{"roles": ["nobody"]}`, 422, "unknown_role"},
		{"PATCH", path, `{"name": "n", "roles": ["nobody"]}`, 422, "unknown_role"},
		{"POST", "/v1/keys", imported, 409, "duplicate_key"},
		{"GET", "/v1/keys?cursor=key_1", "", 400, "bad_cursor"},
	} {
		for i := range 3 {
			if a := s.http(i, c.method, c.path, c.body); a.status != c.status || a.body["code"] != c.code {
				t.Errorf("node %d, %s %.80s: %+v, want %d %s", i, c.path, c.body, a, c.status, c.code)
			}
		}
	}
	if now := changes(); now != before || before < 4 {
		t.Errorf("a refused request changed something: %d lines are in the trail, %d before", now, before)
	}
	if got := s.http(0, "GET", path, ""); got.body["name"] != nil || got.etag != key.etag {
		t.Errorf("%+v", got)
	}
}

// The expiry of a key is taken away as the API says, on every node.
func TestExpiryIsTakenAway(t *testing.T) {
	s := tell(t, 1)
	s.http(0, "PUT", "/v1/consumers/shop", `{}`)
	key := s.http(0, "POST", "/v1/keys", `{"consumer": "shop", "expires_at": "2999-01-01T00:00:00Z"}`)
	path := "/v1/keys/" + fmt.Sprint(key.body["id"])
	if a := s.http(0, "PATCH", path, `{"expires_at": "0001-01-01T00:00:00Z"}`); a.status != 200 || a.body["expires_at"] != nil {
		t.Errorf("%+v", a)
	}
	if a := s.http(0, "GET", path, ""); a.status != 200 || a.body["expires_at"] != nil || a.etag == key.etag {
		t.Errorf("%+v", a)
	}
}

// Of writers that change at once, on different nodes, what the same ETag showed them, one wins; the
// others are told the ETag that it made.
func TestConcurrentWriters(t *testing.T) {
	s := tell(t, 3)
	put := func(i int, path, body string) answered {
		t.Helper()
		a := s.http(i, "PUT", path, body)
		if a.status != 200 || a.etag == "" {
			t.Fatalf("%s: %+v", path, a)
		}
		return a
	}
	rules := `{"issuer": "https://issuer.example", "jwks_uri": "https://issuer.example/jwks"}`
	put(0, "/v1/consumers/shop", `{}`)
	key := s.http(0, "POST", "/v1/keys", `{"consumer": "shop"}`)
	id, _ := key.body["id"].(string)
	paths := map[string][3]string{
		"/v1/consumers/shop": {"PUT", `{"name": "NAME"}`, put(0, "/v1/consumers/shop", `{}`).etag},
		"/v1/roles/reader":   {"PUT", `{"name": "NAME", "scopes": []}`, put(1, "/v1/roles/reader", `{"scopes": []}`).etag},
		"/v1/issuers/one":    {"PUT", strings.Replace(rules, "{", `{"audiences": ["NAME"], `, 1), put(2, "/v1/issuers/one", rules).etag},
		"/v1/keys/" + id:     {"PATCH", `{"name": "NAME"}`, key.etag},
	}
	for path, c := range paths {
		if got := s.http(0, "GET", path, "", "Veto-Min-Revision", strings.Trim(c[2], `"`)); got.etag != c[2] {
			t.Errorf("%s shows %s, and its change answered %s", path, got.etag, c[2])
		}
		const writers = 6
		all := make([]answered, writers)
		var wg sync.WaitGroup
		for n := range writers {
			wg.Go(func() {
				all[n] = s.http(n%3, c[0], path, strings.ReplaceAll(c[1], "NAME", string(rune('a'+n))), "If-Match", c[2])
			})
		}
		wg.Wait()
		won := -1
		for n, a := range all {
			if a.status == 200 && won < 0 {
				won = n
			} else if a.status != 412 || a.body["code"] != "precondition_failed" {
				t.Errorf("%s: %+v, and node %d has won", path, a, won)
			}
		}
		if won < 0 {
			t.Fatalf("%s: nobody won", path)
		}
		for n, a := range all {
			if n != won && (a.etag != all[won].etag || a.body["etag"] != a.etag) {
				t.Errorf("%s: %+v, and the one that won made %s", path, a, all[won].etag)
			}
		}
		got := s.http(won%3, "GET", path, "")
		text, _ := json.Marshal(got.body)
		if got.etag != all[won].etag || !strings.Contains(string(text), `"`+string(rune('a'+won))+`"`) {
			t.Errorf("%s is %s, which %d did not write", path, text, won)
		}
	}
}

// What the client's condition says holds for every change, and what was done is answered so again.
func TestChangesOnCondition(t *testing.T) {
	s := tell(t, 1)
	failed := func(err error, now record.Revision) {
		t.Helper()
		var e *client.Error
		if !errors.As(err, &e) || e.Code != client.CodePrecondition || now != 0 && !strings.Contains(e.ETag, fmt.Sprint(now)) {
			t.Errorf("%v, want that it is at %d", err, now)
		}
	}
	c := s.at(0)
	shop, err := c.IfRevision(0).PutConsumer(s.ctx, "shop", client.ConsumerFields{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.IfRevision(0).PutConsumer(s.ctx, "shop", client.ConsumerFields{})
	failed(err, shop.Revision)
	_, err = c.IfRevision(shop.Revision).PutConsumer(s.ctx, "new", client.ConsumerFields{})
	failed(err, 0)
	k, err := c.CreateKey(s.ctx, client.KeyFields{Consumer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.IfRevision(k.Revision-1).RollKey(s.ctx, k.ID, 0, false)
	failed(err, k.Revision)
	rolled, err := c.IfRevision(k.Revision).RollKey(s.ctx, k.ID, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.IfRevision(k.Revision).DeleteKey(s.ctx, k.ID)
	failed(err, rolled.Revision)
	receipt := s.revoke(0, client.RevokeRequest{Target: "key", Value: k.ID})
	_, err = c.IfRevision(receipt.Revision-1).Lift(s.ctx, receipt.ID, "x")
	failed(err, receipt.Revision)
	if got := s.http(0, "GET", "/v1/revocations/"+receipt.ID, ""); got.etag != `"`+fmt.Sprint(receipt.Revision)+`"` {
		t.Errorf("%+v", got)
	}
	if _, err = c.IfRevision(receipt.Revision).Lift(s.ctx, receipt.ID, "x"); err != nil {
		t.Error(err)
	}
	if a := s.http(0, "DELETE", "/v1/keys/key_none", "", "If-Match", "*"); a.status != 404 {
		t.Errorf("%+v", a)
	}
	etag := `"` + fmt.Sprint(shop.Revision) + `"`
	first := s.http(0, "PATCH", "/v1/consumers/shop", `{"name": "a"}`, "If-Match", etag, "Idempotency-Key", "again")
	again := s.http(0, "PATCH", "/v1/consumers/shop", `{"name": "a"}`, "If-Match", etag, "Idempotency-Key", "again")
	if first.status != 200 || again.status != 200 || first.etag != again.etag {
		t.Errorf("%+v, then %+v", first, again)
	}
	weak := s.http(0, "PATCH", "/v1/consumers/shop", `{"name": "b"}`, "If-Match", "W/"+first.etag)
	if weak.status != 412 || weak.etag != first.etag {
		t.Errorf("%+v", weak)
	}
}
