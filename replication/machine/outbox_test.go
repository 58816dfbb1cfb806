package machine_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"veto/record"
	"veto/record/trail"
	"veto/replication/machine"
)

func taken(values ...string) []record.Taken {
	var all []record.Taken
	for _, v := range values {
		all = append(all, record.Taken{Revocation: revocation(record.TargetSubject, v), By: "key_" + v})
	}
	return all
}

func deliver(first uint64, items ...record.Taken) record.Deliver {
	return record.Deliver{Outbox: record.OutboxID{7}, First: first, Items: items}
}

// M4
func TestDeliveredOnce(t *testing.T) {
	s, rev := founded(t)
	first := apply(t, s, rev, stamp, deliver(1, taken("a", "b")...))
	if first.Rejection != nil || first.Before != 0 || len(first.Refused) != 0 {
		t.Fatalf("%+v", first)
	}
	digest := record.DigestKey{1}.Digest(taken("a")[0].Revocation.Name)
	if r := apply(t, s, rev, stamp, record.Lift{Digest: digest, Reason: "a mistake"}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	// The proposer saw no answer, and proposes the same again with what came in since.
	again := apply(t, s, rev, stamp, deliver(1, taken("a", "b", "c")...))
	if again.Before != 2 || len(again.Kept) != 1 {
		t.Errorf("%+v", again)
	}
	if _, there := s[string(record.RevocationKey(record.Forever, digest, record.DeniesAll))]; there {
		t.Error("what was lifted is there again")
	}
	for value, want := range map[string]bool{"b": true, "c": true} {
		key := record.RevocationKey(record.Forever, record.DigestKey{1}.Digest(taken(value)[0].Revocation.Name), record.DeniesAll)
		if _, there := s[string(key)]; there != want {
			t.Errorf("%s: %v", value, there)
		}
	}
	before := maps.Clone(s)
	if old := apply(t, s, rev, stamp, deliver(2, taken("b")...)); old.Rejection != nil || old.Before != 3 || !maps.Equal(before, s) {
		t.Errorf("what was delivered changes something: %+v", old)
	}
	if through, err := machine.DeliveredThrough(s, record.OutboxID{7}); err != nil || through != 3 {
		t.Errorf("%d, %v", through, err)
	}
}

// M4: one that is refused keeps none of the others back, and each has its own entry of the trail.
func TestRefusedItemsOfAnOutbox(t *testing.T) {
	s, rev := founded(t)
	items := taken("a", "x", "b")
	items[1].Revocation.Issuer = "https://nobody.example"
	items = append(items, record.Taken{Revocation: revocation(record.TargetKey, "key_a"), By: "key_a"}) // the last admin's
	late := taken("late")[0]                                                                            // it has no byte form
	late.Revocation = revocation(record.TargetJTI, "late")
	late.Revocation.Expiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	items = append(items, late)
	*rev++
	r, changes, err := machine.Apply(s, record.Command{Stamp: stamp, Body: deliver(1, items...)}, *rev)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if one, ok := c.Record.(*record.Revocation); ok && one.Value == "late" {
			t.Error("what was refused is shown as done")
		}
	}
	var numbers []uint64
	for _, f := range r.Refused {
		numbers = append(numbers, f.Number)
	}
	if !cmp.Equal(numbers, []uint64{2, 4, 5}) {
		t.Errorf("refused: %v", numbers)
	}
	forever := record.KeptUntil(time.Time{})
	if len(r.Kept) != len(items) || r.Kept[0] != forever || r.Kept[2] != forever {
		t.Errorf("kept: %v", r.Kept)
	}
	var by []string
	for n := range uint16(4) {
		var a trail.Entry
		if b, ok := s[string(record.AuditKey(*rev, n))]; ok {
			if err := record.Decode([]byte(b), &a); err != nil {
				t.Fatal(err)
			}
			by = append(by, a.By)
		}
	}
	if !cmp.Equal(by, []string{"key_a", "key_b"}) {
		t.Errorf("the trail names %v", by)
	}
}

// M2, M4: what was answered is made, though its key turns out to be another request's.
func TestRequestsOfAnOutbox(t *testing.T) {
	s, rev := founded(t)
	item := taken("a")[0]
	item.Request = record.Request{Key: "k", Sum: [32]byte{1}}
	first := *rev + 1
	apply(t, s, rev, stamp, deliver(1, item))
	if r, done, err := machine.Admit(s, item, stamp); !done || err != nil || r.Revision != first {
		t.Errorf("%+v, %v, %v", r, done, err)
	}
	other := item
	other.Request.Sum = [32]byte{2}
	other.Revocation = taken("other")[0].Revocation
	if r := apply(t, s, rev, stamp, deliver(2, other)); len(r.Refused) != 1 || r.Refused[0].Rejection.Reason != record.ReasonConflict {
		t.Errorf("while older nodes refuse it: %+v", r)
	}
	apply(t, s, rev, stamp, record.RaiseLevel{To: record.LevelKeys})
	r := apply(t, s, rev, stamp, deliver(3, append([]record.Taken{other}, taken("next")...)...))
	if len(r.Refused) != 1 || r.Refused[0].Number != 3 || len(r.Kept) != 2 || r.Kept[0] == 0 {
		t.Fatalf("%+v", r)
	}
	if told := r.Refused[0].Rejection; told.Reason != record.ReasonConflict || !strings.Contains(told.Detail, "revoked all the same: see rev_") {
		t.Errorf("who reused the key is told %q", told.Detail)
	}
	key := record.RevocationKey(record.Forever, record.DigestKey{1}.Digest(other.Revocation.Name), record.DeniesAll)
	if _, there := s[string(key)]; !there {
		t.Error("what was answered is lost")
	}
	if r, done, err := machine.Admit(s, item, stamp); !done || err != nil || r.Revision != first {
		t.Errorf("the first request is not remembered: %+v, %v, %v", r, done, err)
	}
}

func TestAdmit(t *testing.T) {
	s, _ := founded(t)
	before := maps.Clone(s)
	var rejection *record.Rejection
	for name, c := range map[string]struct {
		item record.Taken
		want func(error) bool
	}{
		"good":           {taken("a")[0], func(err error) bool { return err == nil }},
		"unknown issuer": {record.Taken{Revocation: record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: "x", Value: "y"}}}, func(err error) bool { return errors.As(err, &rejection) }},
		"malformed":      {record.Taken{}, func(err error) bool { return errors.As(err, &rejection) }},
		"unknown key":    {record.Taken{Revocation: revocation(record.TargetKey, "key_z")}, func(err error) bool { return errors.As(err, &rejection) }},
		"a key":          {record.Taken{Revocation: revocation(record.TargetKey, "key_s")}, func(err error) bool { return err == nil }},
		"an admin's key": {record.Taken{Revocation: revocation(record.TargetKey, "key_a")}, func(err error) bool { return errors.Is(err, machine.ErrOrder) }},
	} {
		if _, done, err := machine.Admit(s, c.item, stamp); done || !c.want(err) {
			t.Errorf("%s: %v, %v", name, done, err)
		}
	}
	if !maps.Equal(before, s) {
		t.Error("looking changed the state")
	}
	if _, _, err := machine.Admit(state{}, taken("a")[0], stamp); !errors.As(err, &rejection) {
		t.Errorf("before the cluster is founded: %v", err)
	}
}
