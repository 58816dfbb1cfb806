package replication

import (
	"fmt"
	"testing"

	"veto/record"
	"veto/replication/consensus"
)

// BenchmarkImport is what one node does with a stream that the log brings.
func BenchmarkImport(b *testing.B) {
	p := newParts(b)
	const iss = "https://issuer.example"
	issuer := entry(b, 2, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: iss, JWKSURI: iss + "/jwks"}})
	p.must(b, founding(b, 1), issuer)
	done := 0
	for at := uint64(3); b.Loop(); at++ {
		b.StopTimer()
		part := record.Import{
			First: uint64(done + 1), Alike: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: iss}, Reason: "breach"}},
		}
		for range record.MaxImport {
			part.Items = append(part.Items, record.ImportItem{Value: fmt.Sprintf("6ba7b810-9dad-11d1-80b4-%012d", done)})
			done++
		}
		c := record.Command{Stamp: now, By: "key_a", Request: record.Request{Key: "k"}, Body: part}
		wire, err := c.Encode()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		p.must(b, consensus.Entry{Index: at, Term: 1, Command: wire})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/revocation")
}
