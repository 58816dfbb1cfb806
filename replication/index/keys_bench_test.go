package index_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"veto/record"
)

var benchKeys = flag.Int("keys", 1_000_000, "API keys in the index that is measured")

// BenchmarkKeys says what an API key costs in memory, and to find one of them at random, beside the
// reading of as many places at random in as much memory: aims 200 bytes, and few such readings. With
// the pauses and the work of a collection.
func BenchmarkKeys(b *testing.B) {
	n := *benchKeys
	before := live()
	x := empty(b)
	err := x.Load(func(yield func(record.Change, error) bool) {
		for i := range n {
			if !yield(record.Change{Record: benchKey(b, i)}, nil) {
				return
			}
		}
	}, "c", record.DigestKey{}, 1)
	if err != nil {
		b.Fatal(err)
	}
	each := float64(live()-before) / float64(n)
	start := time.Now()
	runtime.GC()
	collection := time.Since(start)
	floor := make([]uint64, n*int(each)/8)
	for i := range floor {
		floor[i] = uint64(i)
	}
	sum, room := uint64(0), record.KeyRoom{Brief: true}
	r := rand.New(rand.NewPCG(1, 2))
	var read, found []float64
	round := func(f func(i int)) float64 {
		const times = 1000
		var all [times]int
		for i := range all {
			all[i] = r.IntN(n)
		}
		start := time.Now()
		for _, i := range all {
			f(i)
		}
		return float64(time.Since(start).Nanoseconds()) / times
	}
	for b.Loop() {
		read = append(read, round(func(i int) { sum += floor[(uint64(i)*uint64(len(floor))/uint64(n)+sum&7)%uint64(len(floor))] }))
		found = append(found, round(func(i int) {
			if _, _, ok := x.Keys().Find(benchHash(i), &room); !ok {
				b.Fatal("not found")
			}
		}))
	}
	slices.Sort(read)
	slices.Sort(found)
	b.ReportMetric(each, "B/key")
	b.ReportMetric(found[len(found)/2], "ns/find")
	b.ReportMetric(read[len(read)/2], "ns/read")
	b.ReportMetric(float64(collection.Milliseconds()), "ms/GC")
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(x)
}

func benchHash(i int) (h record.KeyHash) {
	binary.BigEndian.PutUint64(h[:], uint64(i)*0x9e3779b97f4a7c15)
	return h
}

func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func benchKey(b *testing.B, i int) *record.APIKey {
	b.Helper()
	k := record.APIKey{
		ID: fmt.Sprintf("key_%026d", i), Consumer: fmt.Sprintf("shop-%d", i%1000), Hint: fmt.Sprintf("veto_live_…%04d", i%10_000), Environment: "live",
		Scopes: []string{"orders:*", "stock:read"}, CreatedAt: time.Unix(1_800_000_000, 0), Revision: record.Revision(i), Created: record.Revision(i),
	}
	k.Hash = benchHash(i)
	raw, err := record.Encode(&k)
	if err != nil {
		b.Fatal(err)
	}
	out := new(record.APIKey)
	if err := record.Decode(raw, out); err != nil {
		b.Fatal(err)
	}
	return out
}
