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
type known [remembered]atomic.Pointer[pair]

type pair struct{ sum, hash record.KeyHash }

func (n *known) slot(sum *record.KeyHash) *atomic.Pointer[pair] {
	return &n[binary.LittleEndian.Uint16(sum[:])%remembered]
}

// recall finds a key by what is remembered, and tells whether by a secret that was replaced.
func (t *Table) recall(sum *record.KeyHash, room *record.KeyRoom) (old, ok bool) {
	p := t.known.slot(sum).Load()
	if p == nil || p.sum != *sum {
		return false, false
	}
	return t.load(&p.hash, room)
}

// remember remembers the hash of a secret that was found.
func (t *Table) remember(sum, hash record.KeyHash) {
	slot := t.known.slot(&sum)
	if p := slot.Load(); p != nil && t.has(&p.hash) {
		return
	}
	slot.Store(&pair{sum, hash})
}
