package machine

import (
	"bytes"
	"errors"
	"slices"

	"veto/record"
)

// stream is part of a stream that is being taken in.
type stream struct {
	*change
	alike []alike
	puts  []written
	// made has room for as many as there are items: one by one they would be many to clear away.
	made []record.Revocation
	// room is where values are encoded before they are written.
	room []byte
}

// alike is what items of a stream have in common, with what was found out for it: how long such
// revocations are kept is the same for all values, if the target is one of an issuer.
type alike struct {
	revocation record.Revocation
	bucket     record.Bucket
	// group is the number of the first that lies where this one does.
	group   byte
	known   bool
	err     error
	stencil record.Stencil
	// few are too few for what they have in common to be kept apart; short stands for that if it is.
	few    bool
	short  record.Alike
	common []byte
}

// fewAlike is how many take no more room whole.
const fewAlike = 8

// written is a revocation to be written; its bytes are in stream.room.
type written struct {
	entry    record.Entry
	from, to int
	of       *alike
}

// sort puts them out in the order of what by gives, and where that is the same, as they were.
func sort(in, out []*written, by func(*written) byte) {
	var at [1<<8 + 1]int
	for _, w := range in {
		at[int(by(w))+1]++
	}
	for i := range at[1:] {
		at[i+1] += at[i]
	}
	for _, w := range in {
		n := &at[by(w)]
		out[*n] = w
		*n++
	}
}

// imported takes in part of a stream, from the first item on that was not taken in before. How
// far the stream has come is remembered as what came of its request.
func (x *change) imported(b record.Import, c record.Command) error {
	at, err := Level(x.state)
	if err != nil {
		return err
	}
	if most := record.MaxImportAt(at); c.Request.Key == "" || b.First == 0 || len(b.Items) == 0 || len(b.Items) > most {
		return record.Invalid("an import has an Idempotency-Key and 1 to %d items, numbered from 1", most)
	}
	last, _, err := recall(x.state, c)
	if err != nil {
		return err
	}
	if b.First > last.Before+1 {
		return &record.Rejection{Reason: record.ReasonGap, Detail: "this part of the stream came before another that is to be first; send it again"}
	}
	if err := sameStream(&b, last); err != nil {
		return err
	}
	x.through = last.Before
	s := &stream{change: x, alike: make([]alike, len(b.Alike)), puts: make([]written, 0, len(b.Items)), made: make([]record.Revocation, 0, len(b.Items))}
	x.changes = slices.Grow(x.changes, len(b.Items))
	s.kinds(&b, at)
	if b.First <= last.Before {
		x.missing = last.Missing
	}
	for n, item := range b.Items {
		number := b.First + uint64(n)
		if number <= last.Before && !last.Misses(number) {
			continue
		}
		err := s.one(item)
		var rejection *record.Rejection
		if errors.As(err, &rejection) {
			x.refused = append(x.refused, record.Refusal{Number: number, Rejection: *rejection})
		} else if err != nil {
			return err
		}
	}
	if err := s.write(); err != nil {
		return err
	}
	return s.remember(c, &b, last, at)
}

// kinds looks what the items have in common, and whether enough of them have.
func (s *stream) kinds(b *record.Import, at record.Level) {
	count := make([]int, len(b.Alike))
	for _, item := range b.Items {
		if item.Alike >= 0 && item.Alike < len(count) {
			count[item.Alike]++
		}
	}
	for i, r := range b.Alike {
		s.alike[i] = alike{revocation: r, few: at < record.LevelTrail || count[i] <= fewAlike}
	}
}

// remember notes how far the stream has come, and what is missing of it by then.
func (s *stream) remember(c record.Command, b *record.Import, last record.Result, at record.Level) error {
	now := record.Result{Revision: s.revision, Before: last.Before, Sum: last.Sum}
	end := b.First + uint64(len(b.Items)) - 1
	if end > last.Before {
		now.Before = end
		now.Sum, _ = b.Sum(end)
	}
	if at >= record.LevelTrail {
		now.Missing = missing(last.Missing, b.First, end, s.refused)
	}
	if now.Before == last.Before && slices.Equal(now.Missing, last.Missing) {
		return nil
	}
	return remember(s.state, c, now)
}

// missing are those that were before, but for the ones of this part, and those that it was refused now.
func missing(before []uint64, first, end uint64, refused []record.Refusal) []uint64 {
	if len(before) > record.MaxMissing {
		return before // that not all are known is so for good
	}
	now := slices.DeleteFunc(slices.Clone(before), func(number uint64) bool { return first <= number && number <= end })
	for _, r := range refused {
		now = append(now, r.Number)
	}
	slices.Sort(now)
	return now[:min(len(now), record.MaxMissing+1)]
}

// sameStream refuses a part of another stream than the one whose lines are done under its name: they
// would be taken for done. A part that ends before what is done cannot be told; one that follows can.
func sameStream(b *record.Import, done record.Result) error {
	if len(b.Sums) != 0 && len(b.Sums) != (len(b.Items)+1)*record.SumLength {
		return record.Invalid("an import has a sum before its first item and after each")
	}
	sum, ok := b.Sum(done.Before)
	if ok && len(done.Sum) != 0 && !bytes.Equal(sum, done.Sum) {
		return record.Conflict("this Idempotency-Key is that of a stream with other lines; use a new one")
	}
	return nil
}

func (s *stream) one(item record.ImportItem) error {
	if item.Alike < 0 || item.Alike >= len(s.alike) {
		return record.Invalid("the item is like none of those in the import")
	}
	a := &s.alike[item.Alike]
	s.made = append(s.made, a.revocation)
	r := &s.made[len(s.made)-1]
	r.Value = item.Value
	if err := r.Check(); err != nil {
		return err
	}
	r.At, r.By, r.Revision = s.stamp, s.by, s.revision
	if !a.known || !r.Target.OfIssuer() {
		taken := len(s.taken)
		until, err := s.keptUntil(r)
		a.known, a.err = true, err
		if err == nil {
			r.KeptUntil = until
			a.revocation, a.bucket = *r, r.Bucket()
			if a.draw(record.NewAlike(s.revision, item.Alike)) != nil {
				a.err = record.Invalid("a value in it cannot be stored")
			}
		} else {
			s.taken = s.taken[:taken]
		}
	}
	if a.err != nil {
		return a.err
	}
	r.KeptUntil = a.revocation.KeptUntil
	return s.add(r, a)
}

// draw prepares how each of the kind is written. What is kept until it is lifted is written whole: what its kind has in
// common would stay when the last of it is gone.
func (a *alike) draw(short record.Alike) (err error) {
	if a.few || !a.revocation.Target.OfIssuer() || a.bucket == record.Forever {
		a.stencil, err = record.NewStencil(a.revocation)
		return err
	}
	common := a.revocation
	common.Value = ""
	a.short = short
	a.common, err = record.Encode(&common)
	return err
}

// beside is the number of the first that lies where this one does, which all items of the same key have.
func (s *stream) beside(a *alike) byte {
	for i := range s.alike {
		if b := &s.alike[i]; b.bucket == a.bucket && b.revocation.Target == a.revocation.Target {
			return byte(i)
		}
	}
	return 0
}

func (s *stream) add(r *record.Revocation, a *alike) error {
	key, err := s.digestKey()
	if err != nil {
		return err
	}
	d := key.Digest(r.Name)
	s.revoked(r, d)
	from := len(s.room)
	switch {
	case a.short != nil:
		s.room = append(append(s.room, a.short...), r.Value...)
	case r.Value == "": // an issuer
		whole, err := record.Encode(r)
		if err != nil {
			return record.Invalid("a value in it cannot be stored")
		}
		s.room = append(s.room, whole...)
	default:
		s.room = a.stencil.Append(s.room, r.Value)
	}
	s.puts = append(s.puts, written{record.Entry{Bucket: a.bucket, Digest: d, Cutoff: r.Cutoff()}, from, len(s.room), a})
	return nil
}

// write writes in about the order of the keys, by the first two bytes behind the class: so each finds its place near the
// one before. Of two with the same key the later counts.
func (s *stream) write() error {
	for i := range s.alike {
		a := &s.alike[i]
		a.group = s.beside(a)
		if a.short != nil && a.err == nil {
			if err := s.state.Put(a.short.Key(a.bucket), a.common); err != nil {
				return err
			}
		}
	}
	some, others := make([]*written, len(s.puts)), make([]*written, len(s.puts))
	for i := range s.puts {
		some[i] = &s.puts[i]
	}
	sort(some, others, func(w *written) byte { return w.entry.Digest[2] })
	sort(others, some, func(w *written) byte { return w.entry.Digest[1] })
	sort(some, others, func(w *written) byte { return w.of.group })
	var key []byte
	for _, w := range others {
		key = w.entry.AppendKey(key[:0])
		if err := s.state.Put(key, s.room[w.from:w.to]); err != nil {
			return err
		}
	}
	return nil
}
