package keytable

import (
	"slices"
	"strings"

	"github.com/puzpuzpuz/xsync/v4"

	"veto/record"
)

// Size is under how many hashes there are keys.
func (t *Table) Size() int { return int(t.slots.size.Load()) }

// Stored finds a key by the hash of a secret as it is stored. The record is the room's; its texts and
// lists are shared.
func (t *Table) Stored(h record.KeyHash, room *record.KeyRoom) (*record.APIKey, bool) {
	_, ok := t.load(&h, room)
	return &room.Key, ok
}

// Imports tells whether any key was imported, so that secrets have any form.
func (t *Table) Imports() bool { return t.imported.Load() > 0 }

// Marked are the ids of keys of which a secret was told to have leaked, whatever became of them.
func (t *Table) Marked() (ids []string) {
	for id := range t.leaked.All() {
		ids = append(ids, id)
	}
	return ids
}

func (t *Table) countLeaked(id string, by int64) {
	t.leaked.Compute(strings.Clone(id), func(n int64, _ bool) (int64, xsync.ComputeOp) {
		if n+by == 0 {
			return 0, xsync.DeleteOp
		}
		return n + by, xsync.UpdateOp
	})
}

// Used is a key that was used here.
type Used struct {
	ID   string
	Uses record.Uses
}

// Used are keys that were used here of which the log was not told; of more than the limit those that
// it knows least of. Called by the one who tells it.
func (t *Table) Used(limit int) []Used {
	var all []Used
	var room record.KeyRoom
	for p := range t.places.all {
		if _, _, untold := p.use.Now().Untold(); untold && t.loadAt(p, &room) {
			all = append(all, Used{room.Key.ID, room.Key.Uses})
		}
	}
	if len(all) <= limit {
		return all
	}
	slices.SortFunc(all, func(a, b Used) int {
		_, first, _ := a.Uses.Untold()
		_, second, _ := b.Uses.Untold()
		return int(first - second)
	})
	return all[:limit]
}

// each goes through the keys until f says no more. The record is another one's after f.
func (t *Table) each(f func(k *record.APIKey) (more bool)) {
	var room record.KeyRoom
	for p := range t.places.all {
		if t.loadAt(p, &room) && !f(&room.Key) {
			return
		}
	}
}

// Anew are up to so many hashes by the newest pepper alone, of secrets that were used here and have a
// longer chain.
func (t *Table) Anew(limit int) []record.Rehash {
	newest := record.ChainOf(t.Peppers().Newest())
	var all []record.Rehash
	t.anew.Range(func(h record.KeyHash, r *record.Rehash) bool {
		if r.Chain != newest || !t.has(&h) {
			t.anew.Delete(h)
		} else {
			all = append(all, *r)
		}
		return len(all) < limit
	})
	return all
}

// Outdated are up to so many hashes that end with the newest pepper, of secrets that have one that does
// not.
func (t *Table) Outdated(limit int) []record.Rehash {
	w := t.ways.Load()
	newest := w.peppers.Newest()
	if w.peppers.Locked() || !slices.ContainsFunc(w.chains, func(c record.Chain) bool { return c.To != newest }) {
		return nil
	}
	var all []record.Rehash
	extend := func(k *record.APIKey, h record.KeyHash, c record.Chain) {
		if c.To < newest {
			r := record.Rehash{ID: k.ID, Old: h}
			r.New, r.Chain = w.peppers.Extend(h, c)
			all = append(all, r)
		}
	}
	t.each(func(k *record.APIKey) bool {
		extend(k, k.Hash, k.Chain)
		if k.Rotating != nil {
			extend(k, k.Rotating.Hash, k.Rotating.Chain)
		}
		return len(all) < limit
	})
	return all
}

// Counts are how many secrets there are by each chain.
func (t *Table) Counts() map[record.Chain]int {
	counts := map[record.Chain]int{}
	for c, n := range t.ways.Load().counts {
		counts[c] = int(n.Load())
	}
	return counts
}

// Peppered is a command with the hashes of its secret by the peppers in the place of the SHA-256; most
// commands have none, and are as they were. It fails where a pepper is locked. What needs more than the level
// in force is left as it is.
func (t *Table) Peppered(b record.Body, level record.Level) (record.Body, error) {
	p := t.Peppers()
	chain := record.ChainOf(p.Newest())
	if chain.IsZero() {
		return b, nil
	}
	// The plain SHA-256 is for who guesses, and the log keeps it: so it is looked for only as long as another
	// key has one.
	plain := slices.ContainsFunc(t.ways.Load().chains, record.Chain.IsZero)
	create := func(c record.CreateKey) record.CreateKey {
		sum := c.Key.Hash
		c.Key.Hash, c.Key.Chain, c.Also = p.Sum(sum, chain), chain, nil
		for _, other := range p.Every() {
			if plain || !other.IsZero() {
				c.Also = append(c.Also, p.Sum(sum, other))
			}
		}
		return c
	}
	roll := func(c record.RollKey) record.RollKey {
		c.Hash, c.Chain = p.Sum(c.Hash, chain), chain
		return c
	}
	switch b.(type) {
	case record.CreateKey, record.RollKey, record.ManageKey, record.OpenSession:
		if p.Locked() {
			return b, locked()
		}
	}
	switch c := b.(type) {
	case record.CreateKey:
		return create(c), nil
	case record.RollKey:
		return roll(c), nil
	case record.OpenSession:
		if level >= record.LevelTrail {
			c.Hash = p.Sum(c.Hash, chain)
		}
		return c, nil
	case record.ManageKey: // the caller's own is left as it is, to be hashed anew
		if c.Create != nil {
			c.Create = new(create(*c.Create))
		}
		if c.Roll != nil {
			c.Roll = new(roll(*c.Roll))
		}
		return c, nil
	}
	return b, nil
}

// SessionHashes are those by which a portal session may be stored whose secret has the SHA-256: by one of the peppers
// that there are, as none is ever rehashed, or by none.
func (t *Table) SessionHashes(sum record.KeyHash) []record.KeyHash {
	p := t.Peppers()
	all := []record.KeyHash{sum}
	for _, one := range p.Records() {
		if !p.Locked() {
			all = append(all, p.Sum(sum, record.ChainOf(one.ID)))
		}
	}
	return all
}

func locked() error {
	return &record.Unavailable{Detail: "this node has not the key of a pepper, and so can make no secrets of API keys; ask another node, and look at what `veto cluster` says of this one"}
}
