package machine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/machine"
)

// roll is a roll of key_s.
func roll(secret byte, overlap time.Duration) record.RollKey {
	return record.RollKey{ID: "key_s", Hash: record.KeyHash{2, secret}, Hint: "h", Overlap: overlap}
}

func storedKey(t testing.TB, s state, id string) record.APIKey {
	t.Helper()
	var k record.APIKey
	if err := record.Decode([]byte(s[string(record.TableKeys.Key([]byte(id)))]), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// hashes are those that stand for the key.
func hashes(s state, id string) []record.KeyHash {
	var all []record.KeyHash
	_ = s.Scan(record.TableKeyHashes.Key(), record.KeyAfter(record.TableKeyHashes.Key()), func(k, v []byte) (bool, error) {
		if string(v) == id {
			all = append(all, record.KeyHash(k[1:]))
		}
		return true, nil
	})
	return all
}

// M15: once for each secret; keys that are gone keep none of the others back.
func TestLeakedKeysAreMarkedOnce(t *testing.T) {
	s, rev := founded(t)
	mark := func(ids ...string) record.Result {
		t.Helper()
		var b record.MarkLeaked
		for _, id := range ids {
			b.Keys = append(b.Keys, record.LeakedKey{ID: id, Where: "https://example.com/"})
		}
		return applyCommand(t, s, rev, record.Command{Stamp: stamp, By: record.LeakGitHub, Body: b})
	}
	if r := mark("key_none", "key_s", "key_s"); r.Rejection != nil || r.Ref != "key_s" {
		t.Fatalf("%+v", r)
	}
	first := storedKey(t, s, "key_s")
	if !first.LeakedAt.Equal(stamp) || first.Revision != *rev || *first.Leak != (record.Leak{Revision: *rev, By: record.LeakGitHub, Where: "https://example.com/"}) {
		t.Errorf("%+v %+v", first, first.Leak)
	}
	mark("key_s", "key_none")
	if again := storedKey(t, s, "key_s"); again.Revision != first.Revision {
		t.Errorf("marked again: %+v", again.Leak)
	}
	apply(t, s, rev, stamp, roll(1, 0))
	mark("key_s")
	if again := storedKey(t, s, "key_s"); again.Leak.Revision != *rev {
		t.Errorf("the new secret is not marked: %+v", again.Leak)
	}
	refusedWith(t, mark(), record.ReasonInvalid, "1 to")
	refusedWith(t, applyCommand(t, s, rev, record.Command{Stamp: stamp, Body: record.MarkLeaked{Keys: []record.LeakedKey{
		{ID: "key_s", Where: strings.Repeat("x", record.MaxLeakWhere+1)},
	}}}), record.ReasonInvalid, "url")
}

// M14: by the stamp, and not of a request that was done while its expiry was ahead.
func TestExpiryInPast(t *testing.T) {
	s, rev := founded(t)
	at := stamp.Add(time.Hour)
	create := func(id string, expires time.Time) record.Body {
		return record.CreateKey{Key: record.APIKey{ID: id, Consumer: "shop", Hash: record.KeyHash{7, id[len(id)-1]}, ExpiresAt: expires}}
	}
	update := func(expires time.Time) record.Body { return record.UpdateKey{ID: "key_s", ExpiresAt: &expires} }
	for name, c := range map[string]struct {
		body record.Body
		past bool
	}{
		"never":             {create("key_1", time.Time{}), false},
		"ahead":             {create("key_1", at.Add(time.Millisecond)), false},
		"now":               {create("key_1", at), true},
		"before":            {create("key_1", stamp), true},
		"moved ahead":       {update(at.Add(time.Second)), false},
		"taken away":        {update(time.Time{}), false},
		"moved to now":      {update(at), true},
		"another change":    {record.UpdateKey{ID: "key_s"}, false},
		"of something else": {record.DeleteKey{ID: "key_s"}, false},
	} {
		past, err := machine.ExpiryInPast(s, record.Command{Stamp: at, Body: c.body})
		if err != nil || (past != nil) != c.past || past != nil && past.Reason != record.ReasonExpiryInPast {
			t.Errorf("%s: %+v %v", name, past, err)
		}
	}
	c := record.Command{Stamp: stamp, By: "key_a", Body: create("key_1", at), Request: record.Request{Key: "k", Sum: [32]byte{1}}}
	if r := applyCommand(t, s, rev, c); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	c.Stamp = at.Add(time.Hour)
	if past, err := machine.ExpiryInPast(s, c); past != nil || err != nil {
		t.Errorf("a request that was done: %+v %v", past, err)
	}
	c.Request.Key = "other"
	if past, err := machine.ExpiryInPast(s, c); past == nil || err != nil {
		t.Errorf("another request: %v", err)
	}
}

// M10
func TestRoll(t *testing.T) {
	s, rev := founded(t)
	do := func(at time.Time, b record.Body) record.APIKey {
		t.Helper()
		if r := apply(t, s, rev, at, b); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
		return storedKey(t, s, "key_s")
	}
	first := storedKey(t, s, "key_s")
	k := do(stamp, roll(1, time.Hour))
	if k.Hash != (record.KeyHash{2, 1}) || k.Rolled != *rev || k.Revision != *rev || !k.RolledAt.Equal(stamp) || k.Created != first.Created ||
		!k.ByOld(first.Hash) || !k.Rotating.Until.Equal(stamp.Add(time.Hour)) || len(hashes(s, "key_s")) != 2 {
		t.Errorf("rolled: %+v", k)
	}
	name := "n"
	if k = do(stamp.Add(time.Minute), record.UpdateKey{ID: "key_s", Name: &name}); k.Rotating == nil || len(hashes(s, "key_s")) != 2 {
		t.Errorf("changed in the overlap: %+v", k)
	}
	// The next change lets go of what has ended.
	if k = do(stamp.Add(time.Hour), record.UpdateKey{ID: "key_s", Name: &name}); k.Rotating != nil || !slices.Equal(hashes(s, "key_s"), []record.KeyHash{k.Hash}) {
		t.Errorf("changed after it: %+v", k)
	}
	do(stamp, roll(2, time.Hour))
	if k = do(stamp.Add(2*time.Hour), roll(3, time.Hour)); !k.ByOld(record.KeyHash{2, 2}) || len(hashes(s, "key_s")) != 2 {
		t.Errorf("rolled after it: %+v", k)
	}
	forced := roll(4, time.Hour)
	forced.Force = true
	if k = do(stamp.Add(2*time.Hour), forced); !k.ByOld(record.KeyHash{2, 3}) || len(hashes(s, "key_s")) != 2 {
		t.Errorf("rolled by force: %+v", k)
	}
	forced = roll(5, 0)
	forced.Force = true
	if k = do(stamp.Add(2*time.Hour), forced); k.Rotating != nil || !slices.Equal(hashes(s, "key_s"), []record.KeyHash{{2, 5}}) {
		t.Errorf("rolled without an overlap: %+v", k)
	}
	do(stamp, roll(6, record.MaxOverlap))
	apply(t, s, rev, stamp, record.DeleteKey{ID: "key_s"})
	if left := hashes(s, "key_s"); len(left) > 0 {
		t.Errorf("of the deleted key there are left %v", left)
	}
}

// M10: what an imported key gets is no longer of any form.
func TestImportedKeyIsRolled(t *testing.T) {
	s, rev := founded(t)
	apply(t, s, rev, stamp, record.CreateKey{Key: record.APIKey{ID: "key_i", Consumer: "shop", Hash: record.KeyHash{7}, Imported: true}})
	if r := apply(t, s, rev, stamp, record.RollKey{ID: "key_i", Hash: record.KeyHash{8}, Overlap: time.Hour}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	if k := storedKey(t, s, "key_i"); k.Imported || !k.HasImported() || !k.ByOld(record.KeyHash{7}) {
		t.Errorf("%+v", k)
	}
}

// M10
func TestRollIsRefused(t *testing.T) {
	yes, past := true, stamp
	for name, c := range map[string]struct {
		before []record.Body
		roll   record.RollKey
		want   record.Reason
	}{
		"revoked":       {[]record.Body{record.Revoke{Revocations: []record.Revocation{revocation(record.TargetKey, "key_s")}}}, roll(1, 0), record.ReasonKeyRevoked},
		"disabled":      {[]record.Body{record.UpdateKey{ID: "key_s", Disabled: &yes}}, roll(1, 0), record.ReasonKeyDisabled},
		"expired":       {[]record.Body{record.UpdateKey{ID: "key_s", ExpiresAt: &past}}, roll(1, 0), record.ReasonKeyExpired},
		"rotating":      {[]record.Body{roll(2, time.Hour)}, roll(1, 0), record.ReasonKeyRotating},
		"a known hash":  {[]record.Body{roll(1, time.Hour)}, roll(1, time.Hour), record.ReasonConflict},
		"no hash":       {nil, record.RollKey{ID: "key_s"}, record.ReasonInvalid},
		"too long":      {nil, roll(1, record.MaxOverlap+1), record.ReasonInvalid},
		"less than now": {nil, roll(1, -1), record.ReasonInvalid},
		"nobody's":      {nil, record.RollKey{ID: "key_x", Hash: record.KeyHash{2}}, record.ReasonNotFound},
	} {
		s, rev := founded(t)
		for _, b := range c.before {
			if r := apply(t, s, rev, stamp, b); r.Rejection != nil {
				t.Fatal(name, r.Rejection)
			}
		}
		if r := apply(t, s, rev, stamp, c.roll); r.Rejection == nil || r.Rejection.Reason != c.want {
			t.Errorf("%s: %+v", name, r.Rejection)
		}
	}
}

// M10: whatever was done, the hashes are those of the keys' secrets, and what a change says that is
// gone is what the index must not find.
func TestHashesAreThoseOfTheKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, rev, at := state{}, record.Revision(0), stamp
		found := map[record.KeyHash]string{}
		all := append([]record.Body{
			record.Found{ClusterID: "c", DigestKey: record.DigestKey{1}, Admin: admin("key_a")}, record.PutConsumer{Consumer: record.Consumer{ID: "one"}},
		}, rapid.SliceOfN(bodies(), 1, 40).Draw(t, "bodies")...)
		for _, b := range all {
			rev++
			at = at.Add(time.Duration(rapid.IntRange(-1, 2).Draw(t, "hours")) * time.Hour)
			_, changes, err := machine.Apply(s, record.Command{Stamp: at, Body: b}, rev)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range changes {
				k, ok := c.Record.(*record.APIKey)
				if !ok {
					continue
				}
				for _, one := range []record.Record{c.Was, c.Record} {
					if one, ok := one.(*record.APIKey); ok {
						delete(found, one.Hash)
						if one.Rotating != nil {
							delete(found, one.Rotating.Hash)
						}
					}
				}
				if c.Gone {
					continue
				}
				found[k.Hash] = k.ID
				if k.Rotating != nil {
					found[k.Rotating.Hash] = k.ID
				}
			}
			stored := map[record.KeyHash]string{}
			_ = s.Scan(record.TableKeyHashes.Key(), record.KeyAfter(record.TableKeyHashes.Key()), func(k, v []byte) (bool, error) {
				stored[record.KeyHash(k[1:])] = string(v)
				return true, nil
			})
			if len(stored) != len(found) {
				t.Fatalf("%T: %v stored, %v to be found", b, stored, found)
			}
			for h, id := range found {
				if stored[h] != id {
					t.Fatalf("%T: %v stored, %v to be found", b, stored, found)
				}
			}
		}
	})
}

// M11
func TestKeysUsed(t *testing.T) {
	s, rev := founded(t)
	minute, before := record.MinuteOf(stamp), storedKey(t, s, "key_s").Revision
	entries := func() (n int) {
		_ = s.Scan(record.TableAudit.Key(), record.KeyAfter(record.TableAudit.Key()), func(_, _ []byte) (bool, error) { n++; return true, nil })
		return n
	}
	audited := entries()
	for n, c := range []struct{ at, want record.Minute }{
		{minute - 5, minute - 5},
		{minute - 7, minute - 5},
		{minute - 2, minute - 2},
		{minute - 2, minute - 2},
		{minute + 100, minute}, // by a clock that is ahead
	} {
		*rev++
		r, changes, err := machine.Apply(s, record.Command{Stamp: stamp, Body: record.KeysUsed{Keys: []record.KeyUsed{{ID: "key_x", At: c.at}, {ID: "key_s", At: c.at}}}}, *rev)
		if err != nil || r.Rejection != nil || len(changes) > 0 {
			t.Fatal(err, r.Rejection, changes)
		}
		if got, err := machine.LastUsed(s, "key_s"); err != nil || got != c.want {
			t.Errorf("%d: used at %d, want %d (%v)", n, got, c.want, err)
		}
	}
	if k := storedKey(t, s, "key_s"); k.Revision != before || entries() != audited {
		t.Errorf("a use changed %+v, and made %d entries of the audit trail", k, entries()-audited)
	}
	if got, _ := machine.LastUsed(s, "key_x"); got != 0 {
		t.Error("a key that is not there was used")
	}
	if r := apply(t, s, rev, stamp, record.KeysUsed{}); r.Rejection == nil {
		t.Error("someone told of uses who is no node")
	}
	if r := applyCommand(t, s, rev, record.Command{Stamp: stamp, Body: record.KeysUsed{Keys: make([]record.KeyUsed, record.MaxKeysUsed+1)}}); r.Rejection == nil {
		t.Error("there is no bound")
	}
	apply(t, s, rev, stamp, record.DeleteKey{ID: "key_s"})
	if got, _ := machine.LastUsed(s, "key_s"); got != 0 {
		t.Error("the use outlives the key")
	}
}
