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

// A receipt tells of what stands: of the revocation itself, or of another that it adds nothing to.
func TestStandsWhatIsKeptLongest(t *testing.T) {
	subject := func(value string, notBefore time.Time) record.Revocation {
		return record.Revocation{Name: record.Name{Target: record.TargetSubject, Issuer: "i", Value: value}, NotBefore: notBefore}
	}
	token := func(expiry time.Time) record.Revocation {
		return record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: "i", Value: "a"}, Expiry: expiry}
	}
	second, never := now.Add(time.Second), time.Time{}
	for name, one := range map[string]struct {
		first, then record.Revocation
		want        record.Revision
	}{
		"for good, then until now":         {subject("a", never), subject("a", now), 3},
		"until now, then for good":         {subject("a", now), subject("a", never), 4},
		"until now, then a second later":   {subject("a", now), subject("a", second), 4},
		"until then, then a second less":   {subject("a", second), subject("a", now), 3},
		"the same again":                   {subject("a", now), subject("a", now), 4},
		"another":                          {subject("a", never), subject("b", now), 4},
		"until before, then before that":   {subject("a", now.Add(-time.Second)), subject("a", now.Add(-time.Minute)), 3},
		"the token, then all of its name":  {token(now.Add(time.Minute)), token(never), 4},
		"all of its name, then the token":  {token(never), token(now.Add(time.Minute)), 3},
		"all of its name, then for longer": {token(never), token(now.Add(90 * 24 * time.Hour)), 4},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParts(t)
			p.must(t, founding(t, 1), entry(t, 2, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: "i", JWKSURI: "https://i/", MaxLifetime: record.Duration(4 * time.Hour)}}))
			p.took(t, 3, 1, one.first)
			r, a := p.took(t, 4, 2, one.then)
			got, told, err := p.view.Stands(t.Context(), r, a)
			if err != nil || !told || got.Revision != one.want {
				t.Fatalf("revision %d, %v, %v; want %d", got.Revision, told, err, one.want)
			}
			// It is what is shown.
			shown, _, err := p.view.Revocation(p.view.Digest(r.Name))
			if err != nil || shown.Revocation.Revision != got.Revision || !shown.Revocation.KeptUntil.Equal(got.KeptUntil) || !shown.Revocation.NotBefore.Equal(got.NotBefore) {
				t.Errorf("%+v is told, and %+v shown: %v", got, shown.Revocation, err)
			}
		})
	}
}

// What others have told of is not in the log, and hides nothing that is.
func TestStandsThoughOthersTellOfIt(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1), entry(t, 2, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: "i", JWKSURI: "https://i/"}}))
	name := record.Name{Target: record.TargetSubject, Issuer: "i", Value: "a"}
	r, weaker := record.Revocation{Name: name}, record.Revocation{Name: name, NotBefore: now}
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
	for outbox, others := range map[byte]bool{1: false, 2: true} {
		if got := p.view.mayAddNothing(p.view.Digest(name), &weaker, record.Accepted{Outbox: record.OutboxID{outbox}, Number: 1}); got != others {
			t.Errorf("outbox %d told of it: another's is %v", outbox, got)
		}
	}
	// The log's word is enough, before this node has what it tells of; unless that is not all.
	says(t.Context(), r, record.Accepted{Revision: 3, Kept: record.KeptUntil(time.Time{}), Outbox: record.OutboxID{1}, Number: 1}, 3)
	says(ended, r, record.Accepted{Revision: 4, Outbox: record.OutboxID{2}, Number: 1}, 0)
	p.took(t, 3, 1, r)
	notice(3)
	says(t.Context(), r, record.Accepted{Revision: 3}, 3)
	// Another node made less of it, and this one has not applied that.
	done := make(chan struct{})
	go func() {
		defer close(done)
		says(t.Context(), weaker, record.Accepted{Revision: 4, Kept: record.KeptUntil(now), Outbox: record.OutboxID{2}, Number: 1}, 3)
	}()
	p.took(t, 4, 2, weaker)
	<-done
	says(ended, weaker, record.Accepted{Revision: 9, Kept: record.KeptUntil(now), Outbox: record.OutboxID{2}, Number: 2}, 9) // in time, at least that
	p.must(t, entry(t, 5, record.Lift{Digest: p.view.Digest(name), Reason: "a mistake"}))
	says(t.Context(), weaker, record.Accepted{Revision: 4, Kept: record.KeptUntil(now)}, 4)
	var lifted *record.Rejection
	if _, told, err := p.view.Stands(t.Context(), r, record.Accepted{Revision: 3}); told || !errors.As(err, &lifted) {
		t.Errorf("asked for before, and lifted: %v, %v", told, err)
	}
}
