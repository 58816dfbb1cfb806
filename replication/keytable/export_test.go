package keytable

import "veto/record"

// Waste is how many bytes are had for forms, and how many of these are of keys that there are; how many
// slots there are, and how many places and numbers of sets are not free.
type Waste struct{ Had, Live, Slots, Places, Sets int }

// Waste is counted by the writer.
func (t *Table) Waste() (w Waste) {
	all := *t.arena.chunks.Load()
	for i := range all {
		if c := all[i].Load(); c != nil {
			w.Had += len(c.bytes)
		}
	}
	for p := range t.places.all {
		if at := ref(p.at.Load()); at != 0 {
			w.Places++
			w.Live += t.arena.at(at).size()
		}
	}
	for i := range t.slots.parts {
		w.Slots += len(*t.slots.parts[i].shown.Load())
	}
	for n := uint32(0); n < 1<<16; n++ {
		if t.grants.At(n) != nil {
			w.Sets++
		}
	}
	return w
}

// ChunkSize is chunkSize.
const ChunkSize = chunkSize

// Remembers tells whether the hash of the secret with the SHA-256 is remembered.
func (t *Table) Remembers(sum record.KeyHash) bool {
	_, ok := t.recall(&sum, new(record.KeyRoom))
	return ok
}

// Remember remembers the hash of the secret with the SHA-256.
func (t *Table) Remember(sum, hash record.KeyHash) { t.remember(sum, hash) }

// Forget empties the slot of the secret with the SHA-256.
func (t *Table) Forget(sum record.KeyHash) {
	t.known.pairs[slotOf(&sum)].Store(nil)
	t.known.marks[slotOf(&sum)].Store(0)
}
