package machine_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"veto/record"
	"veto/record/trail"
	"veto/replication/machine"
)

// chained is founded with a chain from its first command on.
func chained(t testing.TB) (state, *record.Revision) {
	t.Helper()
	s, rev := state{}, new(record.Revision)
	found := record.Found{ClusterID: "c", DigestKey: record.DigestKey{1}, Admin: admin("key_a"), ChainAudit: true}
	if r := applyCommand(t, s, rev, record.Command{Stamp: stamp, Body: found}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	for _, b := range []record.Body{
		record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: iss, JWKSURI: "https://issuer.example/jwks", MaxLifetime: record.Duration(time.Hour), Leeway: record.Duration(time.Minute)}},
		record.PutConsumer{Consumer: record.Consumer{ID: "shop"}},
		record.CreateKey{Key: record.APIKey{ID: "key_s", Consumer: "shop", Hash: record.KeyHash{9}}},
	} {
		if r := apply(t, s, rev, stamp, b); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
	}
	return s, rev
}

// entries are those of the trail, in their order.
func entries(t testing.TB, s state) (all []trail.Entry) {
	t.Helper()
	from := record.TableAudit.Key()
	err := s.Scan(from, record.KeyAfter(from), func(k, v []byte) (bool, error) {
		var e trail.Entry
		err := record.Decode(v, &e)
		if !bytes.Equal(k, record.AuditKey(e.Revision, e.Number)) {
			t.Errorf("entry %s is kept under %x", e.Place(), k)
		}
		all = append(all, e)
		return true, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// verify follows the chain of the state, as what is exported of it.
func verify(t testing.TB, s state, heads ...trail.Head) (trail.Report, error) {
	t.Helper()
	var out bytes.Buffer
	if err := trail.Write(&out, "c", trail.Filter{}, trailOf{t, s}); err != nil {
		t.Fatal(err)
	}
	return trail.Verify(&out, heads...)
}

// trailOf is the trail of a state.
type trailOf struct {
	testing.TB
	state state
}

func (x trailOf) Audit(trail.Entry, int) ([]trail.Entry, error) { return entries(x, x.state), nil }

func (x trailOf) AuditHead() (trail.Head, error) {
	h, _, err := machine.AuditHead(x.state)
	return h, err
}

func (x trailOf) AuditAnchor() (trail.Head, error) {
	h, _, err := machine.AuditAnchor(x.state)
	return h, err
}

// M20: what is removed is what the command names, the chain is followed from there on, and an entry says so.
func TestTrailIsCut(t *testing.T) {
	s, rev := chained(t)
	cutAt := func(e trail.Entry) record.CutAudit {
		return record.CutAudit{Through: e.Revision, Number: e.Number, Hash: e.Hash}
	}
	cut := func(by string, b record.CutAudit) record.Result {
		return applyCommand(t, s, rev, record.Command{Stamp: stamp, By: by, Body: b})
	}
	all := entries(t, s)
	before := maps.Clone(s)
	other := cutAt(all[1])
	other.Hash[0]++
	for name, b := range map[string]record.CutAudit{"of another hash": other, "the last": cutAt(all[len(all)-1]), "none": {Through: 99, Hash: all[1].Hash}, "nothing": {}} {
		if r := cut("", b); r.Rejection != nil || !maps.Equal(s, before) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := cut("key_a", cutAt(all[1])); r.Rejection == nil || !maps.Equal(s, before) {
		t.Errorf("by an admin: %+v", r)
	}
	for n, through := range []int{1, 2} {
		if r := cut("", cutAt(all[through])); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
		left := entries(t, s)
		if left[0].Sequence != uint64(through+2) || len(left) != len(all)-through-1+n+1 {
			t.Errorf("%d entries are left, from number %d on", len(left), left[0].Sequence)
		}
		last := left[len(left)-1]
		if last.Action != trail.ActionCut || last.By != "" || !strings.HasSuffix(last.Refs[0], "@"+all[through].Place()) {
			t.Errorf("%+v", last)
		}
		if r, err := verify(t, s); err != nil || r.Removed != uint64(through+1) || r.Entries != uint64(len(left)) {
			t.Errorf("%+v %v", r, err)
		}
		if r := cut("", cutAt(all[through])); r.Ref != "" || len(entries(t, s)) != len(left) {
			t.Errorf("again: %+v", r)
		}
	}
}

// commands are of all kinds, with those of outboxes and streams, by anyone.
func commands() *rapid.Generator[record.Command] {
	return rapid.Custom(func(t *rapid.T) record.Command {
		by := rapid.SampledFrom([]string{"key_a", "key_s", "key_gone", ""}).Draw(t, "by")
		c := record.Command{Stamp: stamp, By: by, From: record.Origin{Node: "n1", Way: record.WayHTTP, Address: "192.0.2.1"}}
		n := rapid.IntRange(1, 14).Draw(t, "items")
		switch rapid.IntRange(0, 5).Draw(t, "how") {
		case 0:
			d := record.Deliver{Outbox: record.OutboxID{1}, First: uint64(rapid.IntRange(1, 9).Draw(t, "first"))}
			for i := range n {
				d.Items = append(d.Items, record.Taken{Revocation: revocation(record.TargetJTI, fmt.Sprint(i)), By: by, From: c.From})
			}
			c.By, c.Body = "", d
		case 1:
			var values []string
			for i := range n {
				values = append(values, fmt.Sprint(i))
			}
			c.Body, c.Request = imported("k", uint64(rapid.IntRange(1, 9).Draw(t, "first")), values...).Body, record.Request{Key: "k"}
		case 2:
			c.Body = record.ChainAudit{}
		default:
			c.Body = bodies().Draw(t, "body")
		}
		return c
	})
}

// M8
func TestAnyAlteredEntryIsFound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, rev := chained(t)
		for range rapid.IntRange(2, 20).Draw(rt, "n") {
			applyCommand(t, s, rev, commands().Draw(rt, "command"))
		}
		head, _, err := machine.AuditHead(s)
		if err != nil {
			rt.Fatal(err)
		}
		all := entries(t, s)
		if r, err := verify(t, s, head); err != nil || r.Entries != uint64(len(all)) || r.Before != 0 {
			rt.Fatalf("%+v %v", r, err)
		}
		i := rapid.IntRange(0, len(all)-1).Draw(rt, "entry")
		key := string(record.AuditKey(all[i].Revision, all[i].Number))
		switch rapid.IntRange(0, 2).Draw(rt, "what") {
		case 0:
			e := all[i]
			rapid.SampledFrom([]func(){
				func() { e.By += "x" }, func() { e.ByName += "x" }, func() { e.At = e.At.Add(time.Millisecond) }, func() { e.Action = "none" },
				func() { e.Refs = append(slices.Clone(e.Refs), "x") }, func() { e.Refs = nil }, func() { e.From.Address += "x" }, func() { e.Reason += "x" },
				func() { e.Hash[3]++ }, func() { e.Sequence++ }, func() { e.More++ }, func() { e.Sum[0]++ }, func() { e.Kinds = nil },
				func() { e.Changes = append(slices.Clone(e.Changes), trail.Change{Of: "x"}) }, func() { e.Sequence, e.Hash = 0, trail.Hash{} },
			}).Draw(rt, "change")()
			b, err := record.Encode(e)
			if err != nil {
				rt.Fatal(err)
			}
			s[key] = string(b)
		case 1:
			delete(s, key)
		case 2:
			j := (i + rapid.IntRange(1, len(all)-1).Draw(rt, "other")) % len(all)
			a, b := all[i], all[j]
			a.Revision, a.Number, b.Revision, b.Number = b.Revision, b.Number, a.Revision, a.Number
			for _, e := range []trail.Entry{a, b} {
				v, err := record.Encode(e)
				if err != nil {
					rt.Fatal(err)
				}
				s[string(record.AuditKey(e.Revision, e.Number))] = string(v)
			}
		}
		var broken *trail.Broken
		if _, err := verify(t, s); !errors.As(err, &broken) {
			rt.Fatalf("not found: %v", err)
		}
	})
}

// M8: the same log gives the same head, and what was refused moves none.
func TestSameLogSameHead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, revA := chained(t)
		b, revB := chained(t)
		for range rapid.IntRange(1, 20).Draw(rt, "n") {
			c := commands().Draw(rt, "command")
			before, trailBefore := a[string(record.TableMeta.Key([]byte("audit/head")))], len(entries(t, a))
			r := applyCommand(t, a, revA, c)
			applyCommand(t, b, revB, c)
			after := a[string(record.TableMeta.Key([]byte("audit/head")))]
			if moved := len(entries(t, a)) > trailBefore; moved != (before != after) || r.Rejection != nil && moved {
				rt.Fatalf("%+v: the head moved: %v; an entry was written: %v", r, before != after, moved)
			}
		}
		if d := cmp.Diff(a, b); d != "" {
			rt.Fatal(d)
		}
	})
}

// M8: a state from before the chain is chained from the command on that says so, once.
func TestChainBeginsLater(t *testing.T) {
	s, rev := founded(t)
	old := len(entries(t, s))
	if _, ok, err := machine.AuditHead(s); ok || err != nil || entries(t, s)[0].Sequence != 0 {
		t.Fatalf("%v %v", ok, err)
	}
	begin := record.Command{Stamp: stamp, Body: record.ChainAudit{}}
	applyCommand(t, s, rev, begin)
	began := *rev
	apply(t, s, rev, stamp, record.PutConsumer{Consumer: record.Consumer{ID: "x"}})
	before := maps.Clone(s)
	if r := applyCommand(t, s, rev, begin); r.Rejection != nil || cmp.Diff(before, s) != "" {
		t.Errorf("%+v: it began again", r)
	}
	if r, err := verify(t, s); err != nil || r.Before != uint64(old) || r.Began != began || r.Entries != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

// M9
func TestEntriesSayWhoWhatAndWhereFrom(t *testing.T) {
	s, rev := chained(t)
	from := record.Origin{Node: "n2", Way: record.WayHTTP, Address: "192.0.2.7"}
	change := func(by string, b record.Body) trail.Entry {
		t.Helper()
		if r := applyCommand(t, s, rev, record.Command{Stamp: stamp, By: by, From: from, Body: b}); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
		all := entries(t, s)
		return all[len(all)-1]
	}
	name := "till 3"
	if e := change("key_a", record.UpdateKey{ID: "key_s", Name: &name, Metadata: []byte(`{"pin":"1234"}`)}); e.From != from || e.By != "key_a" ||
		!cmp.Equal(e.Changes, []trail.Change{{Of: "key_s", Field: "metadata"}, {Of: "key_s", Field: "name", To: "till 3"}}) || !cmp.Equal(e.Kinds, []string{"key"}) {
		t.Errorf("%+v", e)
	}
	if e := change("key_s", record.PutConsumer{Consumer: record.Consumer{ID: "shop", Disabled: true}}); e.ByName != "till 3" || !cmp.Equal(e.Changes, []trail.Change{{Of: "shop", Field: "disabled", From: "false", To: "true"}}) {
		t.Errorf("%+v", e)
	}
	i := record.Issuer{ID: "one", Issuer: iss, JWKSURI: "https://issuer.example/jwks?key=secret", MaxLifetime: record.Duration(2 * time.Hour), Leeway: record.Duration(time.Minute)}
	if e := change("key_a", record.PutIssuer{Issuer: i}); !slices.Contains(e.Changes, trail.Change{Of: "one", Field: "jwks_uri", From: "https://issuer.example/jwks", To: "https://issuer.example/jwks?..."}) || strings.Contains(fmt.Sprint(e), "=secret") {
		t.Errorf("%+v", e)
	}
	k := record.APIKey{ID: "key_i", Consumer: "shop", Hash: record.KeyHash{7}, Hint: "sk-…x", Imported: true}
	if e := change("key_a", record.CreateKey{Key: k}); !cmp.Equal(e.Changes, []trail.Change{
		{Of: "key_i", Field: "consumer", To: "shop"}, {Of: "key_i", Field: "imported", To: "true"},
	}) {
		t.Errorf("%+v", e)
	}
	// An own deletion names who it was.
	if e := change("key_s", record.DeleteKey{ID: "key_s"}); e.ByName != "till 3" || !cmp.Equal(e.Refs, []string{"key_s"}) {
		t.Errorf("%+v", e)
	}
	// Of many the first ten are named, and the others bound by their ids.
	c := imported("k", 1, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11")
	sum := sha256.New()
	for n, target := range []record.Target{record.TargetJTI, record.TargetSubject} {
		d := record.DigestKey{1}.Digest(revocation(target, fmt.Sprint(10+n)).Name)
		sum.Write(d[:])
	}
	applyCommand(t, s, rev, c)
	all := entries(t, s)
	if e := all[len(all)-1]; len(e.Refs) != 10 || e.More != 2 || !bytes.Equal(e.Sum[:], sum.Sum(nil)) {
		t.Errorf("%+v", e)
	}
	// What is no text is made one, so that what is exported is what was hashed.
	bad := "a\xff<" + strings.Repeat("ü", 300)
	from.Address, from.Way = bad, bad
	change("key_a", record.PutConsumer{Consumer: record.Consumer{ID: "shop", Name: "<&>"}})
	if _, err := verify(t, s); err != nil {
		t.Error(err)
	}
}
