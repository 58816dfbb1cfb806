package settled_test

import (
	"runtime"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/settled"
)

// names are few, and share their places with one another.
func nameOf(n int) settled.Key { return settled.Key{A: uint64(n), B: uint64(n%3) << 3} }

// S1, against a disk that may be changed while it is asked.
func TestAnswersAreTheDisks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk, a := map[settled.Key]int64{}, new(settled.Answers)
		asked := map[settled.Question]settled.Answer{}
		key := func() settled.Key { return nameOf(rapid.IntRange(0, 8).Draw(t, "name")) }
		at := func() int64 { return rapid.Int64Range(0, 4).Draw(t, "issued at") }
		says := func(k settled.Key, at int64) settled.Answer {
			cutoff, ok := disk[k]
			if ok && at <= cutoff {
				return settled.Answer{Denied: true, Bucket: record.Bucket(cutoff)}
			}
			return settled.Answer{}
		}
		t.Repeat(map[string]func(*rapid.T){
			"revoke": func(*rapid.T) { k := key(); disk[k] = at(); a.Forget(k) },
			"lift":   func(*rapid.T) { k := key(); delete(disk, k); a.Forget(k) },
			"expire": func(*rapid.T) { clear(disk); a.ForgetAll() },
			"ask":    func(*rapid.T) { k, at := key(), at(); asked[a.Ask(k, at)] = says(k, at) },
			"keep": func(*rapid.T) {
				for q, answer := range asked {
					a.Keep(q, answer)
					delete(asked, q)
				}
			},
			"": func(t *rapid.T) {
				for n := range 9 {
					for at := range int64(5) {
						if got, ok := a.Find(nameOf(n), at); ok && got != says(nameOf(n), at) {
							t.Fatalf("name %d at %d: %+v", n, at, got)
						}
					}
				}
			},
		})
	})
}

// S1
func TestForgottenWhileAsked(t *testing.T) {
	a, k := new(settled.Answers), nameOf(1)
	q := a.Ask(k, 7)
	a.Forget(k)
	a.Keep(q, settled.Answer{})
	if _, ok := a.Find(k, 7); ok {
		t.Error("the answer is from before the change")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10_000 {
				q := a.Ask(k, 1)
				a.Forget(k)
				a.Keep(q, settled.Answer{})
				if _, ok := a.Find(k, 1); ok {
					t.Error("found after it was forgotten")
					return
				}
			}
		})
	}
	wg.Wait()
}

// S2
func TestAnswersForOneTime(t *testing.T) {
	a, k := new(settled.Answers), nameOf(1)
	a.Keep(a.Ask(k, 5), settled.Answer{Denied: true})
	for at, want := range map[int64]bool{record.NoIssuedAt: false, 4: false, 5: true, 6: false} {
		if got, ok := a.Find(k, at); ok != want || got.Denied != want {
			t.Errorf("issued at %d: %+v, %v", at, got, ok)
		}
	}
	if _, ok := a.Find(settled.Key{A: k.A + 1, B: k.B}, 5); ok {
		t.Error("an answer for another name in the same place")
	}
}

// S3
func TestRoomIsFixed(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, a := heap(), new(settled.Answers)
	for n := range uint64(1_000_000) {
		k := settled.Key{A: n, B: n * 0x9e3779b97f4a7c15}
		a.Keep(a.Ask(k, 1), settled.Answer{Denied: true})
	}
	if grown := int64(heap()) - int64(before); grown > int64(settled.Bytes())*5/4 {
		t.Errorf("%d bytes, of at most %d", grown, settled.Bytes())
	}
	runtime.KeepAlive(a)
}
