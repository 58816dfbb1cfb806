package replication

import (
	"fmt"
	"testing"

	"veto/record"
	"veto/replication/consensus"
)

func BenchmarkApplyBulk(b *testing.B) {
	p := newParts(b)
	issuer := entry(b, 2, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: "https://issuer.example", JWKSURI: "https://issuer.example/jwks"}})
	if _, err := p.Apply([]consensus.Entry{founding(b, 1), issuer}); err != nil { b.Fatal(err) }
	at := uint64(3)
	n := 0
	for b.Loop() {
		var items []record.Taken
		for range 512 {
			n++
			items = append(items, record.Taken{Revocation: record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: "https://issuer.example", Value: fmt.Sprintf("6ba7b810-9dad-11d1-80b4-%012d", n)}}, By: "key_a"})
		}
		c := record.Command{Stamp: now, Body: record.Deliver{Outbox: record.OutboxID{1}, First: uint64(n - 511), Items: items}}
		wire, err := c.Encode()
		if err != nil { b.Fatal(err) }
		if _, err := p.Apply([]consensus.Entry{{Index: at, Term: 1, Command: wire}}); err != nil { b.Fatal(err) }
		at++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/revocation")
}
