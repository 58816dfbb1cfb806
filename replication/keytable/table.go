package keytable

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"

	"veto/record"
	"veto/replication/grants"
	"veto/replication/pepper"
)

// Table holds API keys.
type Table struct {
	arena    *arena
	slots    *slots
	places   *places
	grants   *grants.Grants
	imported atomic.Int64              // of the keys
	leaked   *xsync.Map[string, int64] // ids of keys that are marked; more than once while one is written
	ways     atomic.Pointer[ways]
	moves    atomic.Uint64 // times that keys went from one hash to another
	known    *known
	anew     *xsync.Map[record.KeyHash, *record.Rehash] // what uses have shown, by the hashes that there are

	// The writer's own.
	counts  map[record.Chain]*atomic.Int64 // of secrets
	leaving []record.KeyHash
	held    record.KeyRoom // of a key as it was
	scratch []byte
}

// ways are how a secret's hash may have been made; never changed once shown.
type ways struct {
	peppers *pepper.Peppers
	chains  []record.Chain // of the secrets that there are, the newest pepper alone first
	counts  map[record.Chain]*atomic.Int64
}

// New makes an empty table.
func New() *Table {
	a := newArena()
	t := &Table{
		arena: a, slots: newSlots(a), places: newPlaces(), grants: grants.New(),
		known: new(known), leaked: xsync.NewMap[string, int64](), anew: xsync.NewMap[record.KeyHash, *record.Rehash](), counts: map[record.Chain]*atomic.Int64{},
	}
	t.ways.Store(&ways{peppers: &pepper.Peppers{}})
	return t
}

// Peppers are those that there are.
func (t *Table) Peppers() *pepper.Peppers { return t.ways.Load().peppers }

// SetPeppers replaces them by what they are changed to, which may be asked for more than once. Others than the writer
// may call it, too.
func (t *Table) SetPeppers(change func(*pepper.Peppers) *pepper.Peppers) {
	t.show(func(w *ways) { w.peppers = change(w.peppers) })
}

// showChains shows the chains of the secrets that there are now.
func (t *Table) showChains() {
	chains, counts := slices.Collect(maps.Keys(t.counts)), maps.Clone(t.counts)
	// More keys are by what is newer and shorter.
	slices.SortFunc(chains, func(a, b record.Chain) int {
		if a.To != b.To {
			return int(b.To) - int(a.To)
		}
		return int(b.From) - int(a.From)
	})
	t.show(func(w *ways) { w.chains, w.counts = chains, counts })
}

func (t *Table) show(change func(*ways)) {
	for was := t.ways.Load(); ; was = t.ways.Load() {
		next := *was
		change(&next)
		if t.ways.CompareAndSwap(was, &next) {
			return
		}
	}
}

// Role takes in what a role stands for now, or that it is gone. Called by the writer.
func (t *Table) Role(r *record.DefinedRole, gone bool) { t.grants.Role(r, gone) }

// Find finds a key by the SHA-256 of its secret, and tells whether that is one that was replaced. The
// record is the room's; its texts and lists are shared, and not to be changed.
func (t *Table) Find(sum record.KeyHash, room *record.KeyRoom) (k *record.APIKey, old, ok bool) {
	for {
		moves := t.moves.Load()
		w := t.ways.Load()
		if w.peppers.Locked() {
			return nil, false, false
		}
		if old, ok = t.recall(&sum, room); ok {
			return &room.Key, old, true
		}
		for _, c := range w.chains {
			h := w.peppers.Sum(sum, c)
			if old, ok = t.load(&h, room); ok {
				if c != record.ChainOf(w.peppers.Newest()) {
					t.shorten(w, room.Key.ID, sum, h)
				} else if !c.IsZero() {
					t.remember(sum, h)
				}
				return &room.Key, old, true
			}
		}
		if t.moves.Load() == moves {
			return nil, false, false
		}
	}
}

// load reads the key that is under the hash, and tells whether that is of a secret that was replaced.
// What it read together was there together, as the slot is still the same.
func (t *Table) load(h *record.KeyHash, room *record.KeyRoom) (old, ok bool) {
	for {
		all, at, word, f := t.slots.find(h)
		if f == nil {
			return false, false
		}
		t.places.of(all[at].place.Load()).use.Now() // read reads it again, by the form: it is on its way by then
		if t.read(f, room) && t.slots.still(h, all, at, word) {
			return whichOf(word) == 1, true
		}
	}
}

// loadAt reads the key that has the place.
func (t *Table) loadAt(p *place, room *record.KeyRoom) bool {
	for {
		at := p.at.Load()
		if at == 0 {
			return false
		}
		if f := t.arena.at(ref(at)); f != nil && t.read(f, room) && p.at.Load() == at {
			return true
		}
	}
}

func (t *Table) read(f form, room *record.KeyRoom) bool {
	s := t.grants.At(f.set())
	if s == nil {
		return false
	}
	room.Key.Uses = t.places.of(f.place()).use.Now() // first, as memory has to bring it
	f.read(room)
	fill(&room.Key, s)
	return true
}

func (t *Table) has(h *record.KeyHash) bool {
	_, _, _, f := t.slots.find(h)
	return f != nil
}

// shorten notes once by what hash the secret that was used would be found with the newest pepper alone.
func (t *Table) shorten(w *ways, id string, sum, h record.KeyHash) {
	c := record.ChainOf(w.peppers.Newest())
	if c.IsZero() {
		return
	}
	if r, ok := t.anew.Load(h); !ok || r.Chain != c {
		t.anew.Store(h, &record.Rehash{ID: strings.Clone(id), Old: h, New: w.peppers.Sum(sum, c), Chain: c})
	}
}

// Set takes in a change of a key; Settle is to follow. It is shown under the hashes of its secrets, and
// then no more under those it had. Imported keys, and those of a chain, are counted before the first can
// be found: so none is taken for malformed, or not looked for, that is known. Neither record is kept, but
// lists in them may be. Called by the writer.
func (t *Table) Set(k, was *record.APIKey, gone bool) {
	if gone {
		t.delete(k)
	} else {
		t.write(k, was, t.leave)
	}
}

// Fill takes in a key of a table that nobody reads yet and that has no key with its id or a hash of it. It is
// found once all is settled. The record is not kept, but lists in it may be.
func (t *Table) Fill(k *record.APIKey) {
	t.count(k, 1)
	number := t.places.take()
	t.scratch = appendForm(t.scratch[:0], k, number, t.grants.Take(k))
	t.places.of(number).at.Store(uint64(t.arena.add(t.scratch)))
	for _, h := range hashesOf(k) {
		t.slots.expect(&h)
	}
}

// Rehash takes in that keys have other hashes; Settle is to follow. Called by the writer.
func (t *Table) Rehash(k, was *record.APIKey) {
	t.write(k, was, func(h record.KeyHash) { t.leaving = append(t.leaving, h) })
}

// write shows the key under its hashes, and has it leave those that it had.
func (t *Table) write(k, was *record.APIKey, leave func(record.KeyHash)) {
	before := k
	if was != nil {
		before = was
	}
	t.count(k, 1)
	_, _, _, held := t.slots.find(&before.Hash)
	var number uint32
	if held != nil {
		number = held.place()
		t.arena.drop(ref(t.places.of(number).at.Load()))
	} else {
		number = t.places.take()
	}
	t.scratch = appendForm(t.scratch[:0], k, number, t.grants.Take(k))
	t.lead(t.scratch, t.arena.add(t.scratch))
	for _, h := range hashesOf(before) {
		if h != k.Hash && !k.ByOld(h) {
			leave(h)
		}
	}
	if held != nil {
		t.forget(held)
	}
}

// lead has the place and the hashes of a form lead to where it is.
func (t *Table) lead(f form, at ref) {
	t.places.of(f.place()).at.Store(uint64(at))
	for which := range f.hashes() {
		t.slots.put(f.hash(which), at, which)
	}
}

// forget counts out what a key was.
func (t *Table) forget(f form) {
	t.read(f, &t.held)
	t.count(&t.held.Key, -1)
	t.grants.Drop(f.set())
}

func (t *Table) delete(k *record.APIKey) {
	_, _, _, held := t.slots.find(&k.Hash)
	for _, h := range hashesOf(k) {
		t.leave(h)
	}
	if held == nil {
		return
	}
	t.arena.drop(ref(t.places.of(held.place()).at.Load()))
	t.forget(held)
	t.places.drop(held.place())
}

func (t *Table) leave(h record.KeyHash) {
	t.slots.take(&h)
	t.known.gone.Add(1)
	t.anew.Delete(h)
}

// Settle has the keys go from the hashes that they had, and gives back what nothing leads to any more.
// It does so at once for many: whoever looks for a secret that nobody has must look again each time.
// Called by the writer.
func (t *Table) Settle() {
	if len(t.leaving) > 0 {
		t.moves.Add(1)
		for _, h := range t.leaving {
			t.leave(h)
		}
		t.leaving = nil
	}
	t.slots.fill(t.places)
	t.grants.Settle()
	t.places.settle()
	t.arena.compact(func(at ref, f form) {
		if ref(t.places.of(f.place()).at.Load()) == at {
			t.lead(f, t.arena.add(f))
		}
	})
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
	if k.Leak != nil {
		t.countLeaked(k.ID, int64(by))
	}
	before := len(t.counts)
	t.countChain(k.Chain, by)
	if k.Rotating != nil {
		t.countChain(k.Rotating.Chain, by)
	}
	if len(t.counts) != before {
		t.showChains()
	}
}

func (t *Table) countChain(c record.Chain, by int) {
	n, ok := t.counts[c]
	if !ok {
		n = new(atomic.Int64)
		t.counts[c] = n
	}
	if n.Add(int64(by)) == 0 {
		delete(t.counts, c)
	}
}
