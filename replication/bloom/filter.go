package bloom

import (
	"math"
	"math/bits"
	"sync/atomic"
)

const (
	// BlockBytes is what a Filter has of memory for each KeysPerBlock keys that it has room for.
	BlockBytes   = 64
	KeysPerBlock = 32 // 16 bits for each
	bitsPerWord  = 6  // of the key, to pick one bit of 64
)

// Key is 128 bits that are as good as drawn at random.
type Key struct{ A, B uint64 }

// Filter is in blocks of one cache line, with one bit in each of a block's eight words for every key. When it
// holds more than its room it says maybe more often, and nothing else happens.
type Filter struct{ blocks []block }

type block [BlockBytes / 8]atomic.Uint64

// New makes a filter with room for so many keys, at least one.
func New(room int) *Filter {
	return &Filter{make([]block, max(room+KeysPerBlock-1, KeysPerBlock)/KeysPerBlock)}
}

// Full makes a filter that says maybe to everything.
func Full() *Filter {
	f := New(0)
	for i := range f.blocks[0] {
		f.blocks[0][i].Store(math.MaxUint64)
	}
	return f
}

// place is where the key's bits are; which ones, its second number tells.
func (f *Filter) place(k Key) *block {
	i, _ := bits.Mul64(k.A, uint64(len(f.blocks)))
	return &f.blocks[i]
}

// Has says no, or maybe. It looks at half of the words, which are in one cache line, rather than stop at the first
// that says no: which one that is nobody can foresee, and a processor that can foresee the way goes ahead to
// the next look-up while it waits for memory. That none of the first half says no is rare enough.
func (f *Filter) Has(k Key) bool {
	b, pick := f.place(k), k.B
	all := b[0].Load() >> (pick & 63)
	all &= b[1].Load() >> (pick >> bitsPerWord & 63)
	all &= b[2].Load() >> (pick >> (2 * bitsPerWord) & 63)
	all &= b[3].Load() >> (pick >> (3 * bitsPerWord) & 63)
	if all&1 == 0 {
		return false
	}
	all &= b[4].Load() >> (pick >> (4 * bitsPerWord) & 63)
	all &= b[5].Load() >> (pick >> (5 * bitsPerWord) & 63)
	all &= b[6].Load() >> (pick >> (6 * bitsPerWord) & 63)
	all &= b[7].Load() >> (pick >> (7 * bitsPerWord) & 63)
	return all&1 != 0
}

// Fetch reads where the key is, so that Add need not wait for that memory.
func (f *Filter) Fetch(k Key) { f.place(k)[0].Load() }

// Add tells whether the filter would have said no before.
func (f *Filter) Add(k Key) (isNew bool) {
	b, pick := f.place(k), k.B
	for i := range b {
		bit := uint64(1) << (pick & 63)
		if b[i].Load()&bit == 0 && b[i].Or(bit)&bit == 0 {
			isNew = true
		}
		pick >>= bitsPerWord
	}
	return isNew
}

// Bytes is what it takes of memory.
func (f *Filter) Bytes() int { return len(f.blocks) * BlockBytes }
