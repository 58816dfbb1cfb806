package bloom_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"veto/replication/bloom"
)

// F1
func TestNeverSaysNoToWhatItHas(t *testing.T) {
	f := bloom.New(1000)
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(w, 1))
			for range 5000 { // more than it has room for
				k := bloom.Key{A: r.Uint64(), B: r.Uint64()}
				if f.Add(k); !f.Has(k) {
					t.Errorf("%v was added", k)
				}
			}
		})
	}
	wg.Wait()
	for w := range uint64(4) {
		r := rand.New(rand.NewPCG(w, 1))
		for range 5000 {
			if k := (bloom.Key{A: r.Uint64(), B: r.Uint64()}); !f.Has(k) || f.Add(k) {
				t.Fatalf("%v was added", k)
			}
		}
	}
}

// F2
func TestSeldomSaysMaybe(t *testing.T) {
	const room = 100_000
	f, r := bloom.New(room), rand.New(rand.NewPCG(1, 2))
	if f.Has(bloom.Key{A: 1, B: 2}) || bloom.New(0).Has(bloom.Key{}) {
		t.Error("it is empty")
	}
	for range room {
		f.Add(bloom.Key{A: r.Uint64(), B: r.Uint64()})
	}
	maybe := 0
	for range room {
		if f.Has(bloom.Key{A: r.Uint64(), B: r.Uint64()}) {
			maybe++
		}
	}
	if maybe > room/1000 {
		t.Errorf("maybe to %d of %d others", maybe, room)
	}
	if f.Bytes() != room*bloom.BlockBytes/bloom.KeysPerBlock {
		t.Errorf("%d bytes", f.Bytes())
	}
}
