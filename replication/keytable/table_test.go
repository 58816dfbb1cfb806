package keytable_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/keytable"
	"veto/replication/pepper"
)

func newRing(t testing.TB) *pepper.Ring {
	t.Helper()
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	r, err := pepper.ParseRing([]byte(base64.StdEncoding.EncodeToString(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sumOf(secret string) record.KeyHash { return sha256.Sum256([]byte(secret)) }

var chains = cmp.Options{cmpopts.EquateComparable(record.Chain{}, record.Uses{}), cmp.Comparer(func(a, b json.RawMessage) bool { return string(a) == string(b) })}

// shown is the key without what a table adds.
func shown(k *record.APIKey) *record.APIKey {
	s := *k
	s.Uses, s.Granted = record.Uses{}, nil
	return &s
}

// another gives the table the next pepper.
func another(t testing.TB, x *keytable.Table, r *pepper.Ring) {
	t.Helper()
	p, err := r.Make(rand.Reader, "c", x.Peppers().Newest()+1)
	if err != nil {
		t.Fatal(err)
	}
	x.SetPeppers(func(all *pepper.Peppers) *pepper.Peppers {
		all, err = all.With(r, "c", p)
		return all
	})
	if err != nil {
		t.Fatal(err)
	}
}

// create takes in a key as a node would.
func create(t testing.TB, x *keytable.Table, id, secret string) *record.APIKey {
	t.Helper()
	b, err := x.Peppered(record.CreateKey{Key: record.APIKey{ID: id, Hash: sumOf(secret)}}, record.LevelNewest)
	if err != nil {
		t.Fatal(err)
	}
	k := b.(record.CreateKey).Key
	x.Set(&k, nil, false)
	return &k
}

// rehash takes in what the machine makes of it.
func rehash(x *keytable.Table, keys map[string]*record.APIKey, all []record.Rehash) {
	for _, r := range all {
		was := keys[r.ID]
		k := *was
		if was.ByOld(r.Old) {
			old := *was.Rotating
			old.Hash, old.Chain = r.New, r.Chain
			k.Rotating = &old
		} else {
			k.Hash, k.Chain = r.New, r.Chain
		}
		keys[r.ID] = &k
		x.Rehash(&k, was)
	}
	x.Settle()
}

// Y1, Y2
func TestKeyIsFoundByAnyChain(t *testing.T) {
	ring := newRing(t)
	rapid.Check(t, func(rt *rapid.T) {
		x, keys, secrets := keytable.New(), map[string]*record.APIKey{}, map[string]string{}
		for i := range 30 {
			id := fmt.Sprint("key_", rapid.IntRange(0, 5).Draw(rt, "id"))
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				if x.Peppers().Newest() < 3 {
					another(t, x, ring)
				}
			case 1:
				if keys[id] == nil {
					secrets[fmt.Sprint(i)] = id
					keys[id] = create(t, x, id, fmt.Sprint(i))
				}
			case 2:
				if was := keys[id]; was != nil && was.Rotating == nil {
					k := *was
					b, _ := x.Peppered(record.RollKey{ID: id, Hash: sumOf(fmt.Sprint(i))}, record.LevelNewest)
					roll := b.(record.RollKey)
					k.Hash, k.Chain, k.Rotating = roll.Hash, roll.Chain, &record.Rotating{Hash: was.Hash, Chain: was.Chain}
					x.Set(&k, was, false)
					keys[id], secrets[fmt.Sprint(i)] = &k, id
				}
			case 3:
				rehash(x, keys, x.Outdated(rapid.IntRange(1, 10).Draw(rt, "some")))
			case 4:
				rehash(x, keys, x.Anew(100))
			case 5:
				if k := keys[id]; k != nil {
					x.Set(k, nil, true)
					delete(keys, id)
					for s, of := range secrets {
						if of == id {
							delete(secrets, s)
						}
					}
				}
			}
			counts := map[record.Chain]int{}
			for s, id := range secrets {
				if k, _, ok := x.Find(sumOf(s), new(record.KeyRoom)); !ok || k.ID != id || cmp.Diff(keys[id], shown(k), chains) != "" {
					rt.Fatalf("the secret %s of %s gives %+v", s, id, k)
				}
			}
			for _, k := range keys {
				counts[k.Chain]++
				if k.Rotating != nil {
					counts[k.Rotating.Chain]++
				}
			}
			if got := x.Counts(); fmt.Sprint(got) != fmt.Sprint(counts) || x.Size() != len(secrets) {
				rt.Fatalf("counted %v of %v", got, counts)
			}
			if _, _, ok := x.Find(sumOf("nobody's"), new(record.KeyRoom)); ok {
				rt.Fatal("found by a secret that nobody has")
			}
		}
	})
}

// Y1: whoever asks while keys go from one hash to another finds them.
func TestKeyIsFoundWhileItIsRehashed(t *testing.T) {
	const n, rounds = 200, 60
	x, ring, keys := keytable.New(), newRing(t), map[string]*record.APIKey{}
	for i := range n {
		id := fmt.Sprint("key_", i)
		keys[id] = create(t, x, id, id)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := g; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprint("key_", i%n)
				if k, _, ok := x.Find(sumOf(id), new(record.KeyRoom)); !ok || k.ID != id {
					t.Errorf("%s was not found", id)
					return
				}
			}
		})
	}
	for range rounds {
		another(t, x, ring)
		rehash(x, keys, x.Outdated(n))
		rehash(x, keys, x.Anew(n))
		if first := x.Peppers().Records(); len(first) == record.MaxPeppers {
			// All are found by the newest alone once they were used; then the oldest can go.
			for id := range keys {
				x.Find(sumOf(id), new(record.KeyRoom))
			}
			rehash(x, keys, x.Anew(n))
			x.SetPeppers(func(all *pepper.Peppers) *pepper.Peppers { return all.Without(first[0].ID) })
		}
	}
	close(stop)
	wg.Wait()
	if got := x.Counts(); got[record.ChainOf(x.Peppers().Newest())] == 0 {
		t.Errorf("%v", got)
	}
}

// Y2
func TestFindDoesNotAllocate(t *testing.T) {
	var room record.KeyRoom
	x, ring, keys := keytable.New(), newRing(t), map[string]*record.APIKey{}
	keys["key_1"] = create(t, x, "key_1", "one")
	for round := range 4 {
		for _, s := range []string{"one", "nobody's"} {
			sum := sumOf(s)
			x.Find(sum, &room)
			least := testing.AllocsPerRun(1, func() { x.Find(sum, &room) })
			for range 100 { // with -race a pool forgets a quarter of what it is given
				least = min(least, testing.AllocsPerRun(1, func() { x.Find(sum, &room) }))
			}
			if least != 0 {
				t.Errorf("%s, %d peppers: %v allocations", s, round, least)
			}
		}
		if round < 3 {
			another(t, x, ring)
			rehash(x, keys, x.Outdated(10))
		}
	}
}

// Y3
func TestLockedFindsNothing(t *testing.T) {
	x, ring := keytable.New(), newRing(t)
	another(t, x, ring)
	create(t, x, "key_1", "one")
	p := x.Peppers().Records()[0]
	x.SetPeppers(func(all *pepper.Peppers) *pepper.Peppers {
		all, err := all.With(nil, "c", p)
		if err == nil {
			t.Fatal("unwrapped without a key")
		}
		return all
	})
	if _, _, ok := x.Find(sumOf("one"), new(record.KeyRoom)); ok || len(x.Outdated(10)) != 0 {
		t.Error("found")
	}
	for _, b := range []record.Body{record.CreateKey{}, record.RollKey{}, record.ManageKey{}, record.OpenSession{}} {
		if _, err := x.Peppered(b, record.LevelNewest); err == nil {
			t.Errorf("%T: made", b)
		}
	}
	x.SetPeppers(func(all *pepper.Peppers) *pepper.Peppers { return all.Unlocked(ring, "c") })
	if _, _, ok := x.Find(sumOf("one"), new(record.KeyRoom)); !ok {
		t.Error("not found with its pepper")
	}
}

// The secret of a portal session is stored by the newest pepper, once all nodes look for it so, and found by whatever
// was the newest then.
func TestSessionsArePeppered(t *testing.T) {
	x, ring := keytable.New(), newRing(t)
	sum := sumOf("portal")
	stored := func(level record.Level) record.KeyHash {
		t.Helper()
		b, err := x.Peppered(record.OpenSession{Consumer: "shop", Hash: sum}, level)
		if err != nil {
			t.Fatal(err)
		}
		h := b.(record.OpenSession).Hash
		if !slices.Contains(x.SessionHashes(sum), h) {
			t.Error("it is not looked for as it is stored")
		}
		return h
	}
	if stored(record.LevelNewest) != sum {
		t.Error("hashed by no pepper")
	}
	another(t, x, ring)
	first := stored(record.LevelTrail)
	if first == sum || stored(record.LevelKeys) != sum {
		t.Error("not stored as the level says")
	}
	another(t, x, ring)
	if second := stored(record.LevelTrail); second == first || !slices.Contains(x.SessionHashes(sum), first) || !slices.Contains(x.SessionHashes(sum), sum) {
		t.Error("one of before is not looked for")
	}
}

// What a manager makes is hashed as what an operator makes, and what was asked for is left as it is.
func TestManagersKeysArePeppered(t *testing.T) {
	x, ring := keytable.New(), newRing(t)
	another(t, x, ring)
	another(t, x, ring)
	create, roll := record.CreateKey{Key: record.APIKey{ID: "key_1", Hash: sumOf("one")}}, record.RollKey{ID: "key_1", Hash: sumOf("two")}
	for _, c := range []struct{ own, managed record.Body }{
		{create, record.ManageKey{Create: &create}}, {roll, record.ManageKey{Roll: &roll}},
	} {
		own, err := x.Peppered(c.own, record.LevelNewest)
		if err != nil {
			t.Fatal(err)
		}
		managed, err := x.Peppered(c.managed, record.LevelNewest)
		if err != nil {
			t.Fatal(err)
		}
		want := record.ManageKey{}
		switch b := own.(type) {
		case record.CreateKey:
			want.Create = &b
		case record.RollKey:
			want.Roll = &b
		}
		if diff := cmp.Diff(want, managed, chains); diff != "" {
			t.Error(diff)
		}
	}
	if create.Key.Hash != sumOf("one") || roll.Hash != sumOf("two") {
		t.Error("what was asked for was changed")
	}
}

// Y9
func TestPlainHashIsNotLogged(t *testing.T) {
	logged := func(x *keytable.Table) bool {
		b, err := x.Peppered(record.CreateKey{Key: record.APIKey{ID: "key_n", Hash: sumOf("new")}}, record.LevelNewest)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(b.(record.CreateKey).Also, sumOf("new"))
	}
	x, ring := keytable.New(), newRing(t)
	old := create(t, x, "key_old", "old") // before there is a pepper
	another(t, x, ring)
	if !logged(x) {
		t.Error("a secret that another key has by its plain hash would not be found to be another's")
	}
	x.Set(old, old, true)
	x.Settle()
	another(t, x, ring)
	if logged(x) {
		t.Error("the plain hash of a secret goes into the log, though no key has one")
	}
}

// Y4
func TestUseShowsAShorterChain(t *testing.T) {
	x, ring, keys := keytable.New(), newRing(t), map[string]*record.APIKey{}
	another(t, x, ring)
	keys["key_1"] = create(t, x, "key_1", "one")
	keys["key_2"] = create(t, x, "key_2", "two")
	another(t, x, ring)
	rehash(x, keys, x.Outdated(10))
	if k := keys["key_1"]; k.Chain != (record.Chain{From: 1, To: 2}) || len(x.Anew(10)) != 0 {
		t.Fatalf("%+v", k)
	}
	x.Find(sumOf("one"), new(record.KeyRoom))
	x.Find(sumOf("one"), new(record.KeyRoom))
	anew := x.Anew(10)
	if len(anew) != 1 || anew[0].ID != "key_1" || anew[0].New != x.Peppers().Sum(sumOf("one"), record.ChainOf(2)) {
		t.Fatalf("%+v", anew)
	}
	rehash(x, keys, anew)
	if k, _, ok := x.Find(sumOf("one"), new(record.KeyRoom)); !ok || k.Chain != record.ChainOf(2) || len(x.Anew(10)) != 0 {
		t.Errorf("%+v", k)
	}
	if k := keys["key_2"]; k.Chain == record.ChainOf(2) {
		t.Error("a key that was not used")
	}
}

// ofOneSlot are two secrets that share a slot.
func ofOneSlot() [2]string {
	first := map[[2]byte]string{}
	for i := 0; ; i++ {
		s := fmt.Sprint(i)
		sum := sumOf(s)
		bits := [2]byte(sum[:2])
		if other := first[bits]; other != "" {
			return [2]string{other, s}
		}
		first[bits] = s
	}
}

// Y5: of two that come at once for a slot, one is remembered, and not the pair of one under the mark of the other.
func TestOneOfTwoAtOnceIsRemembered(t *testing.T) {
	x, ring := keytable.New(), newRing(t)
	another(t, x, ring)
	same := ofOneSlot()
	keys := []*record.APIKey{create(t, x, "key_1", same[0]), create(t, x, "key_2", same[1])}
	for round := range 50_000 {
		x.Forget(sumOf(same[0]))
		var ready atomic.Int32
		var both sync.WaitGroup
		for i, k := range keys {
			sum := sumOf(same[i])
			both.Go(func() {
				ready.Add(1)
				for ready.Load() < 2 {
					runtime.Gosched()
				}
				x.Remember(sum, k.Hash)
			})
		}
		both.Wait()
		if !x.Remembers(sumOf(same[0])) && !x.Remembers(sumOf(same[1])) {
			t.Fatalf("neither is remembered, in round %d", round)
		}
	}
}

// Y5
func TestRememberedIsLookedUp(t *testing.T) {
	x, ring := keytable.New(), newRing(t)
	another(t, x, ring)
	same := ofOneSlot()
	one, two := create(t, x, "key_1", same[0]), create(t, x, "key_2", same[1])
	look := func(secret string, want *record.APIKey, isOld bool) {
		t.Helper()
		for range 3 {
			k, old, ok := x.Find(sumOf(secret), new(record.KeyRoom))
			if ok != (want != nil) || old != isOld || ok && cmp.Diff(want, shown(k), chains) != "" {
				t.Fatalf("%s: %+v %t %t", secret, k, old, ok)
			}
		}
	}
	look(same[0], one, false)
	look(same[1], two, false)
	if !x.Remembers(sumOf(same[0])) || x.Remembers(sumOf(same[1])) {
		t.Error("the first has been driven out by the second")
	}
	b, _ := x.Peppered(record.RollKey{Hash: sumOf("next")}, record.LevelNewest)
	rolled := *one
	rolled.Hash, rolled.Rotating = b.(record.RollKey).Hash, &record.Rotating{Hash: one.Hash, Chain: one.Chain}
	x.Set(&rolled, one, false)
	look(same[0], &rolled, true)
	look("next", &rolled, false)
	lapsed := rolled
	lapsed.Rotating = nil
	x.Set(&lapsed, &rolled, false)
	look(same[0], nil, false)
	look("next", &lapsed, false)
	x.Set(&lapsed, nil, true)
	look("next", nil, false)
	look(same[1], two, false)
	if !x.Remembers(sumOf(same[1])) {
		t.Error("the second is not remembered though the first has gone")
	}
}

func BenchmarkFind(b *testing.B) {
	var room record.KeyRoom
	for peppers := range 4 {
		x, ring := keytable.New(), newRing(b)
		for range peppers {
			another(b, x, ring)
		}
		create(b, x, "key_1", "one")
		for name, sum := range map[string]record.KeyHash{"there": sumOf("one"), "nobody's": sumOf("x")} {
			b.Run(fmt.Sprintf("%s/%d", name, peppers), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					x.Find(sum, &room)
				}
			})
		}
	}
}
