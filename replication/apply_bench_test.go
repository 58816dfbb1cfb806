package replication

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"veto/record"
	"veto/replication/consensus"
	"veto/replication/store"
)

const importIssuer = "https://issuer.example"

func importValue(i int) string { return fmt.Sprintf("6ba7b810-9dad-11d1-80b4-%012d", i) }

// BenchmarkImport is what one node does with a stream that the log brings, beside a floor: the store
// alone, given the same keys and values in the same batches. What is compacted meanwhile is in both.
func BenchmarkImport(b *testing.B) {
	p := newParts(b)
	issuer := entry(b, 2, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: importIssuer, JWKSURI: importIssuer + "/jwks"}})
	p.must(b, founding(b, 1), issuer, entry(b, 3, record.RaiseLevel{To: record.LevelNewest}))
	floor := benchOpen(b, b.TempDir())
	defer func() { _ = floor.Close() }()
	done, stored := 0, time.Duration(0)
	for at := uint64(4); b.Loop(); at++ {
		b.StopTimer()
		part := record.Import{
			First: uint64(done + 1), Alike: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: importIssuer}, Reason: "breach"}},
		}
		for i := range record.MaxImport {
			part.Items = append(part.Items, record.ImportItem{Value: importValue(done + i)})
		}
		c := record.Command{Stamp: now, By: "key_a", Request: record.Request{Key: "k"}, Body: part}
		wire, err := c.Encode()
		if err != nil {
			b.Fatal(err)
		}
		stored += benchKeep(b, floor, done)
		done += record.MaxImport
		b.StartTimer()
		p.must(b, consensus.Entry{Index: at, Term: 1, Command: wire})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/revocation")
	b.ReportMetric(b.Elapsed().Seconds()/stored.Seconds(), "x-store")
}

// benchKeep puts the records of one part of the stream into the store, in the order of their keys.
func benchKeep(b *testing.B, s *store.Store, first int) time.Duration {
	b.Helper()
	type put struct{ key, value []byte }
	puts := make([]put, record.MaxImport)
	for i := range puts {
		r := record.Revocation{
			Name: record.Name{Target: record.TargetJTI, Issuer: importIssuer, Value: importValue(first + i)},
			At:   now, KeptUntil: now.Add(26 * time.Hour),
		}
		value := append(record.NewAlike(4, 0), r.Value...)
		puts[i] = put{record.RevocationKey(r.Bucket(), benchKey.Digest(r.Name), r.Cutoff()), value}
	}
	slices.SortFunc(puts, func(a, b put) int { return bytes.Compare(a.key, b.key) })
	at := s.Applied()
	at.Term, at.Index = 1, at.Index+1
	start := time.Now()
	batch := s.Begin()
	for _, p := range puts {
		if err := batch.Put(p.key, p.value); err != nil {
			b.Fatal(err)
		}
	}
	if err := batch.Commit(at); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
