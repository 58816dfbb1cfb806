package limiter

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/validate"
)

// mostKeys is how many keys are counted at once, unless a Config says otherwise.
const mostKeys = 1 << 20

// Config is what a Limiter is made of.
type Config struct {
	// Usage reads how much of a key's quota is taken. It may read the disk: it is asked when a key
	// is first used, and again when it was not for a while. If it cannot tell, it says all.
	Usage func(keyID string) limit.Usage
	// Now is the time that it begins at.
	Now time.Time
	// MaxKeys bounds the keys that are counted at once; some million if zero.
	MaxKeys int
}

const shards = 256

// Limiter counts. It may be used from anywhere at once, its rounds by one at a time.
type Limiter struct {
	config Config
	nodes  atomic.Int32
	count  atomic.Int64
	full   atomic.Uint64
	seed   maphash.Seed
	shards [shards]shard
	urgent urgent
	rounds
}

type shard struct {
	mu      sync.RWMutex
	entries map[string]*entry
	_       [64]byte // shards do not share what the cores pass to each other
}

// urgent are the entries of which a round soon is to tell.
type urgent struct {
	mu      sync.Mutex
	entries []*entry
	wake    chan struct{}
}

// New makes a Limiter of a node that does not know of others yet: so it has a floor, and no more.
func New(c Config) *Limiter {
	if c.MaxKeys == 0 {
		c.MaxKeys = mostKeys
	}
	l := &Limiter{config: c, seed: maphash.MakeSeed()}
	l.urgent.wake = make(chan struct{}, 1)
	for i := range l.shards {
		l.shards[i].entries = map[string]*entry{}
	}
	l.SetNodes(0)
	return l
}

// unknownNodes is how many nodes there are until that is known: enough that what each has is little.
const unknownNodes = 100

// SetNodes says how many nodes there are, this one among them; zero if that is not known.
func (l *Limiter) SetNodes(n int) {
	if n <= 0 {
		n = unknownNodes
	}
	l.nodes.Store(int32(min(n, math.MaxInt32)))
}

// Wake has an entry when something is to be told before the next round.
func (l *Limiter) Wake() <-chan struct{} { return l.urgent.wake }

// Stats are numbers for people who watch.
type Stats struct {
	// Keys are counted now, Refused those requests for whose keys there was no room.
	Keys, Leases int
	Refused      uint64
}

// Stats may be called from anywhere.
func (l *Limiter) Stats() Stats {
	return Stats{Keys: int(l.count.Load()), Leases: int(l.leases.Load()), Refused: l.full.Load()}
}

// Take uses up the cost if all the key's limits have room for it, and nothing otherwise.
func (l *Limiter) Take(k *record.APIKey, cost uint32, now time.Time) (validate.Use, validate.Code) {
	return l.use(request{key: k, cost: cost, now: now, really: true})
}

// Look says what Take would, and uses up nothing.
func (l *Limiter) Look(k *record.APIKey, cost uint32, now time.Time) (validate.Use, validate.Code) {
	return l.use(request{key: k, cost: cost, now: now})
}

func (l *Limiter) use(r request) (validate.Use, validate.Code) {
	r.at, r.nodes = l.at(r.now), l.nodes.Load()
	e := l.entry(r)
	if e == nil {
		l.full.Add(1)
		return validate.Use{Rate: validate.RateUse{RetryAfter: seconds(shortly)}}, validate.RateLimited
	}
	u, code, urgent := e.use(r, l.config.Usage)
	if urgent {
		l.urgent.add(e)
	}
	return u, code
}

func (l *Limiter) at(now time.Time) int64 { return int64(now.Sub(l.config.Now)) }

// entry finds what is counted of the key, or begins to; nil if there is no room.
func (l *Limiter) entry(r request) *entry {
	id := r.key.ID
	s := &l.shards[maphash.String(l.seed, id)%shards]
	s.mu.RLock()
	e := s.entries[id]
	s.mu.RUnlock()
	if e != nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.entries[id]; e != nil {
		return e
	}
	if l.count.Add(1) > int64(l.config.MaxKeys) {
		l.count.Add(-1)
		return nil
	}
	e = newEntry(r.key, r.nodes, r.at)
	s.entries[e.key] = e
	return e
}

func (u *urgent) add(e *entry) {
	u.mu.Lock()
	u.entries = append(u.entries, e)
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default: // whoever makes the rounds has not looked yet
	}
}

func (u *urgent) take() []*entry {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.entries
	u.entries = nil
	return all
}
