package limiter

import (
	"sync/atomic"
	"time"

	"veto/record/limit"
)

const (
	// idle is when a key counts as not used any more, and leaves is when what was drawn of its
	// quota goes back.
	idle   = int64(2 * time.Second)
	leaves = int64(30 * time.Second)
	// ease is over how long demand is averaged, and shortest the time that it is measured over.
	ease     = int64(time.Second)
	shortest = int64(100 * time.Millisecond)
	// drawFor is for how many seconds is drawn at once, and drawAt when: before there is less left
	// than is used in so many.
	drawFor, drawAt = 10, 2
	// drawAgain is how often it is tried of a quota that is exhausted.
	drawAgain  = int64(5 * time.Second)
	sweepEvery = int64(30 * time.Second)
)

// rounds is owned by the one who makes them.
type rounds struct {
	leases atomic.Int64
	number uint64
	swept  int64
	held   int
}

// Round is a report, and of which entries it is.
type Round struct {
	Report  limit.Report
	entries []*entry
	at      int64
}

// Begin begins a round: the active entries take in what was asked for since the last. In between,
// for those only that are urgent. It gives what to tell the leader of rates.
func (l *Limiter) Begin(now time.Time, urgentOnly bool) []Round {
	at := int64(now.Sub(l.config.Now))
	l.awake.Store(false)
	if !urgentOnly && at-l.swept >= sweepEvery {
		l.swept = at
		l.sweep(at)
	}
	nodes := l.nodes.Load()
	r := Round{at: at}
	var all []Round
	held := 0
	for _, e := range l.actives() {
		urgent := e.urgent.Swap(false)
		if urgentOnly && !urgent {
			continue
		}
		e.measure(at)
		share := e.held(nodes, at)
		if share > 0 {
			held++
		}
		if !e.asks(share, urgent, nodes) || share == 0 && l.held >= limit.MaxLeases {
			continue
		}
		r.Report.Asks = append(r.Report.Asks, limit.Ask{Key: e.key, Demand: e.demand, Held: share, Refill: uint64(refill(e.lease.Load().limits).Milliseconds())})
		r.entries = append(r.entries, e)
		if len(r.Report.Asks) == limit.MaxAsks {
			all, r = append(all, r), Round{at: at}
		}
	}
	if !urgentOnly {
		l.held = held
		l.leases.Store(int64(held))
	}
	if nodes <= 1 || urgentOnly && len(r.Report.Asks) == 0 {
		return l.numbered(all, now, false)
	}
	return l.numbered(append(all, r), now, !urgentOnly)
}

// numbered gives the reports numbers that rise, over restarts as well.
func (l *Limiter) numbered(all []Round, now time.Time, last bool) []Round {
	for i := range all {
		l.number = max(l.number+1, uint64(now.UnixNano()))
		all[i].Report.Number = l.number
	}
	if last && len(all) > 0 {
		all[len(all)-1].Report.Last = true
	}
	return all
}

func (l *Limiter) actives() []*entry {
	l.active.Lock()
	defer l.active.Unlock()
	return append([]*entry(nil), l.active.entries...)
}

// measure takes in how much was asked for since the last time.
func (e *entry) measure(at int64) {
	asked, past := e.asked.Load(), max(at-e.at, shortest)
	rate := (asked - e.asked0) * 1000 * uint64(time.Second) / uint64(past)
	switch {
	case asked != e.asked0:
		e.rested = at
		e.demand = (e.demand*uint64(ease) + rate*uint64(past)) / uint64(ease+past)
	case at-e.rested >= idle:
		e.demand = 0
	default:
		e.demand = e.demand * uint64(ease) / uint64(ease+past)
	}
	e.asked0, e.at = asked, at
}

// held is the share that is leased now.
func (e *entry) held(nodes int32, at int64) uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settle(e.lease.Load().limits, nodes, at)
	return e.lease.Load().share
}

// asks tells whether a share is worth asking for: the floor is not enough.
func (e *entry) asks(share uint32, urgent bool, nodes int32) bool {
	x := e.lease.Load()
	if x.room == 0 || nodes <= 1 {
		return false
	}
	floor := scale(uint64(x.limits.Rate.Requests)*1000/uint64(x.limits.Rate.Seconds), uint64(limit.FloorOf(int(nodes))), limit.Whole)
	return share > 0 || urgent || e.demand > floor/2
}

// Granted takes in the leader's answer to a round. The leases count from when the round began.
func (l *Limiter) Granted(r Round, a limit.Answer, now time.Time) {
	if len(a.Grants) != len(r.entries) {
		return
	}
	nodes, at := l.nodes.Load(), int64(now.Sub(l.config.Now))
	until := r.at + int64(limit.LeaseMillis*time.Millisecond)
	for i, e := range r.entries {
		before := r.Report.Asks[i].Held
		g := a.Grants[i]
		e.mu.Lock()
		x := e.lease.Load()
		e.settle(x.limits, nodes, at)
		x = e.lease.Load()
		if from := max(at, x.from); nodes > 1 && from < until {
			e.give(newLease(x.limits, nodes, g.Share, from, until, x.credit(from)), g.Full)
		}
		e.mu.Unlock()
		if g.Share < before {
			l.urge(e) // the leader may give to others only what it is told that this node has let go
		}
	}
}

// sweep forgets the keys that rest, and whose buckets are full.
func (l *Limiter) sweep(at int64) {
	l.active.Lock()
	kept := l.active.entries[:0]
	for _, e := range l.active.entries {
		if at-e.rested < leaves || e.asked.Load() != e.asked0 || e.lease.Load().share > 0 || e.owes() {
			kept = append(kept, e)
		} else {
			e.listed.Store(false)
		}
	}
	clear(l.active.entries[len(kept):])
	l.active.entries = kept
	l.active.Unlock()
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, e := range s.entries {
			if x := e.lease.Load(); !e.listed.Load() && at >= x.from && e.spent.Load() <= x.credit(at) {
				delete(s.entries, id)
				l.count.Add(-1)
			}
		}
		s.mu.Unlock()
	}
}

// owes tells whether something of a quota is to be drawn or to be given back.
func (e *entry) owes() bool {
	w := e.window.Load()
	return w != nil && w.left.Load() != 0
}
