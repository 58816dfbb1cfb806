package replication

import (
	"context"
	"errors"
	"testing"
	"time"

	"veto/record"
)

// took delivers one revocation, and says what a receipt is made of.
func (p *parts) took(t *testing.T, at uint64, outbox byte, r record.Revocation) (record.Revocation, record.Accepted) {
	t.Helper()
	a := record.Accepted{Revision: record.Revision(at), Outbox: record.OutboxID{outbox}, Number: 1}
	result := p.must(t, entry(t, at, record.Deliver{Outbox: a.Outbox, First: a.Number, Items: []record.Taken{{Revocation: r}}}))[0]
	a.Kept = result.Kept[0]
	return r, a
}

// What others have told of is not in the log, and hides nothing that is.
func TestStandsThoughOthersTellOfIt(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1), entry(t, 2, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: "i", JWKSURI: "https://i/"}}))
	name := record.Name{Target: record.TargetSubject, Issuer: "i", Value: "a"}
	r := record.Revocation{Name: name}
	notice := func(outbox byte) {
		p.view.Notice(record.Notice{Cluster: "c", Outbox: record.OutboxID{outbox}, First: 1, Node: "n2", Revocations: []record.Revocation{r}})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	says := func(ctx context.Context, r record.Revocation, a record.Accepted, want record.Revision) {
		t.Helper()
		got, told, err := p.view.Stands(ctx, r, a)
		if err != nil || told != (want > 0) || told && got.Revision != want {
			t.Errorf("%+v: revision %d, %v, %v; want %d", a, got.Revision, told, err, want)
		}
	}
	notice(1)
	says(ended, r, record.Accepted{Outbox: record.OutboxID{1}, Number: 1}, 0)
	// The log's word is enough, before this node has what it tells of; unless that is not all.
	says(t.Context(), r, record.Accepted{Revision: 3, Kept: record.KeptUntil(time.Time{}), Outbox: record.OutboxID{1}, Number: 1}, 3)
	says(ended, r, record.Accepted{Revision: 4, Outbox: record.OutboxID{2}, Number: 1}, 0)
	p.took(t, 3, 1, r)
	notice(3)
	says(t.Context(), r, record.Accepted{Revision: 3}, 3)
	p.must(t, entry(t, 5, record.Lift{Digest: p.view.Digest(name), Reason: "a mistake"}))
	var lifted *record.Rejection
	if _, told, err := p.view.Stands(t.Context(), r, record.Accepted{Revision: 3}); told || !errors.As(err, &lifted) {
		t.Errorf("asked for before, and lifted: %v, %v", told, err)
	}
}
