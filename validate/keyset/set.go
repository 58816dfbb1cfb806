package keyset

import (
	"crypto"
	"sync/atomic"

	"veto/record"
)

// maxCandidates bounds the keys that a token without a kid is tried against.
const maxCandidates = 8

// Key is one verification key, ready to use.
type Key struct {
	KID    string
	Alg    string
	Public crypto.PublicKey
}

// Trust is an issuer: its rules and its keys.
type Trust struct {
	Rules record.Issuer
	byKID map[string]*Key
	all   []*Key
}

// Key finds a key by its kid. The key is shared.
func (t *Trust) Key(kid string) (*Key, bool) {
	k, ok := t.byKID[kid]
	return k, ok
}

// Candidates are the keys that a token without a kid may be signed with: at most eight that
// are used with the algorithm.
func (t *Trust) Candidates(alg string) []*Key {
	var fit []*Key
	for _, k := range t.all {
		if k.Alg == alg && len(fit) < maxCandidates {
			fit = append(fit, k)
		}
	}
	return fit
}

// Set is all trusted issuers at one moment. It never changes.
type Set struct{ byIssuer map[string]*Trust }

// Build makes a set. Keys that cannot be read, which Parse never gives, are left out, so that
// one bad record does not take an issuer's other keys away.
func Build(issuers []record.Issuer, keys []record.SigningKeys) *Set {
	s := &Set{byIssuer: make(map[string]*Trust, len(issuers))}
	byID := make(map[string]*Trust, len(issuers))
	for _, i := range issuers {
		t := &Trust{Rules: i, byKID: map[string]*Key{}}
		s.byIssuer[i.Issuer], byID[i.ID] = t, t
	}
	for _, list := range keys {
		if t, ok := byID[list.IssuerID]; ok {
			t.add(list.Keys)
		}
	}
	return s
}

func (t *Trust) add(keys []record.SigningKey) {
	for _, k := range keys {
		public, err := publicOf(k.JWK)
		if err != nil {
			continue
		}
		ready := &Key{KID: k.KID, Alg: k.Alg, Public: public}
		t.all = append(t.all, ready)
		if _, taken := t.byKID[k.KID]; k.KID != "" && !taken {
			t.byKID[k.KID] = ready
		}
	}
}

// Issuer finds the issuer whose iss is exactly this.
func (s *Set) Issuer(iss string) (*Trust, bool) {
	t, ok := s.byIssuer[iss]
	return t, ok
}

// Holder holds the set in force. It may be used from anywhere at once.
type Holder struct{ set atomic.Pointer[Set] }

// NewHolder holds an empty set.
func NewHolder() *Holder {
	h := new(Holder)
	h.Swap(Build(nil, nil))
	return h
}

// Load is the set in force.
func (h *Holder) Load() *Set { return h.set.Load() }

// Swap puts another in its place.
func (h *Holder) Swap(s *Set) { h.set.Store(s) }
