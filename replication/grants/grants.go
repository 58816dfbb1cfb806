package grants

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync/atomic"

	"veto/record"
)

// Grants knows the roles, and what keys have. One goroutine calls its methods; At may be called, and
// what it gives be read, from anywhere.
type Grants struct {
	roles map[record.Role][]string // their scopes
	sets  map[string]*Set          // by what they are made of
	by    map[record.Role]map[*Set]struct{}
	shown atomic.Pointer[[]atomic.Pointer[Set]] // by their numbers
	free  []uint32                              // numbers
	left  []uint32                              // numbers that are free after Settle
	// scratch is what the key that is taken is made of.
	scratch []byte
}

// newSet is what the key has. It shares no text with the key, which may be a part of a whole record.
func newSet(k *record.APIKey, of string) *Set {
	return &Set{
		Scopes: cloned(k.Scopes), Roles: cloned(k.Roles), Issuers: cloned(k.Issuers), Consumers: cloned(k.Consumers), Targets: cloned(k.Targets),
		madeOf: of,
	}
}

func cloned[T ~string](texts []T) []T {
	own := slices.Clone(texts)
	for i := range own {
		own[i] = T(strings.Clone(string(own[i])))
	}
	return own
}

// Set is what keys have, shared by all that have the same. It does not change, but for what the roles
// grant.
type Set struct {
	Scopes []string // the keys' own
	Roles  []record.Role
	// Issuers, Consumers and Targets bind an operator's key.
	Issuers, Consumers, Targets []string
	// Granted is nil of keys whose roles bring no scopes.
	Granted *record.Granted

	madeOf string
	number uint32
	keys   int
}

// New knows nothing.
func New() *Grants {
	g := &Grants{roles: map[record.Role][]string{}, sets: map[string]*Set{}, by: map[record.Role]map[*Set]struct{}{}}
	g.shown.Store(new([]atomic.Pointer[Set]))
	return g
}

// Role takes in what a role stands for now, or that it is gone.
func (g *Grants) Role(r *record.DefinedRole, gone bool) {
	if gone {
		delete(g.roles, r.ID)
	} else {
		g.roles[r.ID] = r.Scopes
	}
	for s := range g.by[r.ID] {
		g.fill(s)
	}
}

// At is the set with the number; nil if there is none.
func (g *Grants) At(number uint32) *Set {
	if all := *g.shown.Load(); int(number) < len(all) {
		return all[number].Load()
	}
	return nil
}

// Take counts a key in and gives the number of what it has.
func (g *Grants) Take(k *record.APIKey) uint32 {
	g.scratch = appendMadeOf(g.scratch[:0], k)
	s, ok := g.sets[string(g.scratch)]
	if !ok {
		s = newSet(k, string(g.scratch))
		g.add(s, k.Consumer != "")
	}
	s.keys++
	return s.number
}

// Drop counts a key out that has the set. The number is another's at once when nobody looks for what
// had it, as Settle says.
func (g *Grants) Drop(number uint32) {
	s := g.At(number)
	if s.keys--; s.keys > 0 {
		return
	}
	delete(g.sets, s.madeOf)
	g.left = append(g.left, number)
	if s.Granted == nil {
		return
	}
	for _, r := range s.Roles {
		delete(g.by[r], s)
		if len(g.by[r]) == 0 {
			delete(g.by, r)
		}
	}
}

// Settle says that no key is shown any more that has what was dropped.
func (g *Grants) Settle() {
	for _, number := range g.left {
		(*g.shown.Load())[number].Store(nil)
	}
	g.free, g.left = append(g.free, g.left...), nil
}

// appendMadeOf appends what is the same of keys that have the same.
func appendMadeOf(b []byte, k *record.APIKey) []byte {
	if k.Consumer != "" {
		b = append(b, 'c')
	}
	put := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	b = binary.AppendUvarint(b, uint64(len(k.Roles)))
	for _, r := range k.Roles {
		put(string(r))
	}
	for _, list := range [...][]string{k.Scopes, k.Issuers, k.Consumers, k.Targets} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			put(s)
		}
	}
	return b
}

// add shows a set. Roles of a consumer's keys bring scopes.
func (g *Grants) add(s *Set, ofConsumer bool) {
	g.sets[s.madeOf] = s
	if ofConsumer && len(s.Roles) > 0 {
		s.Granted = new(record.Granted)
		for _, r := range s.Roles {
			if g.by[r] == nil {
				g.by[r] = map[*Set]struct{}{}
			}
			g.by[r][s] = struct{}{}
		}
		g.fill(s)
	}
	if len(g.free) == 0 {
		g.grow()
	}
	last := len(g.free) - 1
	s.number, g.free = g.free[last], g.free[:last]
	(*g.shown.Load())[s.number].Store(s)
}

// grow makes more numbers, as many as there are.
func (g *Grants) grow() {
	before := *g.shown.Load()
	all := make([]atomic.Pointer[Set], max(2*len(before), 16))
	for i := range before {
		all[i].Store(before[i].Load())
	}
	for i := len(all) - 1; i >= len(before); i-- {
		g.free = append(g.free, uint32(i))
	}
	g.shown.Store(&all)
}

// fill makes what the set's keys are granted anew, in the order of their own scopes and their roles.
func (g *Grants) fill(s *Set) {
	if len(s.Scopes) == 0 && len(s.Roles) == 1 {
		s.Granted.Set(g.roles[s.Roles[0]])
		return
	}
	size := len(s.Scopes)
	for _, r := range s.Roles {
		size += len(g.roles[r])
	}
	all := append(make([]string, 0, size), s.Scopes...)
	there := func(scope string) bool { return slices.Contains(all, scope) }
	if size > few {
		seen := make(map[string]struct{}, size)
		there = func(scope string) bool {
			before := len(seen)
			seen[scope] = struct{}{}
			return len(seen) == before
		}
		for _, scope := range all {
			seen[scope] = struct{}{}
		}
	}
	for _, r := range s.Roles {
		for _, scope := range g.roles[r] {
			if !there(scope) {
				all = append(all, scope)
			}
		}
	}
	s.Granted.Set(all)
}

// few scopes are looked through faster than a map of them is made.
const few = 64
