package index_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"veto/record"
)

// BenchmarkKeys says what an API key costs in memory, decoded as from the store. Aim: 200 bytes.
func BenchmarkKeys(b *testing.B) {
	const n = 1 << 20
	for b.Loop() {
		before := live()
		x := empty(b)
		for i := range n {
			k := benchKey(b, i)
			x.Apply([]record.Change{{Record: k}}, record.Revision(i+1))
		}
		b.ReportMetric(float64(live()-before)/n, "B/key")
		runtime.KeepAlive(x)
	}
	b.ReportMetric(0, "ns/op")
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
	binary.BigEndian.PutUint64(k.Hash[:], uint64(i)*0x9e3779b97f4a7c15)
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
