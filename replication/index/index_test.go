package index_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/index"
)

var digestKey = record.DigestKey{5}

func ignore([]record.Issuer, []record.SigningKeys) {}

func none(func(record.Change, error) bool) {}

// of are changes that end with an error, if it is not nil.
func of(failed error, changes ...record.Change) iter.Seq2[record.Change, error] {
	return func(yield func(record.Change, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
		if failed != nil {
			yield(record.Change{}, failed)
		}
	}
}

func empty(t testing.TB) node {
	t.Helper()
	return newNode(t, manyExact)
}

func revocation(value string, cutoff, kept int64) record.Revocation {
	r := record.Revocation{Name: record.Name{Target: record.TargetSubject, Issuer: "i", Value: value}}
	if cutoff > 0 {
		r.NotBefore = time.Unix(cutoff, 0).UTC()
	}
	if kept > 0 {
		r.KeptUntil = time.Unix(kept*3600, 0).UTC()
		r.At = r.KeptUntil.Add(-time.Hour) // so that the bucket is of an hour
	}
	return r
}

func digest(value string) record.Digest {
	return digestKey.Digest(record.Name{Target: record.TargetSubject, Issuer: "i", Value: value})
}

// P2
func TestNoticesAreHarmless(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "-a", "-b"}), 1, 20).Draw(rt, "log")
		with, without := empty(t), empty(t)
		notice := func(at int) {
			if v := log[at]; v[0] != '-' {
				with.Notice(record.Notice{Cluster: "c", Revision: record.Revision(at + 1), Revocations: []record.Revocation{revocation(v, 0, 0)}})
			}
		}
		for n, v := range log {
			for range rapid.IntRange(0, 3).Draw(rt, "notices") {
				notice(rapid.IntRange(0, len(log)-1).Draw(rt, "notice")) // early, late, doubled
			}
			gone := v[0] == '-'
			r := revocation(v[len(v)-1:], 0, 0)
			for _, x := range []node{with, without} {
				x.Apply([]record.Change{{Record: &r, Gone: gone}}, record.Revision(n+1))
			}
			for _, v := range []string{"a", "b", "c"} {
				_, denied := without.Revoked(digest(v), 1)
				if _, ok := with.Revoked(digest(v), 1); denied && !ok {
					rt.Fatalf("%s is denied without notices and not with them", v)
				}
			}
		}
		for n := range log {
			notice(n) // all are too late now
		}
		for _, v := range []string{"a", "b", "c"} {
			_, a := with.Revoked(digest(v), 1)
			_, b := without.Revoked(digest(v), 1)
			if a != b || with.Stats().Notices != 0 {
				rt.Fatalf("%s: %v with notices, %v without; %+v", v, a, b, with.Stats())
			}
		}
	})
}

func TestNoticesOfOthersAreIgnored(t *testing.T) {
	x := empty(t)
	for _, n := range []record.Notice{
		{Cluster: "another", Revision: 9, Revocations: []record.Revocation{revocation("a", 0, 0)}},
		{Revision: 9, Revocations: []record.Revocation{revocation("a", 0, 0)}},
		{Cluster: "c", Revision: 9, Revocations: []record.Revocation{{}}},
		{Cluster: "c", Revision: 9, Revocations: make([]record.Revocation, record.MaxRevocations+1)},
	} {
		x.Notice(n)
	}
	if _, ok := x.Revoked(digest("a"), 1); ok || x.Stats().Notices != 0 {
		t.Errorf("%+v", x.Stats())
	}
	for i := range index.MaxNotices + 10 {
		x.Notice(record.Notice{Cluster: "c", Revision: 9, Revocations: []record.Revocation{revocation(fmt.Sprint(i), 0, 0)}})
	}
	if s := x.Stats(); s.Notices != index.MaxNotices || s.NoticesDropped != 10 {
		t.Errorf("%+v", s)
	}
}

// P5
func TestRevisionIsRaisedLast(t *testing.T) {
	x := empty(t)
	const last = 5000
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				rev := x.Revision()
				if rev > 0 {
					if _, ok := x.Revoked(digest(fmt.Sprint(rev)), 1); !ok {
						t.Errorf("revision %d is shown and what it brought is not", rev)
						return
					}
				}
				if rev == last {
					return
				}
			}
		})
	}
	for rev := record.Revision(1); rev <= last; rev++ {
		r := revocation(fmt.Sprint(rev), 0, 0)
		x.Apply([]record.Change{{Record: &r}}, rev)
	}
	wg.Wait()
}

// P5
func TestLoadNeverGoesBack(t *testing.T) {
	x := newNode(t, manyExact)
	x.Apply(nil, 10)
	if err := x.Load(none, "c", digestKey, 9); err == nil {
		t.Error("it went back")
	}
	r := revocation("a", 0, 0)
	x.disk.commit([]record.Change{{Record: &r}})
	err := x.Load(none, "c", digestKey, 10)
	if _, ok := x.Revoked(digest("a"), 1); err != nil || !ok || x.Revision() != 10 {
		t.Errorf("%v %v %d", err, ok, x.Revision())
	}
}

// P5
func TestBrokenLoadChangesNothing(t *testing.T) {
	x := empty(t)
	r := revocation("a", 0, 0)
	x.Apply([]record.Change{{Record: &r}}, 3)
	broken := errors.New("a record cannot be read")
	if err := x.Load(of(broken), "c", digestKey, 9); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, ok := x.Revoked(digest("a"), 1); !ok || x.Revision() != 3 {
		t.Errorf("half a state is shown: %v at %d", ok, x.Revision())
	}
}

func TestAwait(t *testing.T) {
	x := empty(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Await(ended, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for rev := record.Revision(1); rev <= 100; rev++ {
		wg.Go(func() {
			if err := x.Await(t.Context(), rev); err != nil || x.Revision() < rev {
				t.Errorf("%v at %d, want %d", err, x.Revision(), rev)
			}
		})
	}
	for rev := record.Revision(1); rev <= 100; rev++ {
		x.Apply(nil, rev)
	}
	wg.Wait()
}

func TestIssuersAreToldBeforeTheRevision(t *testing.T) {
	var x *index.Index
	var told []record.Revision
	x = index.Open(index.Config{
		OnIssuers: func([]record.Issuer, []record.SigningKeys) { told = append(told, x.Revision()) },
		Disk:      &disk{}, ExactMax: manyExact, Log: slog.New(slog.DiscardHandler),
	})
	defer func() { _ = x.Close() }()
	if err := x.Load(none, "c", digestKey, 0); err != nil {
		t.Fatal(err)
	}
	x.Apply([]record.Change{{Record: &record.Issuer{ID: "b"}}, {Record: &record.Issuer{ID: "a"}}}, 5)
	x.Apply([]record.Change{{Record: &record.SigningKeys{IssuerID: "a"}}}, 6)
	x.Apply([]record.Change{{Record: &record.APIKey{ID: "k"}}}, 7)
	issuers, keys := x.Issuers()
	if !slices.Equal(told, []record.Revision{0, 0, 5}) || len(issuers) != 2 || issuers[0].ID != "a" || len(keys) != 1 {
		t.Errorf("%v %v %v", told, issuers, keys)
	}
}

// X11
func TestImportedKeysAreCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x, there := newNode(t, manyExact), map[byte]*record.APIKey{}
		for rev := record.Revision(1); rev < 20; rev++ {
			h := rapid.ByteRange(1, 3).Draw(rt, "hash")
			// A key that is there stays what it is; a deletion tells of the record as it was.
			k, gone := there[h], rapid.Bool().Draw(rt, "gone")
			if k == nil {
				k = &record.APIKey{Hash: record.KeyHash{h}, Imported: rapid.Bool().Draw(rt, "imported")}
			}
			x.Apply([]record.Change{{Record: k, Gone: gone}}, rev)
			if delete(there, h); !gone {
				there[h] = k
			}
			imports := false
			for _, k := range there {
				imports = imports || k.Imported
			}
			if x.Keys().Imports() != imports {
				rt.Fatalf("%v: %t", there, x.Keys().Imports())
			}
			if rapid.Bool().Draw(rt, "load") {
				all := func(yield func(record.Change, error) bool) {
					for _, k := range there {
						if !yield(record.Change{Record: k}, nil) {
							return
						}
					}
				}
				if err := x.Load(all, "c", digestKey, rev); err != nil || x.Keys().Imports() != imports {
					rt.Fatalf("loaded: %v, %t", err, x.Keys().Imports())
				}
			}
		}
	})
}

// X11
func TestImportedSecretIsKnownWhileItIsRolled(t *testing.T) {
	x, old, next := newNode(t, manyExact), record.KeyHash{1}, record.KeyHash{2}
	imported := record.APIKey{ID: "k", Hash: old, Imported: true}
	rolled := record.APIKey{ID: "k", Hash: next, Rotating: &record.Rotating{Hash: old, Imported: true}}
	lapsed := record.APIKey{ID: "k", Hash: next}
	for i, c := range []struct {
		record.Change
		imports bool
	}{
		{record.Change{Record: &imported}, true},
		{record.Change{Record: &rolled, Was: &imported}, true},
		{record.Change{Record: &lapsed, Was: &rolled}, false},
	} {
		x.Apply([]record.Change{c.Change}, record.Revision(i+1))
		if _, _, byOld := x.Keys().Find(old, new(record.KeyRoom)); byOld != c.imports || x.Keys().Imports() != c.imports {
			t.Errorf("revision %d: found %t, imports %t", i+1, byOld, x.Keys().Imports())
		}
	}
}

// X2
func TestMissDoesNotAllocate(t *testing.T) {
	for _, exactMax := range []int{manyExact, 0} {
		x, d := newNode(t, exactMax), []record.Digest{digest("a")}
		r := revocation("b", 0, 0)
		x.Apply([]record.Change{{Record: &r}}, 1)
		x.Settle()
		if n := testing.AllocsPerRun(100, func() { x.FirstDenied(d, 1) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkRevoked(b *testing.B) {
	const n = 1 << 20
	x, floor := empty(b), make(map[record.Digest]uint32, n)
	for i := range n {
		r := revocation(fmt.Sprint(i), 0, 0)
		x.Apply([]record.Change{{Record: &r}}, record.Revision(i+1))
		floor[digest(fmt.Sprint(i))] = 1
	}
	probes := make([]record.Digest, 1<<16)
	for i := range probes {
		binary.LittleEndian.PutUint64(probes[i][:], rand.Uint64())
		binary.LittleEndian.PutUint64(probes[i][8:], rand.Uint64())
	}
	b.Run("floor map", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			_ = floor[probes[i&(1<<16-1)]]
		}
	})
	b.Run("miss", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			x.Revoked(probes[i&(1<<16-1)], 1)
		}
	})
}
