package replication

import (
	"slices"
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/record/event"
	"veto/replication/feed"
)

// Whoever is asked whether a name is denied looks for it: that it is passed is not enough.
func TestDenialIsLookedFor(t *testing.T) {
	p := newParts(t)
	name := record.Name{Target: record.TargetJTI, Issuer: record.CanaryIssuer, Value: "x"}
	item := record.Taken{Revocation: record.Revocation{Name: name}}
	p.must(t, founding(t, 1))
	var told []event.Fact
	p.announce = func(_ []record.Change, f feed.Told, _ record.Revision) { told = slices.AppendSeq(told, f.Facts()) }
	r := &Replica{index: p.index, view: p.view}
	says := func(want bool, n record.Name, number uint64) {
		t.Helper()
		in := awaitCall{Outbox: record.OutboxID{7}, Number: number, Digest: p.view.Digest(n), Millis: 10}
		if got, err := r.answerAwait(t.Context(), in); err != nil || got != want {
			t.Errorf("says %v, %v", got, err)
		}
	}
	says(false, name, 1)
	p.view.Notice(record.Notice{Cluster: "c", Outbox: record.OutboxID{7}, First: 1, Node: "n2", Revocations: []record.Revocation{item.Revocation}})
	says(true, name, 1)
	p.must(t, entry(t, 2, record.Deliver{Outbox: record.OutboxID{7}, First: 1, Items: []record.Taken{item}}))
	says(true, name, 1)
	says(false, record.Name{Target: record.TargetJTI, Issuer: record.CanaryIssuer, Value: "y"}, 1)
	says(false, name, 2)
	p.must(t, entry(t, 3, record.Expire{Before: record.Bucket(now.Add(3*time.Hour).Unix() / 3600)}))
	says(false, name, 1)
	if len(told) != 0 {
		t.Errorf("others were told: %+v", told)
	}
}

// The canary's are in no list, wherever a page begins and ends.
func TestListsLeaveTheCanaryOut(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1), entry(t, 2, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: "i", JWKSURI: "https://i/"}}))
	var items []record.Taken
	for i := range 30 {
		n := record.Name{Target: record.TargetJTI, Issuer: record.CanaryIssuer, Value: strings.Repeat("c", i+1)}
		expiry := time.Time{}
		if i%3 == 0 {
			n.Issuer, expiry = "i", now.Add(time.Minute)
		}
		items = append(items, record.Taken{Revocation: record.Revocation{Name: n, Expiry: expiry}})
	}
	p.must(t, entry(t, 3, record.Deliver{Outbox: record.OutboxID{7}, First: 1, Items: items}))
	if n := p.view.Stats().Revocations; n != 30 {
		t.Fatalf("%d are denied", n)
	}
	seen, cursor := map[string]bool{}, ""
	for {
		page, next, err := p.view.Revocations(cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			if r.Issuer != "i" || seen[r.Value] {
				t.Errorf("%+v", r)
			}
			seen[r.Value] = true
		}
		if cursor = next; cursor == "" {
			break
		}
		if len(page) != 3 {
			t.Errorf("a page of %d that is not the last", len(page))
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d are listed", len(seen))
	}
}
