package index

import (
	"math/bits"
	"sync/atomic"

	"veto/record"
)

const (
	blockBytes   = 64
	keysPerBlock = 32 // 16 bits for each
	fewestKeys   = 64
	bitsPerWord  = 6 // of the digest, to pick one bit of 64
)

// filter is a Bloom filter in blocks of one cache line, with one bit in each of a block's eight
// words for every digest. It never says no to what it was given. Anyone may add and anyone may
// ask, at the same time. When it holds more than its room it says maybe more often, and nothing
// else happens.
type filter struct {
	blocks []block
	room   int // of digests

	// The tally is guarded by the class's lock. It counts digests as the filter tells them apart.
	held map[record.Bucket]int
	kept int // in all buckets of held
	gone int // expired or lifted since
}

type block [blockBytes / 8]atomic.Uint64

func newFilter(room int) *filter {
	room = max(room, fewestKeys)
	return &filter{
		blocks: make([]block, (room+keysPerBlock-1)/keysPerBlock), room: room, held: map[record.Bucket]int{},
	}
}

// place is where the key's bits are; which ones, its second number tells.
func (f *filter) place(k key) *block {
	i, _ := bits.Mul64(k.a, uint64(len(f.blocks)))
	return &f.blocks[i]
}

// has says no, or maybe. It looks at all words, which are in one cache line, rather than stop at
// the first that says no: which one that is nobody can foresee, and a processor that can foresee
// the way goes ahead to the next look-up while it waits for memory.
func (f *filter) has(k key) bool {
	b, pick := f.place(k), k.b
	all := b[0].Load() >> (pick & 63)
	all &= b[1].Load() >> (pick >> bitsPerWord & 63)
	all &= b[2].Load() >> (pick >> (2 * bitsPerWord) & 63)
	all &= b[3].Load() >> (pick >> (3 * bitsPerWord) & 63)
	all &= b[4].Load() >> (pick >> (4 * bitsPerWord) & 63)
	all &= b[5].Load() >> (pick >> (5 * bitsPerWord) & 63)
	all &= b[6].Load() >> (pick >> (6 * bitsPerWord) & 63)
	all &= b[7].Load() >> (pick >> (7 * bitsPerWord) & 63)
	return all&1 != 0
}

// add tells whether the filter would have said no before.
func (f *filter) add(k key) (isNew bool) {
	b, pick := f.place(k), k.b
	for i := range b {
		bit := uint64(1) << (pick & 63)
		if b[i].Load()&bit == 0 && b[i].Or(bit)&bit == 0 {
			isNew = true
		}
		pick >>= bitsPerWord
	}
	return isNew
}

// tally counts digests that were added for a bucket.
func (f *filter) tally(b record.Bucket, n int) {
	f.held[b] += n
	f.kept += n
}

// forget counts digests of a bucket that are not on disk any more.
func (f *filter) forget(b record.Bucket, n int) {
	n = min(n, f.held[b])
	f.held[b] -= n
	f.kept -= n
	f.gone += n
}

func (f *filter) expire(below record.Bucket) {
	for b, n := range f.held {
		if b < below {
			f.forget(b, n)
			delete(f.held, b)
		}
	}
}

// worn tells whether the filter should be made anew: it holds more than it has room for, or a good
// part of what it holds is gone.
func (f *filter) worn() bool {
	all := f.kept + f.gone
	return all > f.room || f.gone > fewestKeys && f.gone*10 > all*3
}

func (f *filter) bytes() int { return len(f.blocks) * blockBytes }
