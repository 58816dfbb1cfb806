package feed_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"veto/record"
	"veto/record/event"
	"veto/replication/feed"
)

// state is a sorted map.
type state map[string][]byte

func (s state) Get(key []byte) ([]byte, bool, error) {
	v, ok := s[string(key)]
	return v, ok, nil
}

func (s state) Put(key, value []byte) error {
	s[string(key)] = slices.Clone(value)
	return nil
}

func (s state) DeleteRange(from, to []byte) error {
	maps.DeleteFunc(s, func(k string, _ []byte) bool { return k >= string(from) && k < string(to) })
	return nil
}

func (s state) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if k < string(from) || k >= string(to) {
			continue
		}
		if more, err := fn([]byte(k), s[k]); err != nil || !more {
			return err
		}
	}
	return nil
}

var (
	digestKey = record.DigestKey{1}
	start     = time.Date(2026, 11, 25, 12, 10, 0, 0, time.UTC)
)

// log writes what happens at one revision after the other.
type log struct {
	*testing.T
	state
	revision record.Revision
	at       time.Time
}

func newLog(t *testing.T) *log {
	t.Helper()
	return &log{T: t, state: state{}, at: start}
}

func (l *log) write(body record.Body, changes ...record.Change) feed.Told {
	l.Helper()
	l.revision++
	for i, c := range changes {
		if r, ok := c.Record.(*record.Revocation); ok {
			changes[i].Digest = digestKey.Digest(r.Name)
		}
	}
	told, err := feed.Write(l.state, record.Command{Stamp: l.at, Body: body}, changes, l.revision)
	if err != nil {
		l.Fatal(err)
	}
	return told
}

func revocation(value string) *record.Revocation {
	return &record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: "i", Value: value}, At: start}
}

// revoke writes revocations, and the records as well.
func (l *log) revoke(values ...string) feed.Told {
	l.Helper()
	var changes []record.Change
	for _, v := range values {
		r := revocation(v)
		r.Revision = l.revision + 1
		b, _ := record.Encode(r)
		l.state[string(record.RevocationKey(r.Bucket(), digestKey.Digest(r.Name), r.Cutoff()))] = b
		changes = append(changes, record.Change{Record: r})
	}
	return l.write(record.Revoke{}, changes...)
}

func (l *log) expire(now time.Time) {
	l.Helper()
	if err := feed.Expire(l.state, record.Bucket(now.Unix()/3600)); err != nil {
		l.Fatal(err)
	}
}

// all reads everything behind a place, in pages, as the values and numbers of what happened.
func (l *log) all(after event.ID, page int) (out []string) {
	l.Helper()
	for {
		facts, at, err := feed.Read(l.state, after, l.revision, page)
		if err != nil {
			l.Fatal(err)
		}
		for _, f := range facts {
			name := f.Item.Key
			if r, ok := f.Record.(*record.Revocation); ok {
				name = r.Value
			}
			out = append(out, fmt.Sprintf("%s %s %d", f.ID, name, f.Sequence))
		}
		if len(facts) == 0 {
			if at.Revision != max(l.revision, after.Revision) {
				l.Errorf("looked up to %s, want %d", at, l.revision)
			}
			return out
		}
		after = at
	}
}

// F1
func TestEntriesAreDeterministic(t *testing.T) {
	run := func() state {
		l := newLog(t)
		for i := range 5 {
			l.revoke(fmt.Sprint(i), "again")
			l.write(record.DeleteConsumer{}, record.Change{Record: &record.APIKey{ID: "key_1"}, Gone: true}, record.Change{Record: &record.Consumer{ID: "c"}, Gone: true})
			l.at = l.at.Add(20 * time.Hour)
		}
		l.expire(l.at)
		return l.state
	}
	if a, b := run(), run(); !cmp.Equal(a, b) {
		t.Error(cmp.Diff(a, b))
	}
}

// F1
func TestFeedsCount(t *testing.T) {
	l := newLog(t)
	l.revoke("a", "b")
	l.write(record.PutConsumer{}, record.Change{Record: &record.Consumer{ID: "c"}})
	l.write(record.CreateKey{}, record.Change{Record: &record.APIKey{ID: "key_1", Created: 3}})
	// A name of which there were several revocations is lifted once.
	told := l.write(record.Lift{Reason: "why"}, record.Change{Record: revocation("a"), Gone: true}, record.Change{Record: revocation("a"), Gone: true})
	l.write(record.Expire{}, record.Change{Record: &record.Expiry{Before: 9}, Gone: true})
	l.revoke("c")
	if got, want := l.all(event.ID{}, 100), []string{"1.1 a 1", "1.2 b 2", "3.1 key_1 1", "4.1  3", "6.1 c 4"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if f := slices.Collect(told.Facts()); len(f) != 1 || f[0].Type() != event.Lifted || f[0].Item.Lifted.Value != "a" || f[0].Item.Reason != "why" || f[0].Previous != 1 {
		t.Errorf("%+v", f)
	}
	entries := 0
	for k := range l.state {
		if k[0] == byte(record.TableEvents) {
			entries++
		}
	}
	if entries != 4 {
		t.Errorf("%d entries: one a revision at which something happened", entries)
	}
}

// F2
func TestReadInPages(t *testing.T) {
	l := newLog(t)
	for i := range 7 {
		values := make([]string, i)
		for n := range values {
			values[n] = fmt.Sprintf("%d-%d", i, n)
		}
		l.revoke(values...)
	}
	whole := l.all(event.ID{}, 1000)
	if len(whole) != 21 {
		t.Fatalf("%v", whole)
	}
	for page := 1; page < 23; page++ {
		if got := l.all(event.ID{}, page); !slices.Equal(got, whole) {
			t.Errorf("in pages of %d: %s", page, cmp.Diff(whole, got))
		}
	}
	for i, text := range whole {
		var after event.ID
		if _, err := fmt.Sscanf(text, "%d.%d", &after.Revision, &after.Number); err != nil {
			t.Fatal(err)
		}
		if got := l.all(after, 4); !slices.Equal(got, whole[i+1:]) {
			t.Errorf("after %s: %s", after, cmp.Diff(whole[i+1:], got))
		}
	}
	if facts, at, err := feed.Read(l.state, event.ID{Revision: 99, Number: 3}, l.revision, 10); len(facts) > 0 || err != nil || at.Revision != 99 || at.Number != 3 {
		t.Errorf("a place that is not reached yet: %v %v %v", facts, at, err)
	}
}

// F3
func TestKeptForTwoDays(t *testing.T) {
	l := newLog(t)
	l.revoke("first")
	l.at = start.Add(time.Hour)
	l.revoke("second")
	l.at = start.Add(-3 * time.Hour) // a leader with another clock
	l.revoke("third")
	l.at = start.Add(time.Hour + time.Minute)
	l.revoke("fourth")
	hour := start.Truncate(time.Hour)
	l.expire(hour.Add(48 * time.Hour))
	if got := l.all(event.ID{}, 10); len(got) != 4 {
		t.Errorf("dropped before 48 hours: %v", got)
	}
	l.expire(hour.Add(49 * time.Hour))
	if got := l.all(event.ID{Revision: 2}, 10); !slices.Equal(got, []string{"2.1 second 2", "3.1 third 3", "4.1 fourth 4"}) {
		t.Errorf("%v", got)
	}
	l.expire(hour.Add(51 * time.Hour))
	for k := range l.state {
		if k[0] == byte(record.TableEvents) {
			t.Errorf("an entry is still there: %x", k)
		}
	}
	l.at = start.Add(60 * time.Hour)
	l.revoke("fifth")
	l.expire(l.at.Add(24 * time.Hour))
	if got := l.all(event.ID{Revision: 5}, 10); !slices.Equal(got, []string{"5.1 fifth 5"}) {
		t.Errorf("%v", got)
	}
}

// F3
func TestDroppedIsSaid(t *testing.T) {
	l := newLog(t)
	l.revoke("a")
	l.revoke("b")
	l.at = l.at.Add(10 * time.Hour)
	l.revoke("c")
	l.expire(l.at.Add(40 * time.Hour))
	var dropped *feed.Dropped
	for _, after := range []event.ID{{}, {Revision: 1, Number: 1}, {Revision: 2}} {
		if facts, _, err := feed.Read(l.state, after, l.revision, 10); !errors.As(err, &dropped) || dropped.First != 3 || len(facts) > 0 {
			t.Errorf("after %s: %v %v", after, facts, err)
		}
	}
	if got := l.all(event.ID{Revision: 3}, 10); !slices.Equal(got, []string{"3.1 c 3"}) {
		t.Errorf("%v", got)
	}
	// A record that has gone since is told of all the same.
	maps.DeleteFunc(l.state, func(k string, _ []byte) bool { return k[0] == byte(record.TableRevocations) })
	facts, _, err := feed.Read(l.state, event.ID{Revision: 3}, l.revision, 10)
	if err != nil || len(facts) != 1 || facts[0].Record != nil || facts[0].Type() != event.Revoked {
		t.Errorf("%+v %v", facts, err)
	}
}
