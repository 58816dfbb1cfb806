package feed

import (
	"encoding/binary"
	"fmt"
	"iter"

	"veto/record"
	"veto/record/event"
)

// Dropped says that what was asked for is kept no more.
type Dropped struct {
	// First is the first revision of which everything is kept.
	First record.Revision
}

func (d *Dropped) Error() string {
	return fmt.Sprintf("events before revision %d are kept no more", d.First)
}

// Read gives up to limit facts behind a place, of revisions up to through, with their records as
// they are now, and the place up to which it has looked: if that is at through, there is nothing
// more. What was dropped of it gives *Dropped.
func Read(s Reader, after event.ID, through record.Revision, limit int) (facts []event.Fact, at event.ID, err error) {
	at = after
	if after.Revision > through {
		return nil, at, nil // this node is behind the one that gave the place
	}
	full := false
	err = s.Scan(entryKey(after.Revision), entryKey(through+1), func(key, value []byte) (bool, error) {
		r := record.Revision(binary.BigEndian.Uint64(key[1:]))
		e, err := event.DecodeEntry(r, value)
		if err != nil {
			return false, fmt.Errorf("revision %d: %w", r, err)
		}
		for f := range e.Facts() {
			if r == after.Revision && f.ID.Number <= after.Number {
				continue
			}
			if full = len(facts) == limit; full {
				return false, nil
			}
			facts, at = append(facts, f), f.ID
		}
		return true, nil
	})
	if err != nil {
		return nil, after, err
	}
	// Only now: what is dropped while it is read is missing as well.
	p, err := readProgress(s)
	if err != nil {
		return nil, after, err
	}
	if after.Revision < p.First {
		return nil, after, &Dropped{p.First}
	}
	for i := range facts {
		if err := lookUp(s, &facts[i]); err != nil {
			return nil, after, err
		}
	}
	if !full && at.Revision < through {
		at = event.ID{Revision: through}
	}
	return facts, at, nil
}

// lookUp finds the record that the fact is about, if it is there still.
func lookUp(s Reader, f *event.Fact) error {
	key := record.RevocationKey(f.Item.Ref.Bucket, f.Item.Ref.Digest, f.Item.Ref.Cutoff)
	switch {
	case f.Item.Lifted != nil:
		return nil
	case f.Item.Key != "":
		key = record.TableKeys.Key([]byte(f.Item.Key))
	}
	b, ok, err := s.Get(key)
	if err != nil || !ok {
		return err
	}
	if f.Item.Key != "" {
		k := new(record.APIKey)
		f.Record = k
		return record.Decode(b, k)
	}
	r, ok, err := record.StoredRevocation(key, b, s.Get)
	if ok {
		f.Record = &r
	}
	return err
}

// Facts go through what was told, with the records as they were then.
func (t *Told) Facts() iter.Seq[event.Fact] {
	return func(yield func(event.Fact) bool) {
		n := 0
		for f := range t.Entry.Facts() {
			f.Record = t.Records[n]
			if n++; !yield(f) {
				return
			}
		}
	}
}
