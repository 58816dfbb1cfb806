package keytable

import (
	"encoding/binary"
	"sync/atomic"

	"veto/record"
)

// slots is how many secrets are remembered: some 1.5 MB when all are.
const slots = 1 << 14

// known remembers, of secrets that were found, what hash the newest pepper makes of them: that costs as
// much as half of a whole check. What it says stays true, as a pepper never changes; whether a key has
// that hash is looked up each time. A slot that is taken stays taken as long as a key has its hash, so
// that secrets which share it do not drive each other out, which would allocate each time.
type known [slots]atomic.Pointer[pair]

type pair struct{ sum, hash record.KeyHash }

func (n *known) slot(sum *record.KeyHash) *atomic.Pointer[pair] {
	return &n[binary.LittleEndian.Uint16(sum[:])%slots]
}

// recall finds a key by what is remembered, and tells whether by a secret that was replaced.
func (t *Table) recall(sum *record.KeyHash) (k *record.APIKey, old, ok bool) {
	p := t.known.slot(sum).Load()
	if p == nil || p.sum != *sum {
		return nil, false, false
	}
	if k, ok = t.keys.Load(p.hash); ok {
		old = k.ByOld(p.hash)
	}
	return k, old, ok
}

// remember remembers the hash of a secret that was found.
func (t *Table) remember(sum, hash record.KeyHash) {
	slot := t.known.slot(&sum)
	if p := slot.Load(); p != nil {
		if _, taken := t.keys.Load(p.hash); taken {
			return
		}
	}
	slot.Store(&pair{sum, hash})
}
