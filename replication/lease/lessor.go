package lease

import (
	"math/bits"
	"sync"
	"time"

	"veto/record/limit"
)

const (
	leased   = limit.Whole - limit.Floors
	duration = limit.LeaseMillis * time.Millisecond
	// trust is how long a leader goes by a majority's word that it leads. A lease that an earlier
	// leader granted ends that much later than its duration after the next one began, at most.
	trust = time.Second
	// slack is how much less than what it holds a node may need and still keep it: to move shares
	// for less would leave a part of the rate to nobody on its way, again and again.
	slack = 20 // a twentieth
	// maxDemand is more than any node can be asked for, in thousandths a second.
	maxDemand = 1 << 40
	// longestRefill bounds how long a burst is waited for.
	longestRefill = 24 * time.Hour
)

// MaxKeys is of how many keys shares are leased at once. Of others each node has its floor.
const MaxKeys = 1 << 17

// Lessor grants shares. It may be used from anywhere at once.
type Lessor struct {
	mu        sync.Mutex
	term      uint64
	since     time.Time       // when it began to lead in the term
	confirmed time.Time       // when it led for certain
	told      map[string]bool // nodes that have told of all that they hold, in the term
	numbers   map[string]uint64
	keys      map[string]*key
	swept     time.Time
}

// key is what is leased of one.
type key struct {
	holders map[string]holding
	// whole is when the burst will have rested, if nobody gets a share until then.
	whole time.Time
}

// holding is the most that a node may hold, until when.
type holding struct {
	share  uint32
	demand uint64
	until  time.Time
}

// New makes a Lessor that does not lead.
func New() *Lessor { return &Lessor{} }

// Lead says that a majority of the voters took this node for the leader of the term, after that time.
func (l *Lessor) Lead(term uint64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if term > l.term {
		l.term, l.since = term, at
		l.keys, l.told, l.numbers = map[string]*key{}, map[string]bool{}, map[string]uint64{}
	}
	l.confirmed = at
}

// Grant answers a node's report, in a cluster of the members. It answers with nothing while it is not
// certain that this node leads, and what came late: behind another of that node, or out of another term.
func (l *Lessor) Grant(node string, r limit.Report, members []string, now time.Time) limit.Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Term != l.term || now.Sub(l.confirmed) > trust || r.Number <= l.numbers[node] || len(r.Asks) > limit.MaxAsks {
		return limit.Answer{}
	}
	l.numbers[node] = r.Number
	l.sweep(now)
	raises := l.knowsAll(members, now)
	a := limit.Answer{Grants: make([]limit.Grant, len(r.Asks))}
	for i, ask := range r.Asks {
		a.Grants[i] = l.grant(node, ask, len(members), raises, now)
	}
	if r.Last {
		l.told[node] = true
	}
	return a
}

// knowsAll tells whether all that is held anywhere is known here, or has run out.
func (l *Lessor) knowsAll(members []string, now time.Time) bool {
	if now.Sub(l.since) >= duration+trust {
		return true
	}
	for _, m := range members {
		if !l.told[m] {
			return false
		}
	}
	return true
}

func (l *Lessor) grant(node string, ask limit.Ask, members int, raises bool, now time.Time) limit.Grant {
	refill := min(time.Duration(min(ask.Refill, uint64(longestRefill/time.Millisecond)))*time.Millisecond, longestRefill)
	k := l.keys[ask.Key]
	if k == nil {
		if len(l.keys) >= MaxKeys {
			return limit.Grant{}
		}
		k = &key{holders: map[string]holding{}}
		// What was used under the leader before is not known here.
		if begun := l.since.Add(duration + trust + refill); now.Before(begun) {
			k.whole = begun
		}
		l.keys[ask.Key] = k
	}
	ask.Demand, ask.Rate = min(ask.Demand, maxDemand), min(ask.Rate, maxDemand)
	total, others := ask.Demand, uint32(0)
	for id, h := range k.holders {
		if id == node || !now.Before(h.until) {
			continue
		}
		total += h.demand
		others += h.share
	}
	share := target(ask, total, members)
	if free := leased - min(others, leased); share > free {
		share = free
	}
	if !raises {
		share = min(share, ask.Held)
	}
	full := share > 0 && !now.Before(k.whole)
	// The answer may be lost: the node then still holds what it holds.
	k.holders[node] = holding{share: max(share, ask.Held), demand: ask.Demand, until: now.Add(duration)}
	if share > 0 || ask.Held > 0 {
		k.whole = now.Add(duration + refill)
	}
	return limit.Grant{Share: share, Full: full}
}

// target is the share that a node should have of all that is leased, for what it asks of the total. As
// long as that is less than the rate, it is what it asks for and an eighth, and an even part of the
// rest: so the others find theirs free when they ask.
func target(ask limit.Ask, total uint64, members int) uint32 {
	if ask.Demand == 0 {
		return 0
	}
	part := ask.Demand
	if need := total + total/8; need < ask.Rate {
		part += part/8 + (ask.Rate-need)/uint64(max(members, 1))
		total = ask.Rate
	}
	hi, lo := bits.Mul64(leased, min(part, total))
	share, _ := bits.Div64(hi, lo, total)
	if ask.Held > uint32(share) && uint32(share) >= ask.Held-ask.Held/slack {
		return ask.Held
	}
	return uint32(share)
}

// sweep forgets what has run out, once a lease's time.
func (l *Lessor) sweep(now time.Time) {
	if now.Sub(l.swept) < duration {
		return
	}
	l.swept = now
	for id, k := range l.keys {
		for node, h := range k.holders {
			if !now.Before(h.until) {
				delete(k.holders, node)
			}
		}
		if len(k.holders) == 0 && !now.Before(k.whole) {
			delete(l.keys, id)
		}
	}
}
