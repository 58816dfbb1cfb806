package limiter

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/validate"
)

// MaxKeys is how many keys are counted at once, unless a Config says otherwise.
const MaxKeys = 1 << 20

// Config is what a Limiter is made of.
type Config struct {
	// Usage reads how much of a key's quota is taken. It may read the disk: it is asked when a key
	// is first used, and again when it was not for a while. If it cannot tell, it says all.
	Usage func(keyID string) limit.Usage
	// Now is the time that it begins at.
	Now time.Time
	// MaxKeys bounds the keys that are counted at once; MaxKeys of the package if zero.
	MaxKeys int
}

const shards = 256

// Limiter counts. It may be used from anywhere at once, its rounds by one at a time.
type Limiter struct {
	config Config
	nodes  atomic.Int32
	count  atomic.Int64
	full   atomic.Uint64
	shards [shards]shard
	awake  atomic.Bool
	wake   chan struct{}

	active struct {
		sync.Mutex
		entries []*entry
	}
	rounds
}

type shard struct {
	mu      sync.RWMutex
	entries map[string]*entry
	_       [64]byte // shards do not share what the cores pass to each other
}

// New makes a Limiter of a node that does not know of others yet: so it has a floor, and no more.
func New(c Config) *Limiter {
	if c.MaxKeys == 0 {
		c.MaxKeys = MaxKeys
	}
	l := &Limiter{config: c, wake: make(chan struct{}, 1)}
	for i := range l.shards {
		l.shards[i].entries = map[string]*entry{}
	}
	l.nodes.Store(unknownNodes)
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
func (l *Limiter) Wake() <-chan struct{} { return l.wake }

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
	return l.use(k, cost, now, true)
}

// Look says what Take would, and uses up nothing.
func (l *Limiter) Look(k *record.APIKey, cost uint32, now time.Time) (validate.Use, validate.Code) {
	return l.use(k, cost, now, false)
}

const shortly = time.Second // when a share may have grown

func (l *Limiter) use(k *record.APIKey, cost uint32, now time.Time, really bool) (validate.Use, validate.Code) {
	at := int64(now.Sub(l.config.Now))
	e := l.entry(k, at)
	if e == nil {
		l.full.Add(1)
		return validate.Use{Rate: validate.RateUse{RetryAfter: seconds(shortly)}}, validate.RateLimited
	}
	if really {
		e.asked.Add(uint64(cost))
		if !e.listed.Load() {
			l.list(e, at)
		}
	}
	nodes := l.nodes.Load()
	for {
		x := e.leaseAt(k, nodes, at)
		w := e.windowAt(x.limits.Quota, now, l.config.Usage)
		u, code, settled := l.both(e, x, w, cost, at, really)
		if settled {
			u.Quota = quotaUse(w, now)
			return u, code
		}
	}
}

// both takes of the quota and of the rate, or of neither. If it is not settled, another was faster.
func (l *Limiter) both(e *entry, x *lease, w *window, cost uint32, at int64, really bool) (u validate.Use, code validate.Code, settled bool) {
	if w != nil && !w.take(cost, x.nodes, really) {
		t, _ := e.take(x, 0, at, false)
		u.Rate = rateUse(x, t)
		if w.pool.Load() <= 0 {
			return u, validate.QuotaExceeded, true
		}
		u.Rate.RetryAfter = seconds(shortly)
		l.urge(e)
		return u, validate.RateLimited, true
	}
	if w != nil && really && w.left.Load() < 0 {
		l.urge(e) // what is used ahead is to be drawn soon
	}
	if x.room == 0 {
		return u, validate.OK, true
	}
	t, settled := e.take(x, cost, at, really)
	if w != nil && really && !t.ok {
		w.left.Add(int64(cost))
	}
	if t.left < x.room/2 && x.nodes > 1 && really {
		l.urge(e)
	}
	u.Rate = rateUse(x, t)
	if !t.ok {
		return u, validate.RateLimited, settled
	}
	return u, validate.OK, settled
}

func rateUse(x *lease, t taken) validate.RateUse {
	if x.room == 0 {
		return validate.RateUse{}
	}
	return validate.RateUse{
		Limit: x.limits.Rate.Requests, Window: x.limits.Rate.Seconds, Burst: x.limits.Burst,
		Remaining: uint32(t.left / unit), Reset: seconds(x.wait(x.room - t.left)), RetryAfter: seconds(t.wait),
	}
}

func quotaUse(w *window, now time.Time) validate.QuotaUse {
	if w == nil {
		return validate.QuotaUse{}
	}
	return validate.QuotaUse{
		Limit: w.quota.Requests, Window: uint32(w.end - w.start), Remaining: w.remaining(), Reset: uint32(max(w.end-now.Unix(), 0)),
	}
}

// seconds are whole ones, rounded up.
func seconds(d time.Duration) uint32 {
	return uint32(min((d+time.Second-1)/time.Second, math.MaxUint32))
}

// entry finds what is counted of the key, or begins to; nil if there is no room.
func (l *Limiter) entry(k *record.APIKey, at int64) *entry {
	s := l.shard(k.ID)
	s.mu.RLock()
	e := s.entries[k.ID]
	s.mu.RUnlock()
	if e != nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.entries[k.ID]; e != nil {
		return e
	}
	if l.count.Add(1) > int64(l.config.MaxKeys) {
		l.count.Add(-1)
		return nil
	}
	e = &entry{key: k.ID}
	e.revision.Store(uint64(k.Revision))
	e.lease.Store(newLease(*k.Limits, l.nodes.Load(), 0, at, forGood, 0))
	s.entries[k.ID] = e
	return e
}

// shard is where the key is counted. The ends of ids are random.
func (l *Limiter) shard(id string) *shard {
	n := uint(0)
	for i := max(len(id)-4, 0); i < len(id); i++ {
		n = n*31 + uint(id[i])
	}
	return &l.shards[n%shards]
}

// list puts the entry among the active ones, of which the rounds tell.
func (l *Limiter) list(e *entry, at int64) {
	if e.listed.Swap(true) {
		return
	}
	l.active.Lock()
	defer l.active.Unlock()
	e.at, e.rested = at, at
	l.active.entries = append(l.active.entries, e)
}

// urge has a round soon tell of the entry.
func (l *Limiter) urge(e *entry) {
	if e.urgent.Load() || e.urgent.Swap(true) || l.awake.Load() || l.awake.Swap(true) {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default: // whoever makes the rounds has not looked yet
	}
}
