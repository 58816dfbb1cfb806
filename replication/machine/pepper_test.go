package machine_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/machine"
)

func putPepper(id record.PepperID) record.PutPepper {
	return record.PutPepper{Pepper: record.Pepper{ID: id, Wrapped: []byte{byte(id)}, WrappedBy: "a"}}
}

// by is a command of the cluster itself.
func by(b record.Body) record.Command { return record.Command{Stamp: stamp, Body: b} }

func rehashed(id string, old, now record.KeyHash, c record.Chain) record.RehashKeys {
	return record.RehashKeys{Keys: []record.Rehash{{ID: id, Old: old, New: now, Chain: c}}}
}

// M16
func TestPeppersComeAndGo(t *testing.T) {
	s, rev := founded(t)
	reason := func(b record.Body) record.Reason {
		t.Helper()
		r := applyCommand(t, s, rev, by(b))
		if r.Rejection == nil {
			return ""
		}
		return r.Rejection.Reason
	}
	want := func(r record.Reason, b record.Body) {
		t.Helper()
		if got := reason(b); got != r {
			t.Fatalf("%+v: %q, want %q", b, got, r)
		}
	}
	key := func(id string, n byte, c record.Chain) record.CreateKey {
		return record.CreateKey{Key: record.APIKey{ID: id, Consumer: "shop", Hash: record.KeyHash{7, n}, Chain: c}}
	}
	want(record.ReasonConflict, putPepper(2))
	want("", putPepper(1))
	want(record.ReasonPepperChanged, key("key_1", 1, record.Chain{}))
	want(record.ReasonPepperChanged, record.RollKey{ID: "key_s", Hash: record.KeyHash{8}})
	want("", key("key_1", 1, record.ChainOf(1)))
	want("", putPepper(2))
	want(record.ReasonPepperChanged, key("key_2", 2, record.ChainOf(1)))
	want(record.ReasonPepperChanged, key("key_2", 2, record.Chain{From: 1, To: 2}))
	want("", record.RollKey{ID: "key_1", Hash: record.KeyHash{7, 3}, Chain: record.ChainOf(2), Overlap: time.Hour})
	want("", putPepper(3))
	want(record.ReasonPeppersInUse, putPepper(4)) // by the secret that was replaced
	want("", rehashed("key_1", record.KeyHash{7, 1}, record.KeyHash{7, 4}, record.ChainOf(3)))
	want("", putPepper(4))
	want(record.ReasonPeppersInUse, putPepper(5)) // by the one that replaced it
	want("", record.DeleteKey{ID: "key_1"})
	want("", putPepper(5))
	want("", record.PutPepper{Pepper: record.Pepper{ID: 4, Wrapped: []byte{9}, WrappedBy: "b"}})
	want(record.ReasonConflict, putPepper(2)) // it was dropped, and never comes again
	want(record.ReasonInvalid, record.PutPepper{Pepper: record.Pepper{ID: 6}})
	for id := record.PepperID(1); id < 7; id++ {
		if _, there, _ := s.Get(record.TablePeppers.Key(id.Bytes())); there != (id >= 3 && id <= 5) {
			t.Errorf("pepper %d is there: %t", id, there)
		}
	}
}

// M16
func TestRehashIsOfWhatItSaw(t *testing.T) {
	s, rev := founded(t)
	for _, b := range []record.Body{putPepper(1), putPepper(2)} {
		applyCommand(t, s, rev, by(b))
	}
	was := storedKey(t, s, "key_s")
	one := record.ChainOf(2)
	for name, b := range map[string]record.RehashKeys{
		"another hash":           rehashed("key_s", record.KeyHash{1}, record.KeyHash{5}, one),
		"no key":                 rehashed("key_x", was.Hash, record.KeyHash{5}, one),
		"not the newest pepper":  rehashed("key_s", was.Hash, record.KeyHash{5}, record.ChainOf(1)),
		"a pepper that is not":   rehashed("key_s", was.Hash, record.KeyHash{5}, record.ChainOf(3)),
		"a chain of another key": rehashed("key_s", was.Hash, record.KeyHash{5}, record.Chain{From: 1, To: 2}),
		"the hash of another":    rehashed("key_s", was.Hash, storedKey(t, s, "key_a").Hash, one),
	} {
		if applyCommand(t, s, rev, by(b)); storedKey(t, s, "key_s").Hash != was.Hash {
			t.Errorf("%s: done", name)
		}
	}
	if r := apply(t, s, rev, stamp, rehashed("key_s", was.Hash, record.KeyHash{5}, one)); r.Rejection == nil {
		t.Error("an operator may say what the hashes are")
	}
	applyCommand(t, s, rev, by(rehashed("key_s", was.Hash, record.KeyHash{5}, one)))
	k := storedKey(t, s, "key_s")
	if k.Hash != (record.KeyHash{5}) || k.Chain != one || k.Revision != was.Revision || len(hashes(s, "key_s")) != 1 {
		t.Errorf("%+v, found by %v", k, hashes(s, "key_s"))
	}
	// Whoever brings the same secret again, in whatever form, is told whose it is.
	again := record.CreateKey{Key: record.APIKey{ID: "key_i", Consumer: "shop", Hash: record.KeyHash{6}, Chain: one}, Also: []record.KeyHash{{4}, {5}}}
	if r := apply(t, s, rev, stamp, again); r.Rejection == nil || r.Rejection.Reason != record.ReasonDuplicateKey {
		t.Errorf("%+v", r.Rejection)
	}
}

// M16: neither the trail nor those who are told of keys hear of a hash; they do of a pepper.
func TestPeppersAreInTheTrail(t *testing.T) {
	s, rev := founded(t)
	before := len(entries(t, s))
	r := applyCommand(t, s, rev, record.Command{Stamp: stamp, By: "key_a", Body: putPepper(1)})
	all := entries(t, s)
	e := all[len(all)-1]
	if len(all) != before+1 || r.Ref != "1" || e.Action != "put_pepper" || e.Kinds[0] != "pepper" || e.Refs[0] != "1" || len(e.Changes) != 1 || e.Changes[0].To != "a" {
		t.Errorf("%+v", e)
	}
	*rev++
	_, changes, err := machine.Apply(s, by(rehashed("key_s", record.KeyHash{9}, record.KeyHash{5}, record.ChainOf(1))), *rev)
	if _, ok := changes[0].Record.(*record.Rehashed); err != nil || len(changes) != 1 || !ok || len(entries(t, s)) != before+1 {
		t.Errorf("%+v %v", changes, err)
	}
}

// M16: what is counted of the peppers is what the keys need, whatever was done.
func TestPeppersStayWhileTheyAreNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, rev := state{}, record.Revision(0)
		do := func(b record.Body) {
			rev++
			if _, _, err := machine.Apply(s, by(b), rev); err != nil {
				t.Fatal(err)
			}
		}
		do(record.Found{ClusterID: "c", DigestKey: record.DigestKey{1}, Admin: admin("key_a")})
		do(record.PutConsumer{Consumer: record.Consumer{ID: "shop"}})
		newest := func() (last record.PepperID, there map[record.PepperID]bool) {
			there = map[record.PepperID]bool{}
			_ = s.Scan(record.TablePeppers.Key(), record.KeyAfter(record.TablePeppers.Key()), func(_, v []byte) (bool, error) {
				var p record.Pepper
				_ = record.Decode(v, &p)
				last, there[p.ID] = p.ID, true
				return true, nil
			})
			return last, there
		}
		id := rapid.SampledFrom([]string{"key_a", "key_b", "key_c"})
		for n := range byte(40) {
			last, _ := newest()
			switch k := id.Draw(t, "key"); rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				do(putPepper(last + 1))
			case 1:
				do(record.CreateKey{Key: record.APIKey{ID: k, Consumer: "shop", Hash: record.KeyHash{9, n}, Chain: record.ChainOf(last)}})
			case 2:
				do(record.RollKey{ID: k, Hash: record.KeyHash{9, n}, Chain: record.ChainOf(last), Overlap: time.Hour, Force: true})
			case 3:
				do(record.DeleteKey{ID: k})
			case 4:
				if all := hashes(s, k); len(all) > 0 {
					one := rapid.SampledFrom(all).Draw(t, "hash")
					for _, c := range []record.Chain{{From: record.PepperID(rapid.IntRange(1, 6).Draw(t, "from")), To: last}, record.ChainOf(last)} {
						do(rehashed(k, one, record.KeyHash{8, n}, c))
					}
				}
			}
			_, there := newest()
			_ = s.Scan(record.TableKeys.Key(), record.KeyAfter(record.TableKeys.Key()), func(_, v []byte) (bool, error) {
				var k record.APIKey
				_ = record.Decode(v, &k)
				chains := []record.Chain{k.Chain}
				if k.Rotating != nil {
					chains = append(chains, k.Rotating.Chain)
				}
				for _, c := range chains {
					for p := c.From; p <= c.To && p > 0; p++ {
						if !there[p] {
							t.Fatalf("%s needs pepper %d; there are %v", k.ID, p, there)
						}
					}
				}
				return true, nil
			})
		}
	})
}
