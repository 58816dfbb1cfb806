package limiter

import (
	"sync/atomic"
	"time"

	"veto/record/limit"
)

const (
	// leaves is when what was drawn of a quota goes back, as its key is not used any more.
	leaves = int64(30 * time.Second)
	// ease is over how many seconds demand is averaged, and shortest the time that it is measured over.
	ease       = 1.0
	shortest   = int64(100 * time.Millisecond)
	sweepEvery = int64(30 * time.Second)
)

// rounds is owned by the one who makes them.
type rounds struct {
	leases  atomic.Int64
	number  uint64
	swept   int64
	current []*entry // of which the round is
}

// Round is a report, and of which entries it is.
type Round struct {
	Report  limit.Report
	entries []*entry
	at      int64
}

// Begin begins a round: entries take in what was asked for since the last. In between, only those
// that are urgent. It gives what to tell the leader of rates.
func (l *Limiter) Begin(now time.Time, urgentOnly bool) []Round {
	at, nodes := l.at(now), l.nodes.Load()
	if !urgentOnly && at-l.swept >= sweepEvery {
		l.swept = at
		l.sweep(at)
	}
	l.current = l.urgent.take()
	if !urgentOnly {
		l.current = l.all()
	}
	var all []Round
	r, held := Round{at: at}, int64(0)
	for _, e := range l.current {
		ask, ok := e.ask(nodes, at)
		if !ok {
			continue
		}
		if ask.Held > 0 {
			held++
		}
		r.Report.Asks, r.entries = append(r.Report.Asks, ask), append(r.entries, e)
		if len(r.Report.Asks) == limit.MaxAsks {
			all, r = append(all, r), Round{at: at}
		}
	}
	if !urgentOnly {
		l.leases.Store(held)
	}
	if nodes <= 1 {
		return nil // it has all
	}
	if !urgentOnly || len(r.Report.Asks) > 0 {
		r.Report.Last = !urgentOnly
		all = append(all, r)
	}
	for i := range all { // numbers rise over restarts as well
		l.number = max(l.number+1, uint64(now.UnixNano()))
		all[i].Report.Number = l.number
	}
	return all
}

func (l *Limiter) all() []*entry {
	all := make([]*entry, 0, l.count.Load())
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.RLock()
		for _, e := range s.entries {
			all = append(all, e)
		}
		s.mu.RUnlock()
	}
	return all
}

// ask is what to tell of the entry, if a share is worth asking for: the floor is not enough.
func (e *entry) ask(nodes int32, at int64) (limit.Ask, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	urgent := e.urgent
	e.urgent = false
	e.measure(at)
	e.settle(nil, nodes, at)
	a := limit.Ask{Key: e.key, Demand: uint64(e.demand * 1000), Held: e.share}
	r := e.limits.Rate
	if r == (limit.Rate{}) {
		return a, false
	}
	a.Rate = uint64(r.Requests) * 1000 / uint64(r.Seconds)
	a.Refill = uint64(e.limits.Burst) * uint64(r.Seconds) * 1000 / uint64(r.Requests)
	return a, e.share > 0 || urgent
}

// measure takes in how much was asked for since the last time.
func (e *entry) measure(at int64) {
	past := time.Duration(max(at-e.measured, shortest)).Seconds()
	if e.asked != e.before {
		e.rested = at
	}
	e.demand = (e.demand*ease + float64(e.asked-e.before)) / (ease + past)
	e.before, e.measured = e.asked, at
}

// Granted takes in the leader's answer to a round. The leases count from when the round began.
func (l *Limiter) Granted(r Round, a limit.Answer, now time.Time) {
	if len(a.Grants) != len(r.entries) {
		return
	}
	nodes, at := l.nodes.Load(), l.at(now)
	for i, e := range r.entries {
		if a.Grants[i].Share < r.Report.Asks[i].Held {
			l.urgent.add(e) // the leader gives to others only what it is told that this node has let go
		}
		e.grant(a.Grants[i], r.at+int64(limit.LeaseMillis*time.Millisecond), nodes, at)
	}
}

func (e *entry) grant(g limit.Grant, until int64, nodes int32, at int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settle(nil, nodes, at)
	e.urgent = e.urgent || g.Share < e.share // or the leader is not told of what is 0 now
	e.share, e.until = g.Share, until
	e.resize(g.Full)
}

// sweep forgets the keys that rest, and whose buckets are full.
func (l *Limiter) sweep(at int64) {
	nodes := l.nodes.Load()
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, e := range s.entries {
			if e.rests(nodes, at) { // its lock is held inside of the shard's, and never the other way
				delete(s.entries, id)
				l.count.Add(-1)
			}
		}
		s.mu.Unlock()
	}
}

func (e *entry) rests(nodes int32, at int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settle(nil, nodes, at)
	return at-e.rested >= leaves && e.bucket.left >= e.bucket.room && e.window.left == 0
}
