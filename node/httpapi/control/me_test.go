package control_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/node/httpapi/control"
	"veto/record"
)

type shownSession struct {
	record.PortalSession
	Secret string `json:"secret"`
}

// managed is a plane with two consumers, each with a key, and a manager of each and one of both.
func managed(t *testing.T) (p *plane, alice, bob, both, session string) {
	t.Helper()
	p, s := open(t), newSigner(t)
	p.trust("corp", s, groups)
	for id, manager := range map[string]string{"acme": "alice", "other": "bob"} {
		ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/"+id, fmt.Sprintf(
			`{"name": "N", "metadata": {"plan": "gold"}, "managers": [{"issuer": "corp", "subject": %q}, {"issuer": "corp", "subject": "both"}]}`, manager)), 200)
		p.cluster.keys["key_of"+id] = record.APIKey{ID: "key_of" + id, Consumer: id, Hash: record.KeyHash{byte(len(id))}, Metadata: []byte(`{"a":1}`)}
	}
	session = ok[shownSession](p, p.admin("POST", "/v1/consumers/acme/portal-sessions", `{}`), 201).Secret
	return p, s.token(t, map[string]any{"sub": "alice"}), s.token(t, map[string]any{"sub": "bob"}), s.token(t, map[string]any{"sub": "both"}), session
}

// L12: what managers reach is their consumer's, by each operation; of others they see what they see of
// what is not there.
func TestManagersReachTheirOwn(t *testing.T) {
	p, alice, bob, _, session := managed(t)
	for name, c := range map[string]struct {
		token string
		sees  bool
	}{"alice": {alice, true}, "a portal session": {session, true}, "bob": {bob, false}} {
		before := p.cluster.changes()
		for _, o := range []struct{ method, path, body string }{
			{"GET", "/v1/me", ""},
			{"GET", "/v1/me/keys", ""},
			{"POST", "/v1/me/keys", `{"name": "CI"}`},
			{"POST", "/v1/me/keys/key_ofacme/roll", `{"overlap": "1h"}`},
			{"POST", "/v1/me/keys/key_ofacme/revoke", `{"reason": "leaked"}`},
		} {
			path := o.path + "?consumer=acme"
			w := p.by(c.token, o.method, path, o.body)
			if c.sees != (w.Code < 300) || !c.sees && w.Code != 404 {
				t.Errorf("%s: %s %s: %d %s", name, o.method, path, w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "metadata") {
				t.Errorf("%s: %s shows metadata: %s", name, path, w.Body)
			}
			gone := p.by(c.token, o.method, o.path+"?consumer=nobody", o.body)
			p.problem(gone, 404, "not_found")
			if !c.sees && withoutID(gone.Body.String()) != withoutID(w.Body.String()) {
				t.Errorf("%s is told apart: %s and %s", path, w.Body, gone.Body)
			}
			if strings.Contains(o.path, "key_ofacme") {
				theirs := p.by(c.token, o.method, strings.Replace(o.path, "key_ofacme", "key_ofother", 1)+"?consumer=acme", o.body)
				none := p.by(c.token, o.method, strings.Replace(o.path, "key_ofacme", "key_nobody", 1)+"?consumer=acme", o.body)
				p.problem(theirs, 404, "not_found")
				if strings.Replace(withoutID(theirs.Body.String()), "key_ofother", "key_nobody", 1) != withoutID(none.Body.String()) {
					t.Errorf("another's key is told apart: %s and %s", theirs.Body, none.Body)
				}
			}
		}
		if (p.cluster.changes() > before) != c.sees {
			t.Errorf("%s: %d changes", name, p.cluster.changes()-before)
		}
	}
	if all := ok[page[record.APIKey]](p, p.by(alice, "GET", "/v1/me/keys", ""), 200); len(all.Items) != 3 {
		t.Errorf("%+v", all.Items)
	}
}

func withoutID(body string) string {
	before, _, _ := strings.Cut(body, `"request_id"`)
	return before
}

// L12: managers and sessions open /v1/me and nothing else, and operators do not open that.
func TestManagersReachNothingElse(t *testing.T) {
	p, alice, _, _, session := managed(t)
	checked := 0
	for path, methods := range describedBy(p).Paths {
		for method, o := range methods {
			if o.Role == "" {
				continue
			}
			target := strings.NewReplacer("{id}", "key_ofacme", "{session}", "x").Replace(path)
			for _, token := range []string{alice, session} {
				w := p.by(token, strings.ToUpper(method), target, "{}")
				if refused := w.Code == 401 || w.Code == 403; refused != (o.Role != "manager") {
					t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
				}
				checked++
			}
			if o.Role == "manager" {
				p.problem(p.admin(strings.ToUpper(method), target, "{}"), 401, "unauthorized")
			}
		}
	}
	if checked < 70 {
		t.Errorf("%d checked", checked)
	}
}

func TestWhoManages(t *testing.T) {
	p, alice, _, both, session := managed(t)
	several := p.by(both, "GET", "/v1/me", "")
	p.problem(several, 422, "invalid")
	if !strings.Contains(several.Body.String(), "acme, other") {
		t.Errorf("%s", several.Body)
	}
	got := ok[map[string]any](p, p.by(both, "GET", "/v1/me?consumer=other", ""), 200)
	if got["consumer"] != "other" || got["max_keys"] != 100.0 || got["expires_at"] != "2026-11-23T13:00:00Z" {
		t.Errorf("%v", got)
	}
	k := ok[shownKey](p, p.by(alice, "POST", "/v1/me/keys", `{"name": "CI"}`, "Idempotency-Key", "once"), 201)
	if c := p.cluster.last(); k.Secret == "" || c.By != (record.Person{Issuer: "corp", Subject: "alice"}).ID() || c.From.Person.Subject != "alice" || c.Body.(record.ManageKey).Create.Key.Consumer != "acme" {
		t.Errorf("%+v", c)
	}
	if again := ok[shownKey](p, p.by(alice, "POST", "/v1/me/keys", `{"name": "CI"}`, "Idempotency-Key", "once"), 200); again.ID != k.ID || again.Secret != "" {
		t.Errorf("%+v", again)
	}
	ok[shownKey](p, p.by(session, "POST", "/v1/me/keys", `{}`), 201)
	if c := p.cluster.last(); !record.IsSessionID(c.By) || c.From.Person != (record.Person{}) {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{`{"consumer": "other"}`, `{"metadata": {}}`, `{"limits": {}}`, `{"sha256": "` + strings.Repeat("0f", 32) + `"}`, `{"scopes": ["a b"]}`, `{"roles": ["admin"]}`} {
		p.problem(p.by(alice, "POST", "/v1/me/keys", bad), 422, "invalid")
	}
	ok[record.Consumer](p, p.admin("PUT", "/v1/consumers/acme", `{"disabled": true}`), 200)
	p.problem(p.by(session, "GET", "/v1/me", ""), 403, "forbidden")
	p.problem(p.by(alice, "GET", "/v1/me", ""), 403, "forbidden") // who manages nothing any more
	p.cluster.ready = false
	p.problem(p.by(session, "GET", "/v1/me", ""), 503, "not_ready")
	p.problem(p.by(both, "GET", "/v1/me", ""), 503, "not_ready")
}

// L12: who was just let in, and hands on the revision of that, is not taken for a stranger.
func TestMinRevisionBeforeWhoAsks(t *testing.T) {
	p, _, _, _, session := managed(t)
	p.config.Waiting = httpapi.NewWaiting(p.cluster, httpapi.Wait{Limit: time.Millisecond, Most: 1})
	p.handler = control.New(p.config)
	at := strconv.Itoa(int(p.cluster.revision))
	ok[map[string]any](p, p.by(session, "GET", "/v1/me", "", httpapi.MinRevisionHeader, at), 200)
	for _, token := range []string{session, "veto_nobodys"} {
		w := p.by(token, "GET", "/v1/me", "", httpapi.MinRevisionHeader, at+"0")
		if p.problem(w, 503, "behind_min_revision"); w.Header().Get("Retry-After") == "" {
			t.Errorf("%v", w.Header())
		}
	}
	p.problem(p.by(session, "GET", "/v1/me", "", httpapi.MinRevisionHeader, "-1"), 400, "bad_request")
	before := p.cluster.changes()
	p.problem(p.admin("PUT", "/v1/consumers/new", "{}", httpapi.MinRevisionHeader, at+"0"), 503, "behind_min_revision")
	if p.cluster.changes() != before {
		t.Error("it was done all the same")
	}
}

// L9: a place in the one consumer's list is none in the other's.
func TestCursorIsOfOneConsumer(t *testing.T) {
	p, _, _, both, session := managed(t)
	for range 2 {
		ok[shownKey](p, p.by(session, "POST", "/v1/me/keys", `{}`), 201)
	}
	first := ok[page[record.APIKey]](p, p.by(both, "GET", "/v1/me/keys?consumer=acme&limit=1", ""), 200)
	path := "/v1/me/keys?limit=1&cursor=" + first.NextCursor
	ok[page[record.APIKey]](p, p.by(session, "GET", path, ""), 200)
	p.problem(p.by(both, "GET", path+"&consumer=other", ""), 400, "bad_cursor")
}

func TestPortalSessions(t *testing.T) {
	p, _, _, _, _ := managed(t)
	w := p.admin("POST", "/v1/consumers/acme/portal-sessions", `{"lifetime": "90m"}`, "Idempotency-Key", "once")
	s := ok[shownSession](p, w, 201)
	if !strings.HasPrefix(s.Secret, "veto_portal_") || !s.ExpiresAt.Equal(now().Add(90*time.Minute)) || s.Consumer != "acme" {
		t.Errorf("%s", w.Body)
	}
	if again := ok[shownSession](p, p.admin("POST", "/v1/consumers/acme/portal-sessions", `{"lifetime": "90m"}`, "Idempotency-Key", "once"), 200); again.ID != s.ID || again.Secret != "" {
		t.Errorf("%+v", again)
	}
	p.problem(p.admin("POST", "/v1/consumers/acme/portal-sessions", `{"lifetime": "1h"}`, "Idempotency-Key", "once"), 409, "conflict")
	p.problem(p.by(s.Secret, "GET", "/v1/me?consumer=other", ""), 404, "not_found")
	p.problem(p.by(s.Secret[:len(s.Secret)-1], "GET", "/v1/me", ""), 401, "unauthorized")
	p.problem(p.by(s.ID, "GET", "/v1/me", ""), 401, "unauthorized")
	p.problem(p.admin("DELETE", "/v1/consumers/acme/portal-sessions/"+s.Secret, ""), 422, "invalid")
	ok[struct{}](p, p.admin("DELETE", "/v1/consumers/acme/portal-sessions/"+s.ID, ""), 200)
	p.problem(p.by(s.Secret, "GET", "/v1/me", ""), 401, "unauthorized")
	late := ok[shownSession](p, p.admin("POST", "/v1/consumers/acme/portal-sessions", `{}`), 201)
	ended := p.cluster.sessions[late.ID]
	ended.ExpiresAt = now()
	p.cluster.sessions[late.ID] = ended
	p.problem(p.by(late.Secret, "GET", "/v1/me", ""), 401, "unauthorized")
	if said := p.said.String() + p.log.String(); strings.Count(said, s.Secret) != 1 {
		t.Error("the secret was shown more than once")
	}
}
