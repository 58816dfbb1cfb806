package event_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"veto/record"
	"veto/record/event"
)

var (
	key = record.DigestKey{1}
	at  = time.Date(2026, 11, 25, 12, 0, 0, 7e6, time.UTC)
)

func revocation(target record.Target, value string) *record.Revocation {
	return &record.Revocation{
		Name: record.Name{Target: target, Issuer: "https://a.example", Value: value}, Reason: "leaked", By: "key_a",
		At: at, KeptUntil: at.Add(time.Hour), NotBefore: at.Truncate(time.Second), Revision: 7,
	}
}

func item(r *record.Revocation, lifted bool) event.Item {
	return event.RevocationItem(r, key.Digest(r.Name), lifted, "a mistake")
}

func entry() event.Entry {
	fresh, old := record.APIKey{ID: "key_1", Consumer: "shop", Created: 7}, record.APIKey{ID: "key_2", Created: 3}
	return event.Entry{
		Revision: 7, At: at, Revocations: event.Position{Sequence: 40, Revision: 5}, Keys: event.Position{Sequence: 9, Revision: 6},
		Items: []event.Item{
			item(revocation(record.TargetJTI, "one"), false), event.KeyItem(&fresh, false, 7),
			item(revocation(record.TargetSubject, "two"), true), event.KeyItem(&old, false, 7), event.KeyItem(&old, true, 7),
		},
	}
}

// E1
func TestEntryComesBack(t *testing.T) {
	e := entry()
	b, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.DecodeEntry(7, b)
	if err != nil || !cmp.Equal(got, e) {
		t.Errorf("%v\n%s", err, cmp.Diff(e, got))
	}
	for n := range b {
		if _, err := event.DecodeEntry(7, b[:n]); !errors.Is(err, event.ErrDamaged) {
			t.Errorf("the first %d of %d bytes: %v", n, len(b), err)
		}
	}
	many := event.Entry{Revision: 7, At: at, Items: slices.Repeat([]event.Item{item(revocation(record.TargetJTI, "one"), false)}, record.MaxRevocations)}
	if b, _ = many.Append(nil); len(b) > 30*record.MaxRevocations+40 {
		t.Errorf("%d bytes for %d revocations", len(b), record.MaxRevocations)
	}
}

// E1
func FuzzDecodeEntry(f *testing.F) {
	e := entry()
	b, _ := e.Append(nil)
	f.Add(b)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := event.DecodeEntry(1, b)
		if err != nil {
			return
		}
		for fact := range e.Facts() {
			if _, err := fact.Event("c"); err != nil {
				t.Errorf("%x: %v", b, err)
			}
			_ = fact.Topic()
		}
	})
}

// E2
func TestFactsCountOn(t *testing.T) {
	e := entry()
	type place struct {
		Type     event.Type
		ID       string
		Sequence uint64
		Previous record.Revision
	}
	var got []place
	for f := range e.Facts() {
		got = append(got, place{f.Type(), f.ID.String(), f.Sequence, f.Previous})
	}
	want := []place{
		{event.Revoked, "7.1", 41, 5},
		{event.KeyCreated, "7.2", 10, 6},
		{event.Lifted, "7.3", 42, 7},
		{event.KeyUpdated, "7.4", 11, 7},
		{event.KeyDeleted, "7.5", 12, 7},
	}
	if !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	revocations, keys := e.After()
	if revocations != (event.Position{Sequence: 42, Revision: 7}) || keys != (event.Position{Sequence: 12, Revision: 7}) {
		t.Errorf("%+v %+v", revocations, keys)
	}
}

func TestRolledKeyIsTold(t *testing.T) {
	k := &record.APIKey{ID: "key_1", Hash: record.KeyHash{9}, Created: 3, Rolled: 7, Rotating: &record.Rotating{Hash: record.KeyHash{8}, Hint: "veto_...abcd", Until: at}}
	e := event.Entry{Revision: 7, At: at, Items: []event.Item{event.KeyItem(k, false, 7), event.KeyItem(k, false, 8), event.KeyItem(k, true, 7)}}
	b, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if e, err = event.DecodeEntry(7, b); err != nil {
		t.Fatal(err)
	}
	want := []event.Type{event.KeyRotated, event.KeyUpdated, event.KeyDeleted}
	for f := range e.Facts() {
		f.Record = k
		out, err := f.Event("c")
		var data event.KeyData
		if err == nil {
			err = json.Unmarshal(out.Data, &data)
		}
		if n := f.ID.Number; err != nil || out.Type != want[n-1] || n < 3 && (data.Rotating == nil || data.Rotating.Hint != "veto_...abcd" || !data.Rotating.Until.Equal(at)) {
			t.Errorf("%s %s %v", out.Type, out.Data, err)
		}
	}
}

func TestLeakedKeyIsTold(t *testing.T) {
	k := &record.APIKey{ID: "key_1", Created: 3, LeakedAt: at, Leak: &record.Leak{Revision: 7, By: record.LeakGitHub}}
	e := event.Entry{Revision: 7, At: at, Items: []event.Item{event.KeyItem(k, false, 7), event.KeyItem(k, false, 8)}}
	b, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if e, err = event.DecodeEntry(7, b); err != nil {
		t.Fatal(err)
	}
	want := []event.Type{event.KeyLeaked, event.KeyUpdated}
	for f := range e.Facts() {
		f.Record = k
		out, err := f.Event("c")
		var data event.KeyData
		if err == nil {
			err = json.Unmarshal(out.Data, &data)
		}
		if err != nil || out.Type != want[f.ID.Number-1] || !data.LeakedAt.Equal(at) || data.Leak == nil || data.Leak.By != record.LeakGitHub {
			t.Errorf("%s %s %v", out.Type, out.Data, err)
		}
	}
}

// E3
func TestEventIsACloudEvent(t *testing.T) {
	e := entry()
	records := []record.Record{
		revocation(record.TargetJTI, "one"), &record.APIKey{ID: "key_1", Consumer: "shop", Hash: record.KeyHash{9}, Hint: "veto_...abcd"}, nil, nil, nil,
	}
	var last string
	for f := range e.Facts() {
		f.Record = records[f.ID.Number-1]
		out, err := f.Event("cluster-1")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(out)
		var all map[string]any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"id", "source", "type", "subject", "time", "sequence"} {
			if s, _ := all[name].(string); s == "" {
				t.Errorf("%s has no %s", text, name)
			}
		}
		if all["specversion"] != "1.0" || all["datacontenttype"] != "application/json" || len(out.Sequence) != 20 {
			t.Errorf("%s", text)
		}
		if out.Source == "/veto/cluster-1/revocations" {
			if out.Sequence <= last {
				t.Errorf("%s is not after %s", out.Sequence, last)
			}
			last = out.Sequence
		}
		data, _ := all["data"].(map[string]any)
		switch f.ID.Number {
		case 1:
			if f.Topic() != "veto.revoked.jti" || data["value"] != "one" || data["reason"] != "leaked" || data["revision"] != 7.0 || data["previous_revision"] != 5.0 || data["sequence"] != 41.0 || data["gone"] != nil {
				t.Errorf("%s", text)
			}
		case 2:
			if f.Topic() != "veto.key.created" || data["hint"] != "veto_...abcd" || data["disabled"] != false || data["hash"] != nil {
				t.Errorf("%s", text)
			}
		case 3:
			if f.Topic() != "veto.lifted.subject" || data["value"] != "two" || data["reason"] != "a mistake" {
				t.Errorf("%s", text)
			}
		case 5:
			if f.Topic() != "veto.key.deleted" || data["gone"] != true || data["id"] != "key_2" {
				t.Errorf("%s", text)
			}
		}
	}
	// What has gone since is told all the same.
	combined := revocation(record.TargetSubject, "x")
	combined.And = []record.Part{{Target: record.TargetClient, Value: "y"}}
	gone := event.Entry{Revision: 8, At: at, Items: []event.Item{item(combined, false)}}
	for f := range gone.Facts() {
		out, err := f.Event("c")
		var data event.RevocationData
		if err == nil {
			err = json.Unmarshal(out.Data, &data)
		}
		if err != nil || !data.Gone || data.Target != record.TargetSubject || data.ID != key.Digest(combined.Name).RevocationID() || data.Value != "" {
			t.Errorf("%s %v", out.Data, err)
		}
	}
}

func TestID(t *testing.T) {
	for _, good := range []event.ID{{}, {Revision: 42, Number: 1}, {Revision: 1<<64 - 1, Number: 1<<32 - 1}} {
		if got, err := event.ParseID(good.String()); err != nil || got != good {
			t.Errorf("%s: %v %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "1", "1.", ".1", "01.1", "1.1.1", "-1.1", "+1.1", "1.4294967296", "x.1"} {
		if _, err := event.ParseID(bad); err == nil {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}
