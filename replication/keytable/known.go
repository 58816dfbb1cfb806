package keytable

import (
	"encoding/binary"
	"sync/atomic"

	"veto/record"
)

// remembered is how many secrets are remembered: some 1.5 MB when all are.
const remembered = 1 << 14

// known remembers, of secrets that were found, what hash the newest pepper makes of them: that costs as
// much as half of a whole check. What it says stays true, as a pepper never changes; whether a key has
// that hash is looked up each time. A slot that is taken stays taken as long as a key has its hash, so
// that secrets which share it do not drive each other out, which would allocate each time.
//
// Most keys are not remembered where there are many: so that one is not, a mark says, which is in a tenth of the memory.
type known struct {
	pairs [remembered]atomic.Pointer[pair]
	marks [remembered]atomic.Uint32
	gone  atomic.Uint32 // hashes that keys had
}

type pair struct{ sum, hash record.KeyHash }

// slotOf is where the sum's pair and its mark are.
func slotOf(sum *record.KeyHash) int { return int(binary.LittleEndian.Uint16(sum[:]) % remembered) }

// markOf has some bits of a sum, and of how many hashes had gone when a key still had the pair's. Zero marks nothing.
func markOf(sum *record.KeyHash, gone uint32) uint32 {
	return uint32(binary.LittleEndian.Uint16(sum[2:])|1)<<16 | gone&0xffff
}

// recall finds a key by what is remembered, and tells whether by a secret that was replaced.
func (t *Table) recall(sum *record.KeyHash, room *record.KeyRoom) (old, ok bool) {
	n := slotOf(sum)
	if mark := t.known.marks[n].Load(); mark != markOf(sum, mark) {
		return false, false
	}
	p := t.known.pairs[n].Load()
	if p == nil || p.sum != *sum {
		return false, false
	}
	return t.load(&p.hash, room)
}

// remember remembers the hash of a secret that was found. Whether a slot is still taken is looked up only after
// hashes have gone: it would cost whoever finds it taken as much as what was to be found.
func (t *Table) remember(sum, hash record.KeyHash) {
	n, gone := slotOf(&sum), t.known.gone.Load()
	if mark := t.known.marks[n].Load(); mark != 0 && mark&0xffff == gone&0xffff {
		return
	}
	p := t.known.pairs[n].Load()
	if p == nil || !t.has(&p.hash) {
		next := &pair{sum, hash}
		if !t.known.pairs[n].CompareAndSwap(p, next) {
			return // another's, whose mark must not be ours
		}
		p = next
	}
	t.known.marks[n].Store(markOf(&p.sum, gone))
}
