package keytable

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"

	"veto/record"
	"veto/replication/pepper"
)

// Table holds API keys.
type Table struct {
	keys     *xsync.Map[record.KeyHash, *record.APIKey] // by the hashes of their secrets
	imported atomic.Int64                               // of the keys
	ways     atomic.Pointer[ways]
	moves    atomic.Uint64 // times that keys went from one hash to another
	known    *known

	// The writer's own.
	counts  map[record.Chain]int // of secrets
	leaving []record.KeyHash
}

// ways are how a secret's hash may have been made; never changed once shown.
type ways struct {
	peppers *pepper.Peppers
	chains  []record.Chain // of the secrets that there are, the newest pepper alone first
}

// New makes an empty table.
func New() *Table {
	t := &Table{keys: xsync.NewMap[record.KeyHash, *record.APIKey](), counts: map[record.Chain]int{}, known: new(known)}
	t.ways.Store(&ways{peppers: &pepper.Peppers{}})
	return t
}

// Peppers are those that there are.
func (t *Table) Peppers() *pepper.Peppers { return t.ways.Load().peppers }

// SetPeppers replaces them. Called by the writer.
func (t *Table) SetPeppers(p *pepper.Peppers) { t.show(p) }

// show shows the peppers, and the chains of the secrets that there are now.
func (t *Table) show(p *pepper.Peppers) {
	w := &ways{peppers: p, chains: slices.Collect(maps.Keys(t.counts))}
	// More keys are by what is newer and shorter.
	slices.SortFunc(w.chains, func(a, b record.Chain) int {
		if a.To != b.To {
			return int(b.To) - int(a.To)
		}
		return int(b.From) - int(a.From)
	})
	t.ways.Store(w)
}

// Find finds a key by the SHA-256 of its secret, and tells whether that is one that was replaced. The
// record is shared.
func (t *Table) Find(sum record.KeyHash) (k *record.APIKey, old, ok bool) {
	for {
		moves := t.moves.Load()
		w := t.ways.Load()
		if w.peppers.Locked() {
			return nil, false, false
		}
		if k, old, ok = t.recall(&sum); ok {
			return k, old, true
		}
		for _, c := range w.chains {
			h := w.peppers.Sum(sum, c)
			if k, ok = t.keys.Load(h); ok {
				if c != record.ChainOf(w.peppers.Newest()) {
					w.shorten(k, sum, h)
				} else if !c.IsZero() {
					t.remember(sum, h)
				}
				return k, k.ByOld(h), true
			}
		}
		if t.moves.Load() == moves {
			return nil, false, false
		}
	}
}

// shorten notes once by what hash the secret that was used would be found with the newest pepper alone.
func (w *ways) shorten(k *record.APIKey, sum, h record.KeyHash) {
	c := record.ChainOf(w.peppers.Newest())
	if r := k.Uses.Anew(); c.IsZero() || r != nil && r.Old == h && r.Chain == c {
		return
	}
	k.Uses.Renew(&record.Rehash{ID: k.ID, Old: h, New: w.peppers.Sum(sum, c), Chain: c})
}

// Set takes in a change of a key. It is shown under the hashes of its secrets, and then no more under
// those it had. Imported keys, and those of a chain, are counted before the first can be found: so none
// is taken for malformed, or not looked for, that is known. Called by the writer.
func (t *Table) Set(k, was *record.APIKey, gone bool) {
	before := k
	if was != nil {
		before = was
	}
	held, there := t.keys.Load(before.Hash)
	if there {
		k.Uses = held.Uses
	} else {
		k.Uses = new(record.Uses)
	}
	if !gone {
		t.count(k, 1)
	}
	for _, h := range hashesOf(k) {
		if gone {
			t.keys.Delete(h)
		} else {
			t.keys.Store(h, k)
		}
	}
	if was != nil {
		for _, h := range hashesOf(was) {
			if h != k.Hash && !k.ByOld(h) {
				t.keys.Delete(h)
			}
		}
	}
	if there {
		t.count(held, -1)
	}
}

// Rehash takes in that keys have other hashes; Settle is to follow. Called by the writer.
func (t *Table) Rehash(k, was *record.APIKey) {
	for _, h := range hashesOf(was) {
		if h != k.Hash && !k.ByOld(h) {
			t.leaving = append(t.leaving, h)
		}
	}
	held, there := t.keys.Load(was.Hash)
	k.Uses = new(record.Uses)
	if there {
		k.Uses = held.Uses
		k.Uses.Renew(nil)
	}
	t.count(k, 1)
	for _, h := range hashesOf(k) {
		t.keys.Store(h, k)
	}
	if there {
		t.count(held, -1)
	}
}

// Settle has the keys go from the hashes that they had. It does so at once for many: whoever looks for
// a secret that nobody has must look again each time. Called by the writer.
func (t *Table) Settle() {
	if len(t.leaving) == 0 {
		return
	}
	t.moves.Add(1)
	for _, h := range t.leaving {
		t.keys.Delete(h)
	}
	t.leaving = nil
}

func hashesOf(k *record.APIKey) []record.KeyHash {
	if k.Rotating == nil {
		return []record.KeyHash{k.Hash}
	}
	return []record.KeyHash{k.Hash, k.Rotating.Hash}
}

// count counts the key in or out.
func (t *Table) count(k *record.APIKey, by int) {
	if k.HasImported() {
		t.imported.Add(int64(by))
	}
	before := len(t.counts)
	t.countChain(k.Chain, by)
	if k.Rotating != nil {
		t.countChain(k.Rotating.Chain, by)
	}
	if len(t.counts) != before {
		t.show(t.Peppers())
	}
}

func (t *Table) countChain(c record.Chain, by int) {
	if t.counts[c] += by; t.counts[c] == 0 {
		delete(t.counts, c)
	}
}
