package keyset

import (
	"crypto"
	"sync/atomic"
	"time"

	"veto/record"
)

// maxCandidates bounds the keys that a token without a kid is tried against.
const maxCandidates = 8

// Key is one verification key, ready to use. It has a public key or a secret.
type Key struct {
	KID    string
	Alg    string
	Public crypto.PublicKey
	Secret []byte
	// RetiredAt is when the issuer was first seen without the key; zero while it has it.
	RetiredAt time.Time
}

// Trust is an issuer: its rules and its keys, as they were from one change to the next. What
// was verified by them is good only as long as they are live.
type Trust struct {
	Rules record.Issuer

	byKID   map[string]*Key
	all     []*Key
	keys    record.Revision // of the set of keys
	retired atomic.Bool
}

// Live tells whether these are still the issuer's rules and keys.
func (t *Trust) Live() bool { return !t.retired.Load() }

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

// Fitting is how many keys are used with the algorithm: those above eight are no candidates.
func (t *Trust) Fitting(alg string) int {
	n := 0
	for _, k := range t.all {
		if k.Alg == alg {
			n++
		}
	}
	return n
}

// Set is all trusted issuers at one moment. It never changes.
type Set struct{ byIssuer map[string]*Trust }

// Build makes a set. An issuer that has not changed since before keeps its Trust. Keys that
// cannot be read, which Parse never gives, are left out, so that one bad record does not take
// an issuer's other keys away.
func Build(issuers []record.Issuer, keys []record.SigningKeys, before *Set) *Set {
	s := &Set{byIssuer: make(map[string]*Trust, len(issuers))}
	byID := make(map[string]record.SigningKeys, len(keys))
	for _, list := range keys {
		byID[list.IssuerID] = list
	}
	for _, i := range issuers {
		list := byID[i.ID]
		t, ok := before.Issuer(i.Issuer)
		if !ok || t.Rules.ID != i.ID || t.Rules.Revision != i.Revision || t.keys != list.Revision {
			t = &Trust{Rules: i.WithDefaults(), byKID: map[string]*Key{}, keys: list.Revision}
			t.add(list.Keys)
		}
		s.byIssuer[i.Issuer] = t
	}
	return s
}

func (t *Trust) add(keys []record.SigningKey) {
	for _, k := range keys {
		ready := &Key{KID: k.KID, Alg: k.Alg, Secret: k.Secret, RetiredAt: k.RetiredAt}
		if len(k.Secret) == 0 {
			var err error
			if ready.Public, err = publicOf(k.JWK); err != nil {
				continue
			}
		}
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
	h.set.Store(&Set{})
	return h
}

// Load is the set in force.
func (h *Holder) Load() *Set { return h.set.Load() }

// Swap puts a set of these issuers and keys in its place. When it returns, what has changed is
// live no more. It is called by one goroutine.
func (h *Holder) Swap(issuers []record.Issuer, keys []record.SigningKeys) {
	before := h.set.Load()
	now := Build(issuers, keys, before)
	h.set.Store(now)
	for iss, t := range before.byIssuer {
		if now.byIssuer[iss] != t {
			t.retired.Store(true)
		}
	}
}
