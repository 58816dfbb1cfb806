package keytable

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"veto/record"
)

// slots find forms by the hashes in them: open addressing, in parts so that none is long in growing.
// One goroutine writes.
type slots struct {
	arena *arena
	parts [1 << partBits]part
	size  atomic.Int64

	expected int // hashes of forms that fill is to show; the writer's own
}

type part struct {
	shown atomic.Pointer[[]slot]

	// The writer's own.
	held, gone int
}

// slot has a ref, which of the form's hashes is meant, and some bits of that, so that others are seldom
// looked at. The number of the form's place is a hint: memory can bring both at once.
type slot struct {
	atomic.Uint64
	place atomic.Uint32
}

// set shows the form. The hint is there before.
func (s *slot) set(word uint64, f form) {
	s.place.Store(f.place())
	s.Store(word)
}

const (
	partBits = 8
	tagBits  = 64 - refBits - 1
	empty    = 0
	vacated  = 1 // as the slots behind are still in use
)

// whereabouts of a hash: its part, its place among as many as there are, and its tag with room for which it is.
func whereabouts(h *record.KeyHash) (part int, rest, tag uint64) {
	x := binary.BigEndian.Uint64(h[:])
	return int(x >> (64 - partBits)), x << partBits, x & (1<<tagBits - 1)
}

func home(rest uint64, among int) int {
	place, _ := bits.Mul64(rest, uint64(among))
	return int(place)
}

func makeWord(r ref, which, tag uint64) uint64 { return tag<<(refBits+1) | which<<refBits | uint64(r) }
func refOf(word uint64) ref                    { return ref(word & (1<<refBits - 1)) }
func whichOf(word uint64) uint64               { return word >> refBits & 1 }

func newSlots(a *arena) *slots {
	s := &slots{arena: a}
	for i := range s.parts {
		s.parts[i].shown.Store(new([]slot))
	}
	return s
}

// find gives the place of the hash's slot, what is in it, and the form; nil if there is none.
func (s *slots) find(h *record.KeyHash) (all []slot, at int, word uint64, f form) {
	number, rest, tag := whereabouts(h)
	p := &s.parts[number]
	all = *p.shown.Load()
	if len(all) == 0 {
		return all, 0, empty, nil
	}
	for at = home(rest, len(all)); ; {
		word = all[at].Load()
		if word == empty {
			return all, at, empty, nil
		}
		if word>>(refBits+1) == tag && word != vacated {
			if f = s.arena.at(refOf(word)); f == nil {
				return s.find(h) // moved just now
			}
			if *f.hash(whichOf(word)) == *h {
				return all, at, word, f
			}
		}
		if at++; at == len(all) {
			at = 0
		}
	}
}

// still tells whether the hash has what find has found: then it had it all the while.
func (s *slots) still(h *record.KeyHash, all []slot, at int, word uint64) bool {
	now := *s.parts[h[0]].shown.Load()
	return &now[0] == &all[0] && all[at].Load() == word
}

// put shows the form under one of its hashes.
func (s *slots) put(h *record.KeyHash, r ref, which uint64) {
	number, rest, tag := whereabouts(h)
	p := &s.parts[number]
	word := makeWord(r, which, tag)
	f := s.arena.at(r)
	if all, at, _, held := s.find(h); held != nil {
		all[at].set(word, f)
		return
	}
	if full := len(*p.shown.Load()); (p.held+p.gone+1)*16 > full*13 {
		s.renew(p, p.held+1)
	}
	all := *p.shown.Load()
	at := home(rest, len(all))
	for all[at].Load() != empty && all[at].Load() != vacated {
		at = (at + 1) % len(all)
	}
	if all[at].Load() == vacated {
		p.gone--
	}
	p.held++
	s.size.Add(1)
	all[at].set(word, f)
}

// take has the hash lead nowhere.
func (s *slots) take(h *record.KeyHash) {
	all, at, _, f := s.find(h)
	if f == nil {
		return
	}
	p := &s.parts[h[0]]
	all[at].Store(vacated)
	p.held--
	p.gone++
	s.size.Add(-1)
	if len(all) > 16 && p.held*3 < len(all) {
		s.renew(p, p.held)
	}
}

// expect says that fill will show a form under the hash.
func (s *slots) expect(h *record.KeyHash) {
	s.parts[h[0]].held++
	s.expected++
}

// fill shows all forms that have a place, in slots that have had none yet and are made once, as many as are needed.
func (s *slots) fill(p *places) {
	if s.expected == 0 {
		return
	}
	for i := range s.parts {
		s.renew(&s.parts[i], s.parts[i].held)
	}
	for place := range p.all {
		at := ref(place.at.Load())
		if at == 0 {
			continue
		}
		f := s.arena.at(at)
		for which := range f.hashes() {
			number, rest, tag := whereabouts(f.hash(which))
			settle(*s.parts[number].shown.Load(), rest, makeWord(at, which, tag), f)
		}
	}
	s.size.Store(int64(s.expected))
	s.expected = 0
}

// renew makes the part anew with room for so many, and half as many more.
func (s *slots) renew(p *part, held int) {
	all := make([]slot, max(held+held/2, 8))
	for i := range *p.shown.Load() {
		word := (*p.shown.Load())[i].Load()
		if word == empty || word == vacated {
			continue
		}
		f := s.arena.at(refOf(word))
		_, rest, _ := whereabouts(f.hash(whichOf(word)))
		settle(all, rest, word, f)
	}
	p.gone = 0
	p.shown.Store(&all)
}

// settle puts a word into slots that nobody reads yet.
func settle(all []slot, rest, word uint64, f form) {
	at := home(rest, len(all))
	for all[at].Load() != empty {
		at = (at + 1) % len(all)
	}
	all[at].set(word, f)
}
