package index

import (
	"encoding/binary"

	"veto/record"
	"veto/replication/settled"
)

// key is what a digest is within its class, as two numbers, of which the first is never zero. The
// order of keys is that of the digests, so that whoever reads them from the disk fills tables and
// filters from one end to the other.
type key struct{ a, b uint64 }

func keyOf(d *record.Digest) key {
	return key{max(binary.BigEndian.Uint64(d[1:9]), 1), binary.BigEndian.Uint64(d[9:])}
}

func settledKey(k key) settled.Key { return settled.Key{A: k.a, B: k.b} }

// rule is one revocation of a digest: until when it is kept, and up to which iat it denies, in
// one word, so that a reader never sees the half of one and the half of another. The bucket is
// in the upper bits: of two rules the greater is the one that is kept longer.
type rule uint64

const (
	cutoffBits = 38 // seconds until the year 10680
	maxCutoff  = 1<<cutoffBits - 1
	maxBucket  = 1<<(64-cutoffBits) - 1 // hours until the year 9625
	// dead is no rule: nothing is kept until 1970.
	dead rule = 0
)

// newRule rounds up what is out of range: to a rule that denies more and is kept longer.
func newRule(b record.Bucket, cutoff int64) rule {
	c := uint64(max(cutoff, 0))
	return rule(min(uint64(b), maxBucket)<<cutoffBits | min(c, maxCutoff))
}

func (r rule) bucket() record.Bucket {
	if b := r >> cutoffBits; b != maxBucket {
		return record.Bucket(b)
	}
	return record.Forever
}

func (r rule) cutoff() int64 {
	if c := int64(r & maxCutoff); c != maxCutoff {
		return c
	}
	return record.DeniesAll
}

// covers tells whether nothing is denied by the other rule, now or later, that is not by this.
func (r rule) covers(other rule) bool {
	return r>>cutoffBits >= other>>cutoffBits && r&maxCutoff >= other&maxCutoff
}
