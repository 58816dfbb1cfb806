package pepper

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"

	"veto/record"
)

// Peppers are those that there are, oldest first. They are never changed once they are shown.
type Peppers struct {
	all    []*one
	locked bool
}

// one is a pepper, ready to make hashes with.
type one struct {
	record record.Pepper
	macs   *sync.Pool // of *mac; nil if the pepper cannot be unwrapped
}

// mac has its state before the first byte worked out once, and goes back to it.
type mac struct {
	hash hash.Hash
	room record.KeyHash
}

// With are the peppers with this one more, or in the place of what it was. The error says why it could
// not be unwrapped: then they are locked.
func (p *Peppers) With(r *Ring, cluster string, c record.Pepper) (*Peppers, error) {
	fresh := &one{record: c}
	s, err := r.unwrap(cluster, c)
	if err == nil {
		fresh.macs = &sync.Pool{New: func() any { return &mac{hash: hmac.New(sha256.New, s[:])} }}
	}
	next := p.Without(c.ID)
	at := 0
	for at < len(next.all) && next.all[at].record.ID < c.ID {
		at++
	}
	next.all = append(next.all[:at:at], append([]*one{fresh}, next.all[at:]...)...)
	next.locked = next.locked || err != nil
	return next, err
}

// Unlocked are the peppers after those that could not be unwrapped were tried by the keys that the ring has now.
func (p *Peppers) Unlocked(r *Ring, cluster string) *Peppers {
	for _, o := range p.all {
		if o.macs != nil {
			continue
		}
		if next, err := p.With(r, cluster, o.record); err == nil {
			p = next
		}
	}
	return p
}

// Without are the peppers without that one.
func (p *Peppers) Without(id record.PepperID) *Peppers {
	next := &Peppers{}
	for _, o := range p.all {
		if o.record.ID != id {
			next.all, next.locked = append(next.all, o), next.locked || o.macs == nil
		}
	}
	return next
}

// Locked tells whether there is a pepper that cannot be unwrapped: then no hash can be trusted to be
// that of no key.
func (p *Peppers) Locked() bool { return p.locked }

// Records are the peppers' records, oldest first.
func (p *Peppers) Records() []record.Pepper {
	all := make([]record.Pepper, len(p.all))
	for i, o := range p.all {
		all[i] = o.record
	}
	return all
}

// Newest is the one that new hashes are made with; zero if there is none.
func (p *Peppers) Newest() record.PepperID {
	if len(p.all) == 0 {
		return 0
	}
	return p.all[len(p.all)-1].record.ID
}

// Every is every chain that a key may have, but for that of the newest pepper alone.
func (p *Peppers) Every() []record.Chain {
	if len(p.all) == 0 {
		return nil
	}
	all := []record.Chain{{}}
	for i, from := range p.all {
		for _, to := range p.all[i:] {
			if c := (record.Chain{From: from.record.ID, To: to.record.ID}); c != record.ChainOf(p.Newest()) {
				all = append(all, c)
			}
		}
	}
	return all
}

// Sum is the hash, by the chain, of a secret that has the SHA-256.
func (p *Peppers) Sum(h record.KeyHash, c record.Chain) record.KeyHash {
	for id := c.From; id <= c.To && id > 0; id++ {
		h = p.of(id).sum(h)
	}
	return h
}

// Extend makes a hash that ends with the newest pepper of one by the chain. There must be a pepper.
func (p *Peppers) Extend(h record.KeyHash, c record.Chain) (record.KeyHash, record.Chain) {
	last := p.Newest()
	next := record.ChainOf(last)
	if !c.IsZero() {
		next.From = c.To + 1
	}
	return p.Sum(h, next), c.Through(last)
}

// of is the pepper with the id: they have no gaps.
func (p *Peppers) of(id record.PepperID) *one { return p.all[id-p.all[0].record.ID] }

func (o *one) sum(h record.KeyHash) record.KeyHash {
	m, _ := o.macs.Get().(*mac)
	m.room = h
	m.hash.Reset()
	_, _ = m.hash.Write(m.room[:]) // a hash never fails
	m.hash.Sum(m.room[:0])
	h = m.room
	o.macs.Put(m)
	return h
}
