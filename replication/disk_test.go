package replication

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/replication/index"
	"veto/replication/store"
)

// read waits until the index has read what is on disk.
func (p *parts) read() {
	for slices.ContainsFunc(p.index.Stats().Classes, func(c index.ClassStats) bool { return c.Unread }) {
		runtime.Gosched()
	}
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
