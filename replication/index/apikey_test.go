package index_test

import (
	"testing"
	"time"

	"veto/record"
)

// X9
func TestKeyIsFoundByItsSecrets(t *testing.T) {
	x := empty(t)
	hash := func(n byte) record.KeyHash { return record.KeyHash{n} }
	with := func(now, old byte) *record.APIKey {
		k := &record.APIKey{ID: "key_1", Hash: hash(now)}
		if old > 0 {
			k.Rotating = &record.Rotating{Hash: hash(old)}
		}
		return k
	}
	for n, c := range []struct {
		change record.Change
		found  []byte
	}{
		{record.Change{Record: with(1, 0)}, []byte{1}},
		{record.Change{Record: with(2, 1), Was: with(1, 0)}, []byte{1, 2}},
		{record.Change{Record: with(2, 1)}, []byte{1, 2}},
		{record.Change{Record: with(2, 0), Was: with(2, 1)}, []byte{2}},
		{record.Change{Record: with(3, 2), Was: with(2, 0)}, []byte{2, 3}},
		{record.Change{Record: with(4, 3), Was: with(3, 2)}, []byte{3, 4}},
		{record.Change{Record: with(5, 0), Was: with(4, 3)}, []byte{5}},
		{record.Change{Record: with(6, 5), Was: with(5, 0)}, []byte{5, 6}},
		{record.Change{Record: with(6, 5), Gone: true}, nil},
	} {
		x.Apply([]record.Change{c.change}, record.Revision(n+1))
		found := 0
		for h := range byte(10) {
			if _, _, ok := x.Keys().Find(hash(h), new(record.KeyRoom)); ok {
				found++
			}
		}
		for _, h := range c.found {
			if k, _, ok := x.Keys().Find(hash(h), new(record.KeyRoom)); !ok || k.ID != "key_1" || k.Hash != c.change.Record.(*record.APIKey).Hash {
				t.Errorf("change %d: %d gives %+v", n, h, k)
			}
		}
		if found != len(c.found) {
			t.Errorf("change %d: found by %d, want %v", n, found, c.found)
		}
	}
}

// X10
func TestUsesAreToldOnce(t *testing.T) {
	x := empty(t)
	hash := func(n byte) record.KeyHash { return record.KeyHash{n} }
	now := time.Unix(1_800_000_000, 0)
	k := &record.APIKey{ID: "key_1", Hash: hash(1)}
	x.Apply([]record.Change{{Record: k}, {Record: &record.APIKey{ID: "key_2", Hash: hash(3)}}}, 1)
	use := func(h byte, at time.Time) *record.APIKey {
		k, _, ok := x.Keys().Find(hash(h), new(record.KeyRoom))
		if !ok {
			t.Fatalf("no key has the hash %d", h)
		}
		k.Uses.Note(at)
		return k
	}
	use(1, now)
	// Neither a change nor another secret takes a use away, and two secrets are one key.
	x.Apply([]record.Change{{Record: &record.APIKey{ID: "key_1", Hash: hash(1), Name: "n"}}}, 2)
	x.Apply([]record.Change{{
		Record: &record.APIKey{ID: "key_1", Hash: hash(2), Rotating: &record.Rotating{Hash: hash(1)}}, Was: k,
	}}, 3)
	used := x.Keys().Used(10)
	if len(used) != 1 || used[0].ID != "key_1" {
		t.Fatalf("%+v", used)
	}
	if at, _, _ := used[0].Uses.Untold(); at != record.MinuteOf(now) {
		t.Errorf("used at %d", at)
	}
	used[0].Uses.Tell(record.MinuteOf(now))
	if use(1, now.Add(time.Second)); len(x.Keys().Used(10)) != 0 {
		t.Error("told twice of one minute")
	}
	use(1, now.Add(time.Minute))
	use(3, now.Add(time.Minute))
	if used = x.Keys().Used(1); len(used) != 1 || used[0].ID != "key_2" || len(x.Keys().Used(2)) != 2 {
		t.Errorf("the one that the log knows least of: %+v", used)
	}
}
