package machine_test

import (
	"strings"
	"testing"
	"time"

	"veto/record"
)

var alice = record.Person{Issuer: "corp", Subject: "alice"}

// managed has a consumer with a manager, and one without.
func managed(t *testing.T) (state, *record.Revision) {
	t.Helper()
	s, rev := founded(t)
	for _, b := range []record.Body{
		record.PutConsumer{Consumer: record.Consumer{ID: "shop", Managers: []record.Person{alice}, Grantable: &record.Grantable{Scopes: []string{"orders:*"}}, MaxKeys: 3}},
		record.PutConsumer{Consumer: record.Consumer{ID: "other", Grantable: &record.Grantable{Scopes: []string{"*"}}}},
		record.CreateKey{Key: record.APIKey{ID: "key_w", Consumer: "shop", Hash: record.KeyHash{10}, Scopes: []string{"admin"}}},
		record.CreateKey{Key: record.APIKey{ID: "key_o", Consumer: "other", Hash: record.KeyHash{11}}},
	} {
		if r := apply(t, s, rev, stamp, b); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
	}
	return s, rev
}

func asAlice(b record.Body) record.Command {
	return record.Command{Stamp: stamp, By: alice.ID(), From: record.Origin{Person: alice}, Body: b}
}

func made(id string, scopes ...string) *record.CreateKey {
	return &record.CreateKey{Key: record.APIKey{ID: id, Consumer: "shop", Hash: record.KeyHash{id[len(id)-1], 1}, Scopes: scopes}}
}

// M16: by the state at that very place of the log.
func TestManagersGiveWhatTheyMay(t *testing.T) {
	roll := func(id string) record.ManageKey {
		return record.ManageKey{Consumer: "shop", Roll: &record.RollKey{ID: id, Hash: record.KeyHash{50}}}
	}
	mallory := asAlice(record.ManageKey{Consumer: "shop", Create: made("key_1")})
	mallory.From.Person.Subject = "mallory"
	operator := mallory
	operator.By, operator.From = "key_a", record.Origin{}
	foreign := made("key_1")
	foreign.Key.Consumer = "other"
	withRole := made("key_1")
	withRole.Key.Roles = []record.Role{"reader"}
	for name, c := range map[string]struct {
		command record.Command
		reason  record.Reason // why not
	}{
		"a key":                        {asAlice(record.ManageKey{Consumer: "shop", Create: made("key_1", "orders:read")}), ""},
		"a key without scopes":         {asAlice(record.ManageKey{Consumer: "shop", Create: made("key_1")}), ""},
		"a scope too many":             {asAlice(record.ManageKey{Consumer: "shop", Create: made("key_1", "orders:read", "admin")}), record.ReasonInvalid},
		"every scope":                  {asAlice(record.ManageKey{Consumer: "shop", Create: made("key_1", "*")}), record.ReasonInvalid},
		"a role":                       {asAlice(record.ManageKey{Consumer: "shop", Create: withRole}), record.ReasonInvalid},
		"an operator's key":            {asAlice(record.ManageKey{Consumer: "shop", Create: &record.CreateKey{Key: record.APIKey{ID: "key_1", Hash: record.KeyHash{50}, Roles: []record.Role{record.RoleAdmin}}}}), record.ReasonInvalid},
		"another's key":                {asAlice(record.ManageKey{Consumer: "shop", Create: foreign}), record.ReasonInvalid},
		"of another consumer":          {asAlice(record.ManageKey{Consumer: "other", Create: foreign}), record.ReasonConflict},
		"of a consumer that is not":    {asAlice(record.ManageKey{Consumer: "nobody", Create: made("key_1")}), record.ReasonConflict},
		"both":                         {asAlice(record.ManageKey{Consumer: "shop", Create: made("key_1"), Roll: roll("key_s").Roll}), record.ReasonInvalid},
		"neither":                      {asAlice(record.ManageKey{Consumer: "shop"}), record.ReasonInvalid},
		"a roll":                       {asAlice(roll("key_s")), ""},
		"a roll of what has more":      {asAlice(roll("key_w")), record.ReasonInvalid},
		"a roll of another's":          {asAlice(roll("key_o")), record.ReasonNotFound},
		"a roll of what is not":        {asAlice(roll("key_x")), record.ReasonNotFound},
		"a roll of an operator's":      {asAlice(roll("key_a")), record.ReasonNotFound},
		"by who is no manager":         {mallory, record.ReasonConflict},
		"by an operator":               {operator, record.ReasonConflict},
		"by a session that is not":     {record.Command{Stamp: stamp, By: record.SessionID(record.KeyHash{1}), Body: roll("key_s")}, record.ReasonConflict},
		"by a session, with a manager": {record.Command{Stamp: stamp, By: record.SessionID(record.KeyHash{1}), From: record.Origin{Person: alice}, Body: roll("key_s")}, record.ReasonConflict},
	} {
		s, rev := managed(t)
		r := applyCommand(t, s, rev, c.command)
		if (r.Rejection == nil) != (c.reason == "") || r.Rejection != nil && r.Rejection.Reason != c.reason {
			t.Errorf("%s: %+v", name, r.Rejection)
		}
	}
}

func TestManagersMakeNoMoreThanMaxKeys(t *testing.T) {
	s, rev := managed(t) // it has two
	if r := applyCommand(t, s, rev, asAlice(record.ManageKey{Consumer: "shop", Create: made("key_1")})); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	if r := apply(t, s, rev, stamp, record.Revoke{Revocations: []record.Revocation{revocation(record.TargetKey, "key_1")}}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	if r := applyCommand(t, s, rev, asAlice(record.ManageKey{Consumer: "shop", Create: made("key_2")})); r.Rejection == nil || !strings.Contains(r.Rejection.Detail, "3 API keys") {
		t.Errorf("%+v", r.Rejection)
	}
	if r := apply(t, s, rev, stamp, *made("key_3")); r.Rejection != nil {
		t.Errorf("operators are bound: %v", r.Rejection)
	}
}

// M16: whatever ends a manager's right ends it at that place of the log, and leaves nothing behind.
func TestManagersAreNoMore(t *testing.T) {
	yes, nobody := true, []record.Person{}
	session := record.SessionID(record.KeyHash{77})
	bySession := func(at time.Time) record.Command {
		return record.Command{Stamp: at, By: session, Body: record.ManageKey{Consumer: "shop", Create: made("key_1")}}
	}
	for name, c := range map[string]struct {
		bodies               []record.Body
		person, session, row bool // may still; and whether the session is still there
	}{
		"nothing":      {nil, true, true, true},
		"taken off":    {[]record.Body{record.UpdateConsumer{ID: "shop", Managers: &nobody}}, false, true, true},
		"replaced":     {[]record.Body{record.PutConsumer{Consumer: record.Consumer{ID: "shop"}}}, false, true, true},
		"disabled":     {[]record.Body{record.UpdateConsumer{ID: "shop", Disabled: &yes}}, false, false, false},
		"enabled":      {[]record.Body{record.UpdateConsumer{ID: "shop", Disabled: &yes}, record.UpdateConsumer{ID: "shop", Disabled: new(bool)}}, true, false, false},
		"deleted":      {[]record.Body{record.DeleteConsumer{ID: "shop"}}, false, false, false},
		"made again":   {[]record.Body{record.DeleteConsumer{ID: "shop"}, record.PutConsumer{Consumer: record.Consumer{ID: "shop"}}}, false, false, false},
		"ended":        {[]record.Body{record.EndSession{Consumer: "shop", ID: session}}, true, false, false},
		"ended, other": {[]record.Body{record.EndSession{Consumer: "other", ID: session}}, true, true, true},
		"expired":      {[]record.Body{record.Expire{Before: 1}}, true, true, true},
	} {
		s, rev := managed(t)
		open := record.OpenSession{Consumer: "shop", Hash: record.KeyHash{77}, Lifetime: time.Hour}
		if r := apply(t, s, rev, stamp, open); r.Rejection != nil || r.Ref != session {
			t.Fatalf("%+v", r)
		}
		for _, b := range c.bodies {
			r := apply(t, s, rev, stamp, b)
			if (r.Rejection != nil) != (name == "ended, other") {
				t.Fatalf("%s: %v", name, r.Rejection)
			}
		}
		if _, there := s[string(record.SessionKey(session))]; there != c.row {
			t.Errorf("%s: the session is there: %t", name, there)
		}
		if _, there := s[string(record.ManagerKey(alice, "shop"))]; there != (c.person || name == "disabled") {
			t.Errorf("%s: the manager is listed: %t", name, there)
		}
		for by, may := range map[string]bool{alice.ID(): c.person, session: c.session} {
			at := state{}
			for k, v := range s {
				at[k] = v
			}
			command := bySession(stamp.Add(time.Hour - 1))
			if by != session {
				command = asAlice(command.Body)
			}
			if r := applyCommand(t, at, rev, command); (r.Rejection == nil) != may {
				t.Errorf("%s, by %s: %+v", name, by, r.Rejection)
			}
		}
		if r := applyCommand(t, s, rev, bySession(stamp.Add(time.Hour))); r.Rejection == nil {
			t.Errorf("%s: the session outlives its time", name)
		}
		apply(t, s, rev, stamp.Add(time.Hour), record.Expire{Before: 1})
		if _, there := s[string(record.SessionKey(session))]; there {
			t.Errorf("%s: an expired session stays", name)
		}
	}
}

// M16: a consumer has a bounded number of sessions, and what is put in order by them goes with them.
func TestSessionsAreBounded(t *testing.T) {
	s, rev := managed(t)
	open := func(consumer string, n int) string {
		h := record.KeyHash{1, byte(n), byte(len(consumer))}
		if r := apply(t, s, rev, stamp, record.OpenSession{Consumer: consumer, Hash: h, Lifetime: time.Hour}); r.Rejection != nil || r.Ref != record.SessionID(h) {
			t.Fatalf("%+v", r)
		}
		return record.SessionID(h)
	}
	there := func(id string) bool { _, ok := s[string(record.SessionKey(id))]; return ok }
	before := open("shop", 0)
	apply(t, s, rev, stamp, record.RaiseLevel{To: record.LevelTrail})
	var all []string
	for n := range record.MaxSessions {
		all = append(all, open("shop", n+1))
	}
	others := open("other", 1)
	if !there(all[0]) {
		t.Error("one was ended too early")
	}
	apply(t, s, rev, stamp, record.EndSession{Consumer: "shop", ID: all[5]})
	open("shop", 201)
	if !there(all[0]) {
		t.Error("one that was ended is counted")
	}
	open("shop", 202)
	open("shop", 203)
	if there(all[0]) || there(all[1]) || !there(all[2]) || !there(others) || !there(before) {
		t.Error("not the oldest of the consumer was ended")
	}
	apply(t, s, rev, stamp.Add(time.Hour), record.Expire{})
	for key := range s {
		if strings.HasPrefix(key, string(record.SessionKey(""))) || strings.HasPrefix(key, string(record.TablePortal.Key([]byte{'c'}))) {
			t.Errorf("%q is left", key)
		}
	}
}

func TestBadSessions(t *testing.T) {
	s, rev := managed(t)
	yes := true
	apply(t, s, rev, stamp, record.UpdateConsumer{ID: "other", Disabled: &yes})
	for _, b := range []record.OpenSession{
		{Consumer: "shop", Hash: record.KeyHash{1}, Lifetime: time.Minute - 1},
		{Consumer: "shop", Hash: record.KeyHash{1}, Lifetime: 12*time.Hour + 1},
		{Consumer: "shop", Lifetime: time.Hour},
		{Consumer: "nobody", Hash: record.KeyHash{1}, Lifetime: time.Hour},
		{Consumer: "other", Hash: record.KeyHash{1}, Lifetime: time.Hour},
	} {
		if r := apply(t, s, rev, stamp, b); r.Rejection == nil {
			t.Errorf("%+v was done", b)
		}
	}
}
