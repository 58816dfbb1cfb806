package index

import (
	"slices"
	"sync/atomic"

	"veto/record"
	"veto/replication/settled"
)

// Means is what a look-up was answered by.
type Means uint8

// The means.
const (
	ByNothing Means = iota // nothing of the kind was ever revoked here
	ByNotice
	ByTable
	ByFilterNo
	ByDiskNo
	ByDiskYes
	// ByFailure is a denial because the disk could not be asked.
	ByFailure
)

var meansText = [...]string{
	ByNothing: "nothing of this kind was ever revoked", ByNotice: "a notice", ByTable: "the filter said maybe, the exact table settled it",
	ByFilterNo: "the filter said no", ByDiskNo: "the filter said maybe, the disk said no",
	ByDiskYes: "the filter said maybe, the disk said yes", ByFailure: "the filter said maybe, and the disk could not be asked",
}

// String says it to people.
func (m Means) String() string { return meansText[m] }

// Hit is what a look-up has found: a revocation that denies, or by what means there is none.
type Hit struct {
	By Means
	// Bucket in which the store keeps it.
	Bucket record.Bucket
	// Notice is the revocation itself while only a notice told of it; it is shared. Node is
	// whose outbox it is in, and Taken where; empty if the log has it.
	Notice *record.Revocation
	Node   string
	Taken  record.Accepted
	// Unkept says that nobody may ever have taken it.
	Unkept bool
}

// tally counts what the disk was asked, because a filter said maybe.
type tally struct{ yes, no, failed atomic.Uint64 }

// Revoked looks up whether something with the digest, issued at the given second, is denied: of
// several revocations by the one that is kept longest. The overlay comes first: what it drops is
// in the tables before, so nothing is missed in between. It reads the disk only where a filter
// says maybe; if that fails, it denies.
func (x *Index) Revoked(d record.Digest, issuedAt int64) (Hit, bool) {
	if e, ok := x.overlay.find(d); ok && issuedAt <= e.cutoff {
		return e.hit(), true
	}
	return x.Committed(d, issuedAt)
}

// Committed is Revoked without what only notices have told.
func (x *Index) Committed(d record.Digest, issuedAt int64) (Hit, bool) {
	c := x.tables.Load().of(&d)
	if c == nil {
		return Hit{By: ByNothing}, false
	}
	s := c.shown.Load()
	if !s.filter.has(keyOf(&d)) {
		return Hit{By: ByFilterNo}, false
	}
	by, b, denied := x.exactly(c, s, &d, issuedAt)
	return Hit{By: by, Bucket: b}, denied
}

// FirstDenied is the place of the first of the digests that is denied to what was issued at the
// second, or -1. Digests are looked at where they are: a copy could be read only after all that the
// processor has begun before, and it would wait for the memory of one look-up to begin the next.
func (x *Index) FirstDenied(all []record.Digest, issuedAt int64) int {
	first := -1
	if x.overlay.count.Load() > 0 {
		first = slices.IndexFunc(all, func(d record.Digest) bool {
			e, ok := x.overlay.find(d)
			return ok && issuedAt <= e.cutoff
		})
		if first >= 0 {
			all = all[:first]
		}
	}
	t := x.tables.Load() // after the overlay, which has dropped what is in them
	for i := range all {
		c := t.of(&all[i])
		if c == nil {
			continue
		}
		if s := c.shown.Load(); s.filter.has(keyOf(&all[i])) {
			if _, _, denied := x.exactly(c, s, &all[i], issuedAt); denied {
				return i
			}
		}
	}
	return first
}

// of is the class of the digest; nil if nothing of it was ever revoked here.
func (t *tables) of(d *record.Digest) *class {
	if number := d[0]; number < uint8(record.Classes) {
		return t.revocations[number].Load()
	}
	return nil
}

// exactly looks up what the filter does not rule out.
func (x *Index) exactly(c *class, s *shown, d *record.Digest, issuedAt int64) (Means, record.Bucket, bool) {
	if s.exact != nil {
		b, ok := s.exact.find(keyOf(d), issuedAt)
		return ByTable, b, ok
	}
	return x.settle(c, s, d, issuedAt)
}

// settle asks the disk, unless it has said before. The buckets are read after the filter, to which
// what they hold was added later than they came into use.
func (x *Index) settle(c *class, s *shown, d *record.Digest, issuedAt int64) (Means, record.Bucket, bool) {
	k := settledKey(keyOf(d))
	if a, known := s.answers.Find(k, issuedAt); known {
		return said(a)
	}
	question := s.answers.Ask(k, issuedAt)
	b, found, err := x.config.Disk.Revoked(*d, issuedAt, *c.inUse.Load())
	if err != nil {
		// Told of at the 1st, 2nd, 4th and so on: it may be as often as anything is validated.
		if n := x.settled.failed.Add(1); n&(n-1) == 0 {
			x.config.Log.Error("the disk cannot tell whether something is revoked, so it is denied", "times", n, "error", err)
		}
		return ByFailure, 0, true
	}
	if found {
		x.settled.yes.Add(1)
	} else {
		x.settled.no.Add(1)
	}
	a := settled.Answer{Denied: found, Bucket: b}
	s.answers.Keep(question, a)
	return said(a)
}

func said(a settled.Answer) (Means, record.Bucket, bool) {
	if a.Denied {
		return ByDiskYes, a.Bucket, true
	}
	return ByDiskNo, 0, false
}
