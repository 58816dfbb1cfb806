package machine_test

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/machine"
)

// revisionIn reads from the state how the record is that a command is about, in another way than the
// machine does. Conditional is false of commands that are about none.
func revisionIn(t testing.TB, s state, b record.Body) (r record.Revision, conditional bool) {
	t.Helper()
	of := func(table record.Table, id string, into any, revision *record.Revision) (record.Revision, bool) {
		if text, there := s[string(table.Key([]byte(id)))]; there {
			if err := record.Decode([]byte(text), into); err != nil {
				t.Fatal(err)
			}
		}
		return *revision, true
	}
	var (
		i record.Issuer
		c record.Consumer
		k record.APIKey
		d record.DefinedRole
	)
	switch b := b.(type) {
	case record.PutIssuer:
		return of(record.TableIssuers, b.Issuer.ID, &i, &i.Revision)
	case record.DeleteIssuer:
		return of(record.TableIssuers, b.ID, &i, &i.Revision)
	case record.PutConsumer:
		return of(record.TableConsumers, b.Consumer.ID, &c, &c.Revision)
	case record.UpdateConsumer:
		return of(record.TableConsumers, b.ID, &c, &c.Revision)
	case record.DeleteConsumer:
		return of(record.TableConsumers, b.ID, &c, &c.Revision)
	case record.UpdateKey:
		return of(record.TableKeys, b.ID, &k, &k.Revision)
	case record.RollKey:
		return of(record.TableKeys, b.ID, &k, &k.Revision)
	case record.DeleteKey:
		return of(record.TableKeys, b.ID, &k, &k.Revision)
	case record.PutRole:
		return of(record.TableRoles, string(b.Role.ID), &d, &d.Revision)
	case record.DeleteRole:
		return of(record.TableRoles, string(b.ID), &d, &d.Revision)
	case record.Lift:
		return shownIn(t, s, b.Digest), true
	}
	return 0, false
}

// shownIn is the revision of the revocation that denies most, and of those the one kept longest.
func shownIn(t testing.TB, s state, d record.Digest) record.Revision {
	t.Helper()
	var shown record.Revocation
	for key, text := range s {
		bucket, digest, cutoff, ok := record.ParseRevocationKey([]byte(key))
		if !ok || digest != d {
			continue
		}
		if shown.Revision > 0 && (cutoff < shown.Cutoff() || cutoff == shown.Cutoff() && bucket < shown.Bucket()) {
			continue
		}
		shown = record.Revocation{}
		if err := record.Decode([]byte(text), &shown); err != nil {
			t.Fatal(err)
		}
	}
	return shown.Revision
}

func conditions(present record.Revision) *rapid.Generator[record.Condition] {
	return rapid.Custom(func(t *rapid.T) record.Condition {
		c := record.Condition{When: record.When(rapid.IntRange(0, 3).Draw(t, "when"))}
		if c.When == record.WhenRevision {
			c.Revisions = rapid.SliceOfN(rapid.SampledFrom([]record.Revision{present, present + 1, 3, 0}), 0, 3).Draw(t, "revisions")
		}
		return c
	})
}

// M13: whatever the state, a command whose condition is met does what it does without one, and any
// other changes nothing and tells how the record is.
func TestConditions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, rev := founded(t)
		for range rapid.IntRange(1, 20).Draw(rt, "n") {
			body := bodies().Draw(rt, "body")
			present, conditional := revisionIn(t, s, body)
			c := record.Command{Stamp: stamp, By: "key_a", Body: body, Condition: conditions(present).Draw(rt, "condition")}
			before, free := maps.Clone(s), maps.Clone(s)
			freeRev := *rev
			want := apply(t, free, &freeRev, stamp, body)
			got := applyCommand(t, s, rev, c)
			switch met := c.Condition.Met(present); {
			case c.Condition.When != record.WhenAny && !conditional:
				if got.Rejection == nil || got.Rejection.Reason != record.ReasonInvalid && got.Rejection.Reason != record.ReasonPrecondition {
					rt.Fatalf("%T takes a condition: %+v", body, got)
				}
			case met || got.Rejection != nil && got.Rejection.Reason == record.ReasonNotFound:
				if d := cmp.Diff(want, got); d != "" || !maps.Equal(free, s) {
					rt.Fatalf("%T with %+v at %d is not as without: %s", body, c.Condition, present, d)
				}
			case got.Rejection == nil || got.Rejection.Reason != record.ReasonPrecondition || got.Rejection.Present != present:
				rt.Fatalf("%T with %+v at %d: %+v", body, c.Condition, present, got)
			}
			if got.Rejection != nil && !maps.Equal(before, s) {
				rt.Fatalf("%T was refused and changed something", body)
			}
		}
	})
}

// M13: of any number of changes that were made of what one revision showed, one is done.
func TestOneOfManyWriters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, rev := founded(t)
		apply(t, s, rev, stamp, record.PutRole{Role: record.DefinedRole{ID: "reader"}})
		no := false
		sets := map[string][]record.Body{
			"issuer":   {record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: iss, JWKSURI: "https://issuer.example/jwks"}}, record.DeleteIssuer{ID: "one"}},
			"consumer": {record.PutConsumer{Consumer: record.Consumer{ID: "shop"}}, record.UpdateConsumer{ID: "shop", Disabled: &no}, record.DeleteConsumer{ID: "shop"}},
			"key":      {record.UpdateKey{ID: "key_s", Disabled: &no}, record.RollKey{ID: "key_s", Hash: record.KeyHash{8}, Hint: "h"}, record.DeleteKey{ID: "key_s"}},
			"role":     {record.PutRole{Role: record.DefinedRole{ID: "reader"}}, record.DeleteRole{ID: "reader"}},
		}
		set := sets[rapid.SampledFrom([]string{"issuer", "consumer", "key", "role"}).Draw(rt, "of")]
		present, _ := revisionIn(t, s, set[0])
		done := 0
		for range rapid.IntRange(2, 6).Draw(rt, "writers") {
			b := rapid.SampledFrom(set).Draw(rt, "body")
			c := record.Command{Stamp: stamp, By: "key_a", Body: b, Condition: record.Condition{When: record.WhenRevision, Revisions: []record.Revision{present}}}
			if r := applyCommand(t, s, rev, c); r.Rejection == nil {
				done++
			}
		}
		if done != 1 {
			rt.Fatalf("%d writers won", done)
		}
	})
}

// M2, M13: what was done is answered as done, though the condition that was met is so no more.
func TestRepeatedRequestWithACondition(t *testing.T) {
	s, rev := founded(t)
	present, _ := revisionIn(t, s, record.DeleteConsumer{ID: "shop"})
	disabled := true
	c := record.Command{
		Stamp: stamp, By: "key_a", Body: record.UpdateConsumer{ID: "shop", Disabled: &disabled}, Request: record.Request{Key: "k", Sum: [32]byte{1}},
		Condition: record.Condition{When: record.WhenRevision, Revisions: []record.Revision{present}},
	}
	first := applyCommand(t, s, rev, c)
	c.Stamp = stamp.Add(time.Hour)
	if again := applyCommand(t, s, rev, c); first.Rejection != nil || again.Rejection != nil || !again.Repeated || again.Revision != first.Revision {
		t.Errorf("%+v, then %+v", first, again)
	}
	c.Request.Key = "other"
	if r := applyCommand(t, s, rev, c); r.Rejection == nil || r.Rejection.Present != first.Revision {
		t.Errorf("%+v", r)
	}
}

// M13: a record that is not there is what a change of it says by itself, and a condition when it would be made.
func TestConditionOnWhatIsNotThere(t *testing.T) {
	s, rev := founded(t)
	at := record.Condition{When: record.WhenRevision, Revisions: []record.Revision{3}}
	for want, body := range map[record.Reason]record.Body{
		record.ReasonNotFound:     record.DeleteKey{ID: "key_none"},
		record.ReasonPrecondition: record.PutRole{Role: record.DefinedRole{ID: "none"}},
	} {
		for _, c := range []record.Condition{at, {When: record.WhenThere}} {
			*rev++
			r, _, err := machine.Apply(s, record.Command{Stamp: stamp, By: "key_a", Body: body, Condition: c}, *rev)
			if err != nil || r.Rejection == nil || r.Rejection.Reason != want || r.Rejection.Present != 0 {
				t.Errorf("%T with %+v: %+v %v", body, c, r, err)
			}
		}
	}
}

// M13: a revocation of which there are several is the one that is shown: that denies most.
func TestConditionOfALift(t *testing.T) {
	s, rev := founded(t)
	until := func(at time.Time) record.Revision {
		t.Helper()
		r := revocation(record.TargetSubject, "alice")
		r.NotBefore = at
		return apply(t, s, rev, stamp, record.Revoke{Revocations: []record.Revocation{r}}).Revision
	}
	most := until(stamp.Add(9 * time.Hour))
	least := until(stamp)
	lift := func(at record.Revision) record.Result {
		return applyCommand(t, s, rev, record.Command{
			Stamp: stamp, By: "key_a", Condition: record.Condition{When: record.WhenRevision, Revisions: []record.Revision{at}},
			Body: record.Lift{Digest: record.DigestKey{1}.Digest(revocation(record.TargetSubject, "alice").Name), Reason: "r"},
		})
	}
	if r := lift(least); r.Rejection == nil || r.Rejection.Present != most {
		t.Errorf("%+v, want that it is at %d", r, most)
	}
	if r := lift(most); r.Rejection != nil {
		t.Error(r.Rejection)
	}
}
