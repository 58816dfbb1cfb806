package feed

import (
	"encoding/binary"
	"fmt"

	"veto/record"
	"veto/record/event"
)

// Reader is what is read from.
type Reader interface {
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan goes through keys from (inclusive) to (exclusive) in order, until fn says no more.
	Scan(from, to []byte, fn func(key, value []byte) (more bool, err error)) error
}

// State is what is written to. A writer sees its own writes.
type State interface {
	Reader
	Put(key, value []byte) error
	// DeleteRange deletes from (inclusive) to (exclusive).
	DeleteRange(from, to []byte) error
}

// keptHours is for how long an entry is kept, counted from the end of its hour.
const keptHours = 48

// progress is how far the feeds have come, so that whoever leads next goes on where the last
// leader ended.
type progress struct {
	Revocations record.Revision `cbor:"1,keyasint,omitempty"`
	Keys        record.Revision `cbor:"2,keyasint,omitempty"`
	// The numbers of their last events.
	RevocationCount uint64 `cbor:"3,keyasint,omitempty"`
	KeyCount        uint64 `cbor:"4,keyasint,omitempty"`
	// First is the first revision of which entries are kept.
	First record.Revision `cbor:"5,keyasint,omitempty"`
	// Hour is the last that was marked.
	Hour record.Bucket `cbor:"6,keyasint,omitempty"`
}

var progressKey = record.TableMeta.Key([]byte("feeds"))

// markKey is where the first revision of an hour is kept: so that what is old is found without
// looking at it.
func markKey(hour record.Bucket) []byte {
	return record.TableMeta.Key([]byte("feeds/"), hour.Bytes())
}

func entryKey(r record.Revision) []byte { return record.TableEvents.Key(r.Bytes()) }

func readProgress(s Reader) (progress, error) {
	var p progress
	b, ok, err := s.Get(progressKey)
	if err == nil && ok {
		err = record.Decode(b, &p)
	}
	return p, err
}

func (p *progress) write(s State) error {
	b, err := record.Encode(p)
	if err != nil {
		return err
	}
	return s.Put(progressKey, b)
}

// Told is what one command gave to tell.
type Told struct {
	Entry event.Entry
	// Records of the entry's items, in their order.
	Records []record.Record
}

// Write writes what the command changed into the state.
func Write(s State, c record.Command, changes []record.Change, r record.Revision) (Told, error) {
	var t Told
	if t.collect(c, changes, r); len(t.Entry.Items) == 0 {
		return t, nil
	}
	p, err := readProgress(s)
	if err != nil {
		return t, err
	}
	t.Entry.Revision, t.Entry.At = r, c.Stamp
	t.Entry.Revocations = event.Position{Sequence: p.RevocationCount, Revision: p.Revocations}
	t.Entry.Keys = event.Position{Sequence: p.KeyCount, Revision: p.Keys}
	b, err := t.Entry.Append(nil)
	if err == nil {
		err = s.Put(entryKey(r), b)
	}
	if err == nil {
		err = p.mark(s, c, r)
	}
	if err != nil {
		return t, err
	}
	revocations, keys := t.Entry.After()
	p.RevocationCount, p.Revocations = revocations.Sequence, revocations.Revision
	p.KeyCount, p.Keys = keys.Sequence, keys.Revision
	return t, p.write(s)
}

func (t *Told) collect(c record.Command, changes []record.Change, r record.Revision) {
	reason := ""
	if lift, ok := c.Body.(record.Lift); ok {
		reason = lift.Reason
	}
	lifted := false
	t.Entry.Items, t.Records = make([]event.Item, 0, len(changes)), make([]record.Record, 0, len(changes))
	for _, change := range changes {
		switch item := change.Record.(type) {
		case *record.Revocation:
			if item.OfCanary() {
				continue // the cluster's own: of no concern to anyone else
			}
			if change.Gone && lifted {
				continue // a name is lifted once, however many revocations it had
			}
			lifted = change.Gone
			t.Entry.Items = append(t.Entry.Items, event.RevocationItem(item, change.Digest, change.Gone, reason))
			t.Records = append(t.Records, item)
		case *record.APIKey:
			t.Entry.Items = append(t.Entry.Items, event.KeyItem(item, change.Gone, r))
			t.Records = append(t.Records, item)
		}
	}
}

// mark notes the first revision of the command's hour. Leaders' clocks may go back: then an hour has
// its mark already.
func (p *progress) mark(s State, c record.Command, r record.Revision) error {
	hour := record.Bucket(c.Stamp.Unix() / secondsPerHour)
	if p.Hour == hour {
		return nil
	}
	p.Hour = hour
	_, there, err := s.Get(markKey(hour))
	if err != nil || there {
		return err
	}
	return s.Put(markKey(hour), r.Bytes())
}

const secondsPerHour = 3600

// Expire drops the entries whose hour ended 48 hours before the bucket's. Revisions and times of the
// log need not be in the same order, so it goes by the lowest revision of what has to stay.
func Expire(s State, before record.Bucket) error {
	if before <= keptHours {
		return nil
	}
	oldest := before - keptHours
	from, to := markKey(0), markKey(oldest)
	if some, err := anyKey(s, from, to); err != nil || !some {
		return err
	}
	first, err := firstFrom(s, oldest)
	if err != nil {
		return err
	}
	p, err := readProgress(s)
	if err != nil {
		return err
	}
	if first == 0 { // nothing has to stay
		first = max(p.Revocations, p.Keys) + 1
	}
	if err := s.DeleteRange(from, to); err != nil {
		return err
	}
	// Or a reader would be sent away for nothing.
	if some, err := anyKey(s, record.TableEvents.Key(), entryKey(first)); err != nil || !some {
		return err
	}
	p.First = first
	if err := s.DeleteRange(record.TableEvents.Key(), entryKey(first)); err != nil {
		return err
	}
	return p.write(s)
}

// anyKey tells whether there is a key from (inclusive) to (exclusive).
func anyKey(s Reader, from, to []byte) (some bool, err error) {
	err = s.Scan(from, to, func(_, _ []byte) (bool, error) {
		some = true
		return false, nil
	})
	return some, err
}

// firstFrom is the lowest revision of the hours from the given one on; 0 if they have none.
func firstFrom(s State, oldest record.Bucket) (record.Revision, error) {
	var first record.Revision
	err := s.Scan(markKey(oldest), record.KeyAfter(record.TableMeta.Key([]byte("feeds/"))), func(_, value []byte) (bool, error) {
		if len(value) != len(first.Bytes()) {
			return false, fmt.Errorf("feed: the mark of an hour is damaged")
		}
		if r := record.Revision(binary.BigEndian.Uint64(value)); first == 0 || r < first {
			first = r
		}
		return true, nil
	})
	return first, err
}
