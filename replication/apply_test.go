package replication

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/record/event"
	"veto/record/trail"
	"veto/replication/consensus"
	"veto/replication/feed"
	"veto/replication/index"
	"veto/replication/pepper"
	"veto/replication/store"
)

var now = time.Unix(1_800_000_000, 0).UTC()

// parts are a state without a cluster around it.
type parts struct {
	*applier
	announced []record.Revision
}

func newParts(t testing.TB) *parts {
	t.Helper()
	return newPartsOf(t, 1<<20)
}

// newPartsOf are those of a node that holds so many revocations of a class exactly.
func newPartsOf(t testing.TB, exactMax int) *parts {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{CacheBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return partsOn(t, s, exactMax, nil)
}

// partsOn are those of a node that has started on the store.
func partsOn(t testing.TB, s *store.Store, exactMax int, ring *pepper.Ring) *parts {
	t.Helper()
	x := index.Open(index.Config{
		OnIssuers: func([]record.Issuer, []record.SigningKeys) {}, Disk: s, ExactMax: exactMax, Ring: ring, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() { _ = x.Close() })
	h := NewHorizon(x, func() time.Time { return now })
	p := &parts{}
	p.applier = &applier{store: s, index: x, horizon: h, view: NewView(x, s, h), announce: func(c []record.Change, _ feed.Told, r record.Revision) {
		if len(c) > 0 {
			p.announced = append(p.announced, r)
		}
	}, founded: func() {}, delivered: func(record.Delivered, record.Revision) {}, restored: func(record.Delivered, record.Revision) {}}
	return p
}

// streamOf is the state of the store, as another node is sent it.
func streamOf(t testing.TB, s *store.Store) *bytes.Buffer {
	t.Helper()
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	stream := new(bytes.Buffer)
	_, err = snap.WriteTo(stream)
	if err := errors.Join(err, snap.Close()); err != nil {
		t.Fatal(err)
	}
	return stream
}

func entry(t testing.TB, at uint64, b record.Body) consensus.Entry {
	t.Helper()
	c := record.Command{Stamp: now, Body: b}
	wire, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return consensus.Entry{Index: at, Term: 1, Command: wire}
}

func founding(t testing.TB, at uint64) consensus.Entry {
	t.Helper()
	return entry(t, at, record.Found{ClusterID: "c", DigestKey: record.DigestKey{1}, ChainAudit: true, Admin: record.APIKey{
		// Not for good, so that it may be revoked though it is the last admin's.
		ID: "key_a", Hash: record.KeyHash{1}, Roles: []record.Role{record.RoleAdmin}, ExpiresAt: now.Add(time.Hour),
	}})
}

func revokeKey(t testing.TB, at uint64) consensus.Entry {
	t.Helper()
	return entry(t, at, record.Revoke{Revocations: []record.Revocation{{Name: record.Name{Target: record.TargetKey, Value: "key_a"}}}})
}

func (p *parts) must(t testing.TB, entries ...consensus.Entry) []record.Result {
	t.Helper()
	results, err := p.Apply(entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
	}
	return results
}

var revokedKey = record.Name{Target: record.TargetKey, Value: "key_a"}

// P10
func TestNotReadyBeforeTheFirstBeaconIsReached(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1))
	if f := p.view.Freshness(); f.Ready || !f.AsOf.IsZero() {
		t.Errorf("before any beacon: %+v", f)
	}
	p.horizon.Beacon(record.Beacon{Cluster: "another", Commit: 0, At: now})
	p.horizon.Beacon(record.Beacon{Cluster: "c", Commit: 2, At: now.Add(-time.Second)})
	if p.view.Freshness().Ready {
		t.Error("ready before what the leader reported is applied")
	}
	p.must(t, revokeKey(t, 2))
	if f := p.view.Freshness(); !f.Ready || !f.AsOf.Equal(now.Add(-time.Second)) || f.Revision != 2 {
		t.Errorf("%+v", f)
	}
	p.horizon.Beacon(record.Beacon{Cluster: "c", Commit: 2, At: now.Add(-time.Hour)})
	if f := p.view.Freshness(); !f.AsOf.Equal(now.Add(-time.Second)) {
		t.Errorf("an old beacon took it back: %+v", f)
	}
	p.horizon.Beacon(record.Beacon{Cluster: "c", Commit: 2, At: now.Add(time.Hour)})
	if f := p.view.Freshness(); f.AsOf.After(now) {
		t.Errorf("as of the future: %+v", f)
	}
}

// The time of a beacon ages by this process's clock, which nobody can set back.
func TestAsOfIsMonotonic(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1))
	p.horizon.now = time.Now
	p.horizon.Beacon(record.Beacon{Cluster: "c", Commit: 1, At: time.Now().Round(0).Add(-time.Minute)})
	first := p.view.Freshness()
	if !strings.Contains(first.AsOf.String(), "m=") {
		t.Errorf("without a monotonic reading: %s", first.AsOf)
	}
	if age := first.Age(time.Now()); age < time.Minute || age > time.Minute+time.Minute {
		t.Errorf("%s old", age)
	}
	// The machine slept: the wall clock went on, the other did not.
	if age := first.Age(time.Now().Round(0).Add(time.Hour)); age < time.Hour {
		t.Errorf("%s old after an hour of sleep", age)
	}
}

// P3
func TestAppliedEntriesAreSkipped(t *testing.T) {
	p := newParts(t)
	batch := []consensus.Entry{founding(t, 1), revokeKey(t, 2)}
	p.must(t, batch...)
	before := p.store.Applied()
	p.must(t, batch...) // as after a restart
	after := p.store.Applied()
	entries, err := p.view.Audit(trail.Entry{}, 10)
	if err != nil || len(entries) != 2 || after.Index != before.Index || len(p.announced) != 2 {
		t.Errorf("%+v %v, applied %d then %d, announced %v", entries, err, before.Index, after.Index, p.announced)
	}
	if got := p.must(t, batch[0], batch[1], entry(t, 3, record.PutConsumer{Consumer: record.Consumer{ID: "x"}})); got[2].Ref != "x" {
		t.Errorf("what follows was skipped, too: %+v", got)
	}
}

// P5
func TestReadersSeeRecordsBeforeTheRevision(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1))
	seen := make(chan bool)
	go func() {
		err := p.index.Await(t.Context(), 2)
		_, revoked := p.view.Revoked(revokedKey, 0)
		r, ok, readErr := p.view.Revocation(p.view.Digest(revokedKey))
		seen <- err == nil && revoked && ok && readErr == nil && r.Accepted.Revision == 2
	}()
	p.must(t, revokeKey(t, 2))
	if !<-seen {
		t.Error("the revision was there before the record")
	}
	// A restore brings no reader back.
	older := newParts(t)
	older.must(t, founding(t, 1))
	if err := p.Restore(streamOf(t, older.store)); err == nil || p.view.Freshness().Revision != 2 {
		t.Errorf("went back: %v, %+v", err, p.view.Freshness())
	}
	if _, revoked := p.view.Revoked(revokedKey, 0); !revoked {
		t.Error("a refused restore lost a revocation")
	}
}

// A node that is given a state has the audit trail's chain with it, and goes on with the same one.
func TestRestoreBringsTheTrail(t *testing.T) {
	p, fresh := newParts(t), newParts(t)
	found := entry(t, 2, record.Found{ClusterID: "c", ChainAudit: true, Admin: record.APIKey{ID: "key_a", Hash: record.KeyHash{1}, Roles: []record.Role{record.RoleAdmin}}})
	servers := func(at uint64, members ...consensus.Server) consensus.Entry {
		return consensus.Entry{Index: at, Term: 1, Servers: []byte{1}, Members: members, At: now}
	}
	p.must(t, servers(1, consensus.Server{ID: "n1", Voter: true}), found, servers(3, consensus.Server{ID: "n1", Voter: true}, consensus.Server{ID: "n2"}))
	if err := fresh.Restore(streamOf(t, p.store)); err != nil {
		t.Fatal(err)
	}
	for at := uint64(4); at < 6; at++ {
		for _, x := range []*parts{p, fresh} {
			x.must(t, entry(t, at, record.PutConsumer{Consumer: record.Consumer{ID: "x"}}))
		}
		a, errA := p.view.AuditHead()
		b, errB := fresh.view.AuditHead()
		if a != b || a.Sequence != at-1 || errors.Join(errA, errB) != nil {
			t.Errorf("%+v %v, and after a restore %+v %v", a, errA, b, errB)
		}
		if agrees, err := fresh.view.AuditAgrees(a); agrees != record.AuditAgrees || err != nil {
			t.Errorf("%q %v", agrees, err)
		}
		a.Hash[0]++
		if agrees, err := fresh.view.AuditAgrees(a); agrees != record.AuditDiffers || err != nil {
			t.Errorf("%q %v", agrees, err)
		}
		a.Sequence++
		if agrees, err := fresh.view.AuditAgrees(a); agrees != "" || err != nil {
			t.Errorf("%q %v", agrees, err)
		}
	}
	all, err := fresh.view.Audit(trail.Entry{}, 10)
	if err != nil || len(all) != 4 || all[1].Action != "nodes" || len(all[1].Refs) != 2 || all[1].From.Way != record.WayCluster || !all[1].At.Equal(now) {
		t.Errorf("%+v %v", all, err)
	}
}

func TestRestoreBringsTheIndex(t *testing.T) {
	p, fresh := newParts(t), newParts(t)
	p.must(t, founding(t, 1), revokeKey(t, 2))
	if err := fresh.Restore(streamOf(t, p.store)); err != nil {
		t.Fatal(err)
	}
	if _, revoked := fresh.view.Revoked(revokedKey, 0); !revoked || fresh.view.ClusterID() != "c" || fresh.view.Freshness().Revision != 2 {
		t.Errorf("%v %q %+v", revoked, fresh.view.ClusterID(), fresh.view.Freshness())
	}
	if _, _, ok := fresh.view.APIKey(record.KeyHash{1}, new(record.KeyRoom)); !ok {
		t.Error("the API key did not come")
	}
}

// P12: rules that are remembered are not those from before a restore.
func TestRestoreBringsTheRules(t *testing.T) {
	issuer := func(at uint64, lifetime time.Duration) consensus.Entry {
		return entry(t, at, record.PutIssuer{Issuer: record.Issuer{ID: "i", Issuer: "https://i", JWKSURI: "https://i/jwks", MaxLifetime: record.Duration(lifetime)}})
	}
	revoke := func(at uint64) consensus.Entry {
		return entry(t, at, record.Revoke{Revocations: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: "https://i", Value: "a"}}}})
	}
	p, behind := newParts(t), newParts(t)
	for _, x := range []*parts{p, behind} {
		x.must(t, founding(t, 1), issuer(2, time.Hour), revoke(3))
	}
	p.must(t, issuer(4, 9*time.Hour))
	if err := behind.Restore(streamOf(t, p.store)); err != nil {
		t.Fatal(err)
	}
	want, got := p.must(t, revoke(5))[0].Kept, behind.must(t, revoke(5))[0].Kept
	if !slices.Equal(want, got) {
		t.Errorf("kept until %v, and after a restore until %v", want, got)
	}
}

// P1: what is announced was committed first, and what was refused is not announced.
func TestNoticeComesFromACommittedEntry(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1))
	p.announce = func(c []record.Change, _ feed.Told, r record.Revision) {
		if at := p.store.Applied(); at.Index < uint64(r) {
			t.Errorf("revision %d is announced and %d committed", r, at.Index)
		}
		if len(c) > 0 {
			p.announced = append(p.announced, r)
		}
	}
	unknown := entry(t, 2, record.Revoke{Revocations: []record.Revocation{{Name: record.Name{Target: record.TargetKey, Value: "nobody"}}}})
	results, err := p.Apply([]consensus.Entry{unknown, revokeKey(t, 3)})
	if err != nil || results[0].Rejection == nil {
		t.Fatalf("%+v %v", results, err)
	}
	if len(p.announced) != 2 || p.announced[1] != 3 {
		t.Errorf("announced %v", p.announced)
	}
}

// P5: what cannot be read is not left out in silence.
func TestUnreadableRecordIsNoState(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1), revokeKey(t, 2))
	batch := p.store.Begin()
	if err := batch.Put(record.TableKeys.Key([]byte("key_z")), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if err := batch.Commit(store.Applied{Index: 3, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if err := p.load(); err == nil {
		t.Error("loaded")
	}
	if _, revoked := p.view.Revoked(revokedKey, 0); !revoked || p.view.Freshness().Revision != 2 {
		t.Errorf("revoked: %v, at %d", revoked, p.view.Freshness().Revision)
	}
}

// P11
func TestUnknownCommandStopsTheNode(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1))
	unknown := revokeKey(t, 3)
	unknown.Command[2] = 0xff
	_, err := p.Apply([]consensus.Entry{revokeKey(t, 2), unknown})
	var want *record.UnknownCommandError
	if !errors.As(err, &want) {
		t.Fatalf("%v", err)
	}
	if at := p.store.Applied(); at.Index != 1 || p.view.Freshness().Revision != 1 {
		t.Errorf("applied %d: half a batch is there", at.Index)
	}
}

// P11
func TestSkippableCommandIsSkipped(t *testing.T) {
	p := newParts(t)
	unknown := revokeKey(t, 2)
	unknown.Command[2], unknown.Command[1] = 0xff, 1
	p.must(t, founding(t, 1), unknown, revokeKey(t, 3))
	if _, revoked := p.view.Revoked(revokedKey, 0); !revoked || p.view.Freshness().Revision != 3 {
		t.Errorf("%+v", p.view.Freshness())
	}
}

func TestFeedsGoOnAfterARestart(t *testing.T) {
	p := newParts(t)
	var told []feed.Told
	p.announce = func(_ []record.Change, f feed.Told, _ record.Revision) { told = append(told, f) }
	p.must(t, founding(t, 1), revokeKey(t, 2), entry(t, 3, record.PutConsumer{Consumer: record.Consumer{ID: "x"}}))
	again := &applier{store: p.store, index: p.index, horizon: p.horizon, view: p.view, announce: p.announce}
	if _, err := again.Apply([]consensus.Entry{revokeKey(t, 4), revokeKey(t, 5)}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []event.Position{{Sequence: 1, Revision: 2}, {Sequence: 2, Revision: 4}} {
		if got := told[3+i].Entry; got.Revocations != want || got.Keys != (event.Position{Sequence: 1, Revision: 1}) || len(got.Items) != 1 {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// What happened is kept in the same batch as the change, and dropped when it is old.
func TestEventsExpire(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1), revokeKey(t, 2))
	facts, at, err := feed.Read(p.store, event.ID{}, 2, 10)
	if err != nil || len(facts) != 2 || facts[1].Type() != event.Revoked || facts[1].Record == nil || at != facts[1].ID {
		t.Fatalf("%+v %v", facts, err)
	}
	hour := record.Bucket(now.Unix() / 3600)
	p.must(t, entry(t, 3, record.Expire{Before: hour + 48}))
	if facts, _, err := feed.Read(p.store, event.ID{}, 3, 10); err != nil || len(facts) != 2 {
		t.Errorf("after 48 hours: %+v %v", facts, err)
	}
	p.must(t, entry(t, 4, record.Expire{Before: hour + 50}))
	var dropped *feed.Dropped
	if facts, _, err := feed.Read(p.store, event.ID{}, 4, 10); !errors.As(err, &dropped) {
		t.Errorf("after 50 hours: %+v %v", facts, err)
	}
	if _, revoked := p.view.Revoked(revokedKey, 0); !revoked {
		t.Error("the revocation went with its event")
	}
}

// P11: a node does not go on with a state, nor with a log, of which it knows too little.
func TestNewerLevelIsRefused(t *testing.T) {
	p := newParts(t)
	p.must(t, founding(t, 1), entry(t, 2, record.RaiseLevel{To: record.LevelNewest}))
	if l := p.view.Level(); l != record.LevelNewest {
		t.Fatalf("level %d", l)
	}
	if _, err := p.Apply([]consensus.Entry{entry(t, 3, record.RaiseLevel{To: record.LevelNewest + 1})}); err == nil {
		t.Error("a log of a newer level was applied")
	}
	value, err := record.Encode(record.LevelNewest + 1)
	if err != nil {
		t.Fatal(err)
	}
	batch := p.store.Begin()
	if err := errors.Join(batch.Put(record.TableMeta.Key([]byte("level")), value), batch.Commit(p.store.Applied())); err != nil {
		t.Fatal(err)
	}
	if err := p.load(); err == nil || !strings.Contains(err.Error(), "start a newer one") {
		t.Errorf("a state of a newer level was loaded: %v", err)
	}
}

// P12: a leader whose clock was set knows how far it is behind, though it has heard no other since.
func TestForemostClockGoesOn(t *testing.T) {
	began := time.Now() // with what measures, which Round takes off
	h := &heard{began: began, foremost: began.Add(2 * time.Second)}
	if ahead := h.aheadAt(began.Add(time.Minute)); ahead != 0 {
		t.Errorf("clocks that are right: %s", ahead)
	}
	behind := &heard{began: began, foremost: began.Add(40 * time.Hour)}
	for _, passed := range []time.Duration{0, time.Minute, time.Hour} {
		if ahead := behind.aheadAt(began.Add(passed)); ahead != 40*time.Hour {
			t.Errorf("after %s: %s", passed, ahead)
		}
	}
}

// P13: what a node reads as it starts is all that there is, in its order, however little of it is wanted.
func TestRecordsAreReadAhead(t *testing.T) {
	p := newParts(t)
	put := func(name string, value []byte) {
		t.Helper()
		b := p.store.Begin()
		at := p.store.Applied()
		at.Index++
		if err := errors.Join(b.Put(append(record.TableKeys.Key(), name...), value), b.Commit(at)); err != nil {
			t.Fatal(err)
		}
	}
	const keys = 2*aheadBy + 10
	b := p.store.Begin()
	for i := range keys {
		value, err := record.Encode(&record.APIKey{ID: fmt.Sprintf("key_%05d", i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Put(append(record.TableKeys.Key(), fmt.Sprintf("key_%05d", i)...), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(p.store.Applied()); err != nil {
		t.Fatal(err)
	}
	read := func(most int) (n int, err error) {
		for c, failed := range p.changes() {
			if failed != nil {
				err = failed
				continue
			}
			if k, ok := c.Record.(*record.APIKey); !ok || k.ID != fmt.Sprintf("key_%05d", n) {
				t.Fatalf("record %d is %+v", n, c.Record)
			}
			if n++; n == most {
				break
			}
		}
		return n, err
	}
	for _, most := range []int{1, aheadBy - 1, aheadBy, aheadBy + 1, 2 * aheadBy, keys - 1, keys} {
		if n, err := read(most); n != most || err != nil {
			t.Errorf("of %d wanted there are %d: %v", most, n, err)
		}
	}
	if n, err := read(-1); n != keys || err != nil {
		t.Errorf("%d in all: %v", n, err)
	}
	put(fmt.Sprintf("key_%05dx", aheadBy-1), []byte("no record"))
	for range 100 { // the reader is ahead of who stops, and may have met it
		if n, err := read(aheadBy); n != aheadBy || err != nil {
			t.Fatalf("of %d wanted there are %d: %v", aheadBy, n, err)
		}
	}
	if _, err := read(-1); err == nil {
		t.Error("what cannot be read is left out")
	}
}
