package replication

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/record/event"
	"veto/replication/consensus"
	"veto/replication/feed"
	"veto/replication/index"
	"veto/replication/store"
)

// read waits until the index has read what is on disk.
func (p *parts) read() {
	for slices.ContainsFunc(p.index.Stats().Classes, func(c index.ClassStats) bool { return c.Unread }) {
		runtime.Gosched()
	}
}

// M21: what came in a stream is read back whole, wherever it is read.
func TestStreamIsReadBack(t *testing.T) {
	p := newParts(t)
	b := record.Import{First: 1, Alike: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: "i"}, Reason: "leaked"}}}
	const lines = 20
	for i := range lines {
		b.Items = append(b.Items, record.ImportItem{Value: fmt.Sprint("token ", i)})
	}
	c := record.Command{Stamp: now, By: "key_a", Request: record.Request{Key: "k"}, Body: b}
	wire, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p.must(t, founding(t, 1), entry(t, 2, record.RaiseLevel{To: record.LevelTrail}),
		entry(t, 3, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: "i", JWKSURI: "https://i/"}}),
		consensus.Entry{Index: 4, Term: 1, Command: wire})
	if _, some, err := p.store.Get(record.NewAlike(4, 0).Key(p.bucket(t))); !some || err != nil {
		t.Fatalf("they are kept whole: %v", err)
	}
	whole := func(where string, r record.Revocation) {
		t.Helper()
		if !strings.HasPrefix(r.Value, "token ") || r.Target != record.TargetJTI || r.Issuer != "i" || r.Reason != "leaked" || r.By != "key_a" || r.Revision != 4 || r.KeptUntil.IsZero() {
			t.Errorf("%s: %+v", where, r)
		}
	}
	for i := range lines {
		r, found := p.view.Revoked(record.Name{Target: record.TargetJTI, Issuer: "i", Value: fmt.Sprint("token ", i)}, 1)
		if !found {
			t.Errorf("%d is not denied", i)
		}
		whole("denied", r)
	}
	all, _, err := p.view.EveryRevocation("", 100)
	if err != nil || len(all) != lines {
		t.Errorf("%d in the list, %v", len(all), err)
	}
	facts, _, err := feed.Read(p.store, event.ID{Revision: 3}, 4, 100)
	if err != nil || len(facts) != lines {
		t.Errorf("%d events, %v", len(facts), err)
	}
	for _, r := range all {
		whole("listed", r)
	}
	for _, f := range facts {
		whole("told", *f.Record.(*record.Revocation))
	}
}

// bucket is that of the first revocation in the state.
func (p *parts) bucket(t *testing.T) (b record.Bucket) {
	t.Helper()
	if err := p.store.Revocations(record.Entry{}, func(e record.Entry) bool { b = e.Bucket; return false }); err != nil {
		t.Fatal(err)
	}
	return b
}

// X1, as readers of the whole see it: in either mode the record is found that denies, though of two
// of one name the one is kept longer and the other denies more.
func TestRevokedFindsTheRecord(t *testing.T) {
	for name, exactMax := range map[string]int{"exact": 1 << 20, "filter": 0} {
		t.Run(name, func(t *testing.T) {
			p := newPartsOf(t, exactMax)
			p.must(t, founding(t, 1))
			who := record.Name{Target: record.TargetSubject, Issuer: "i", Value: "v"}
			batch := p.store.Begin()
			for i, r := range []record.Revocation{
				{Name: who, NotBefore: time.Unix(100, 0), KeptUntil: now.Add(9 * time.Hour), Reason: "kept longest"},
				{Name: who, NotBefore: time.Unix(200, 0), KeptUntil: now.Add(time.Hour), Reason: "denies most"},
				{Name: who, NotBefore: time.Unix(50, 0), KeptUntil: now.Add(time.Hour), Reason: "neither"},
			} {
				r.At, r.Revision = now, record.Revision(2+i)
				value, err := record.Encode(&r)
				if err == nil {
					err = batch.Put(record.RevocationKey(r.Bucket(), p.view.Digest(who), r.Cutoff()), value)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Commit(store.Applied{Index: 4, Term: 1}); err != nil {
				t.Fatal(err)
			}
			if err := p.load(); err != nil {
				t.Fatal(err)
			}
			p.read()
			for iat, want := range map[int64]string{40: "kept longest", 100: "kept longest", 101: "denies most", 200: "denies most", 201: ""} {
				r, found := p.view.Revoked(who, iat)
				if r.Reason != want || found != (want != "") || (p.view.FirstDenied([]record.Digest{p.view.Digest(who)}, iat) == 0) != found {
					t.Errorf("issued at %d: %v %q, want %q", iat, found, r.Reason, want)
				}
			}
			s, found, err := p.view.Revocation(p.view.Digest(who))
			if !found || err != nil || s.Revocation.Reason != "denies most" {
				t.Errorf("%v %v %+v", found, err, s)
			}
			if all, _, err := p.view.Revocations("", 10); err != nil || len(all) != 1 || all[0].Reason != "denies most" {
				t.Errorf("one name, and a list of %+v, %v", all, err)
			}
			if all, _, err := p.view.EveryRevocation("", 10); err != nil || len(all) != 3 {
				t.Errorf("three revocations, and a list of %+v, %v", all, err)
			}
			if by := p.view.AnsweredBy(p.view.Digest(who), 40); !strings.Contains(by, map[bool]string{true: "disk", false: "exact"}[exactMax == 0]) {
				t.Errorf("answered by %s", by)
			}
		})
	}
}

// P15
func TestWhatIsAppliedAtOnceIsBounded(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1), entry(t, 2, record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: "https://i.example", JWKSURI: "https://i.example/jwks"}}))
	var entries []consensus.Entry
	for n := range uint64(6) {
		b := record.Import{First: 1, Alike: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: "https://i.example"}}}}
		for i := range 2000 {
			b.Items = append(b.Items, record.ImportItem{Value: fmt.Sprintf("%d %0400d", n, i)})
		}
		c := record.Command{Stamp: now, By: "key_a", Request: record.Request{Key: fmt.Sprint("k", n)}, Body: b}
		wire, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, consensus.Entry{Index: 3 + n, Term: 1, Command: wire})
	}
	var ahead uint64 // of what is shown
	p.announce = func(_ []record.Change, _ feed.Told, r record.Revision) {
		ahead = max(ahead, p.store.Applied().Index-uint64(r))
	}
	p.must(t, entries...)
	if ahead > 2 || p.store.Applied().Index != 8 {
		t.Errorf("%d entries were applied before the first was shown; through %d", ahead+1, p.store.Applied().Index)
	}
}
