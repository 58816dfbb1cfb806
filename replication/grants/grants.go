package grants

import (
	"slices"
	"strings"

	"veto/record"
)

// Grants knows the roles, and what keys have. Its methods are called by one goroutine; what it fills
// in may be read from anywhere.
type Grants struct {
	roles map[record.Role][]string // their scopes
	sets  map[string]*set          // by what they are made of
	by    map[record.Role]map[*set]struct{}
	keys  map[string]*set // by the id of the key
}

// set is shared by all keys that have the same.
type set struct {
	madeOf  string
	scopes  []string // the keys' own
	roles   []record.Role
	granted *record.Granted
	keys    int
}

// New knows nothing.
func New() *Grants {
	return &Grants{
		roles: map[record.Role][]string{}, sets: map[string]*set{},
		by: map[record.Role]map[*set]struct{}{}, keys: map[string]*set{},
	}
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

// Key fills in what a key is granted, if it has roles. Nobody else may know the record yet.
func (g *Grants) Key(k *record.APIKey, gone bool) {
	before := g.keys[k.ID]
	if !gone && k.Consumer != "" && len(k.Roles) > 0 {
		s := g.set(k)
		s.keys++
		g.keys[k.ID], k.Granted = s, s.granted
	} else {
		delete(g.keys, k.ID)
	}
	if before == nil {
		return
	}
	if before.keys--; before.keys == 0 {
		g.drop(before)
	}
}

// set is the one of what the key has.
func (g *Grants) set(k *record.APIKey) *set {
	var b strings.Builder
	for _, r := range k.Roles {
		b.WriteString(string(r))
		b.WriteByte(' ') // stands in neither a role nor a scope
	}
	for _, s := range k.Scopes {
		b.WriteByte(' ')
		b.WriteString(s)
	}
	s, ok := g.sets[b.String()]
	if ok {
		return s
	}
	s = &set{madeOf: b.String(), scopes: k.Scopes, roles: k.Roles, granted: new(record.Granted)}
	g.sets[s.madeOf] = s
	for _, r := range s.roles {
		if g.by[r] == nil {
			g.by[r] = map[*set]struct{}{}
		}
		g.by[r][s] = struct{}{}
	}
	g.fill(s)
	return s
}

func (g *Grants) drop(s *set) {
	delete(g.sets, s.madeOf)
	for _, r := range s.roles {
		delete(g.by[r], s)
		if len(g.by[r]) == 0 {
			delete(g.by, r)
		}
	}
}

// fill makes what the set's keys are granted anew, in the order of their own scopes and their roles.
func (g *Grants) fill(s *set) {
	if len(s.scopes) == 0 && len(s.roles) == 1 {
		s.granted.Set(g.roles[s.roles[0]])
		return
	}
	size := len(s.scopes)
	for _, r := range s.roles {
		size += len(g.roles[r])
	}
	all := append(make([]string, 0, size), s.scopes...)
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
	for _, r := range s.roles {
		for _, scope := range g.roles[r] {
			if !there(scope) {
				all = append(all, scope)
			}
		}
	}
	s.granted.Set(all)
}

// few scopes are looked through faster than a map of them is made.
const few = 64
