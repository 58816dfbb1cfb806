package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/store"
)

func requestKey(b record.Bucket, n uint64) []byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	return record.TableRequests.Key(b.Bytes(), sum[:])
}

// remember writes requests of a day, and nothing else.
func remember(t testing.TB, s *store.Store, index uint64, keys ...[]byte) {
	t.Helper()
	b := s.Begin()
	for _, k := range keys {
		if err := b.Put(k, k); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := b.Get(k); err != nil || !ok || !bytes.Equal(v, k) {
			t.Fatalf("%x is %x, %t, %v in its own batch", k, v, ok, err)
		}
	}
	if err := b.Commit(store.Applied{Index: index, Term: 1}); err != nil {
		t.Fatal(err)
	}
}

// S4
func TestRequestsAreFound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		s := open(t, dir)
		defer func() { closed(t, s) }()
		there := map[string]bool{}
		for index := range uint64(rapid.IntRange(1, 12).Draw(rt, "steps")) {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				closed(t, s)
				s = open(t, dir)
			case 1:
				passedOn(t, s)
			default:
				k := requestKey(record.Bucket(24*rapid.IntRange(1, 6).Draw(rt, "day")), rapid.Uint64Range(0, 9).Draw(rt, "request"))
				remember(t, s, index+1, k)
				there[string(k)] = true
			}
			for day := record.Bucket(1); day <= 6; day++ {
				for n := range uint64(10) {
					k := requestKey(24*day, n)
					if _, ok, err := s.Get(k); err != nil || ok != there[string(k)] {
						rt.Fatalf("request %d of day %d: %t, %v", n, day, ok, err)
					}
				}
			}
		}
	})
}

// passedOn has the store take in its own state, as if another node had sent it.
func passedOn(t testing.TB, s *store.Store) {
	t.Helper()
	snapshot, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if _, err := snapshot.WriteTo(&stream); err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restore(&stream); err != nil {
		t.Fatal(err)
	}
}

// S4
func TestRequestsAreNotLookedForInVain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	lacked := func(day record.Bucket) int {
		n := 0
		for i := range uint64(1000) {
			if s.Lacks(requestKey(day, 1<<40+i)) {
				n++
			}
		}
		return n
	}
	var keys [][]byte
	for n := range uint64(store.FirstRequests + 5000) { // in two filters
		keys = append(keys, requestKey(24, n))
	}
	for i, part := range slices.Collect(slices.Chunk(keys, 1000)) {
		remember(t, s, uint64(i)+1, part...)
	}
	for _, k := range keys {
		if s.Lacks(k) {
			t.Fatalf("%x is there", k)
		}
	}
	if lacked(24) < 990 || lacked(48) != 1000 {
		t.Errorf("of 1000 that are not there %d and %d are looked for", 1000-lacked(24), 1000-lacked(48))
	}
	closed(t, s)
	s = open(t, dir)
	defer func() { closed(t, s) }()
	if lacked(24) != 0 {
		t.Error("what a database had when it was opened is not known")
	}
	for day := range record.Bucket(store.MostDays) {
		remember(t, s, 1000+uint64(day), requestKey(48+24*day, 1))
	}
	if lacked(48) != 1000 {
		t.Error("a new day is not known")
	}
	remember(t, s, 2000, requestKey(480, 1))
	if lacked(48) != 0 || s.Lacks(requestKey(48, 1)) {
		t.Error("an old day is known")
	}
}

// S4: what is known of days does not grow with them, and a request is found whenever it was made.
func TestDaysOfRequestsAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const days = 20
	check := func() {
		t.Helper()
		for day := record.Bucket(1); day <= days; day++ {
			if _, ok, err := s.Get(requestKey(24*day, 1)); err != nil || !ok {
				t.Errorf("the request of day %d: %t, %v", day, ok, err)
			}
		}
		if got := s.RequestDays(); got != store.MostDays {
			t.Errorf("%d days are kept", got)
		}
	}
	for day := record.Bucket(1); day <= days; day++ {
		remember(t, s, uint64(day), requestKey(24*day, 1))
	}
	check()
	remember(t, s, 100, requestKey(24, 2)) // by a clock that is far behind
	check()
	closed(t, s)
	s = open(t, dir)
	check()
	closed(t, s)
}
