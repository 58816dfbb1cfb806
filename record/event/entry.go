package event

import (
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"time"

	"veto/record"
)

// Kind is what happened. The numbers are on disk and never change.
type Kind uint8

// The kinds.
const (
	kindRevoked    Kind = 1
	kindLifted     Kind = 2
	kindKeyCreated Kind = 3
	kindKeyUpdated Kind = 4
	kindKeyDeleted Kind = 5
	kindKeyRotated Kind = 6
	kindKeyLeaked  Kind = 7
)

// Item is one thing that happened at a revision, as the state keeps it.
type Item struct {
	Kind Kind
	// Ref is where the revocation is, or was.
	Ref record.Entry
	// Lifted is the name of what was lifted, which is not to be found any more.
	Lifted *record.Name
	// Reason that was given for lifting it.
	Reason string
	// Key is the id of an API key, Consumer whose it is.
	Key, Consumer string
}

// ofRevocation tells whether the kind is about a revocation.
func (k Kind) ofRevocation() bool { return k == kindRevoked || k == kindLifted }

// Position is how far a feed has come: the number of its last event, and the revision of that.
type Position struct {
	Sequence uint64
	Revision record.Revision
}

// Entry is all that happened at one revision.
type Entry struct {
	Revision record.Revision
	At       time.Time
	// Revocations and Keys are how far the feeds had come before.
	Revocations, Keys Position
	Items             []Item
}

// After is how far the feeds have come with the entry.
func (e *Entry) After() (revocations, keys Position) {
	revocations, keys = e.Revocations, e.Keys
	for i := range e.Items {
		p := &keys
		if e.Items[i].Kind.ofRevocation() {
			p = &revocations
		}
		p.Sequence, p.Revision = p.Sequence+1, e.Revision
	}
	return revocations, keys
}

// Facts goes through what happened, with its place in its feed. The records are not in it.
func (e *Entry) Facts() iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		revocations, keys := e.Revocations, e.Keys
		for i, item := range e.Items {
			p := &keys
			if item.Kind.ofRevocation() {
				p = &revocations
			}
			f := Fact{ID: ID{e.Revision, uint32(i + 1)}, At: e.At, Sequence: p.Sequence + 1, Previous: p.Revision, Item: item}
			p.Sequence, p.Revision = f.Sequence, e.Revision
			if !yield(f) {
				return
			}
		}
	}
}

// The byte form: a format, the header's numbers, and the items one behind the other.
const (
	entryFormat = 1
	refBytes    = 4 + len(record.Digest{}) + 8
	entryRoom   = 64 // for the header's numbers
)

// ErrDamaged says that bytes are no entry.
var ErrDamaged = errors.New("event: this is no entry")

// Append appends the byte form, without the revision, which is in its key.
func (e *Entry) Append(b []byte) ([]byte, error) {
	b = append(slices.Grow(b, entryRoom+len(e.Items)*(1+refBytes)), entryFormat)
	b = binary.AppendVarint(b, e.At.UnixMilli())
	for _, p := range []Position{e.Revocations, e.Keys} {
		b = binary.AppendUvarint(b, p.Sequence)
		b = binary.AppendUvarint(b, uint64(p.Revision))
	}
	b = binary.AppendUvarint(b, uint64(len(e.Items)))
	for i := range e.Items {
		item := &e.Items[i]
		b = append(b, byte(item.Kind))
		if !item.Kind.ofRevocation() {
			b = appendText(appendText(b, item.Key), item.Consumer)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(item.Ref.Bucket))
		b = append(b, item.Ref.Digest[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(item.Ref.Cutoff))
		if item.Kind != kindLifted {
			continue
		}
		name, err := record.Encode(item.Lifted)
		if err != nil {
			return nil, err
		}
		b = appendText(appendText(b, string(name)), item.Reason)
	}
	return b, nil
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// DecodeEntry reads what Append wrote. It keeps nothing of the bytes.
func DecodeEntry(r record.Revision, b []byte) (Entry, error) {
	in := &input{rest: b}
	e := Entry{Revision: r}
	if in.byte() != entryFormat {
		return e, ErrDamaged
	}
	e.At = time.UnixMilli(in.varint()).UTC()
	if y := e.At.Year(); y < 0 || y > 9999 { // it could not be told in JSON
		return e, ErrDamaged
	}
	for _, p := range []*Position{&e.Revocations, &e.Keys} {
		p.Sequence, p.Revision = in.uvarint(), record.Revision(in.uvarint())
	}
	n := in.uvarint()
	if n > uint64(len(in.rest)) {
		return e, ErrDamaged
	}
	e.Items = make([]Item, n)
	for i := range e.Items {
		e.Items[i] = in.item()
	}
	if in.bad || len(in.rest) > 0 {
		return e, ErrDamaged
	}
	return e, nil
}

// input is read from the front. Once it is bad it gives zeros.
type input struct {
	rest []byte
	bad  bool
}

func (in *input) take(n uint64) []byte {
	if n > uint64(len(in.rest)) {
		in.bad, in.rest = true, nil
		return nil
	}
	b := in.rest[:n]
	in.rest = in.rest[n:]
	return b
}

func (in *input) byte() byte {
	if b := in.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (in *input) uvarint() uint64 {
	v, n := binary.Uvarint(in.rest)
	in.take(uint64(max(n, 0)))
	in.bad = in.bad || n <= 0
	return v
}

func (in *input) varint() int64 {
	v, n := binary.Varint(in.rest)
	in.take(uint64(max(n, 0)))
	in.bad = in.bad || n <= 0
	return v
}

func (in *input) text() []byte { return in.take(in.uvarint()) }

func (in *input) item() Item {
	item := Item{Kind: Kind(in.byte())}
	switch item.Kind {
	case kindRevoked, kindLifted:
		if b := in.take(uint64(refBytes)); b != nil {
			item.Ref.Bucket = record.Bucket(binary.BigEndian.Uint32(b))
			copy(item.Ref.Digest[:], b[4:])
			item.Ref.Cutoff = int64(binary.BigEndian.Uint64(b[refBytes-8:]))
		}
	case kindKeyCreated, kindKeyUpdated, kindKeyDeleted, kindKeyRotated, kindKeyLeaked:
		item.Key, item.Consumer = string(in.text()), string(in.text())
	default: // it would have to be skipped, and its length is not known
		in.bad = true
	}
	if item.Kind == kindLifted {
		item.Lifted = new(record.Name)
		in.bad = record.Decode(in.text(), item.Lifted) != nil || in.bad
		item.Reason = string(in.text())
	}
	return item
}

// RevocationItem is a revocation that was made, or lifted for the reason.
func RevocationItem(r *record.Revocation, d record.Digest, lifted bool, reason string) Item {
	item := Item{Kind: kindRevoked, Ref: record.Entry{Bucket: r.Bucket(), Digest: d, Cutoff: r.Cutoff()}}
	if lifted {
		name := r.Name
		item.Kind, item.Lifted, item.Reason = kindLifted, &name, reason
	}
	return item
}

// KeyItem is an API key that was made, changed, rolled, found leaked or deleted at the revision.
func KeyItem(k *record.APIKey, gone bool, at record.Revision) Item {
	item := Item{Kind: kindKeyUpdated, Key: k.ID, Consumer: k.Consumer}
	switch {
	case gone:
		item.Kind = kindKeyDeleted
	case k.Created == at:
		item.Kind = kindKeyCreated
	case k.Rolled == at:
		item.Kind = kindKeyRotated
	case k.Leak != nil && k.Leak.Revision == at:
		item.Kind = kindKeyLeaked
	}
	return item
}
