package index_test

import (
	"testing"

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
			if _, ok := x.APIKey(hash(h)); ok {
				found++
			}
		}
		for _, h := range c.found {
			if k, ok := x.APIKey(hash(h)); !ok || k != c.change.Record {
				t.Errorf("change %d: %d gives %+v", n, h, k)
			}
		}
		if found != len(c.found) {
			t.Errorf("change %d: found by %d, want %v", n, found, c.found)
		}
	}
}
