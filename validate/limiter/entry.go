package limiter

import (
	"sync"
	"sync/atomic"
	"time"

	"veto/record"
	"veto/record/limit"
)

// entry is what is counted of one key on this node.
type entry struct {
	key      string
	revision atomic.Uint64 // of the record whose limits are in force here
	lease    atomic.Pointer[lease]
	spent    atomic.Int64           // on the lease's axis
	window   atomic.Pointer[window] // nil if there is no quota
	asked    atomic.Uint64
	listed   atomic.Bool // among those that are active
	urgent   atomic.Bool // to be told of soon

	mu sync.Mutex // held while the lease, the limits or the window are exchanged
	reporting
}

// reporting is owned by the one who makes reports.
type reporting struct {
	asked0 uint64 // at the last report
	at     int64  // of it
	rested int64  // since when nothing was asked for
	demand uint64 // in thousandths a second
}

// leaseAt is the lease in force, after what is due: other limits, other nodes, or its end.
func (e *entry) leaseAt(k *record.APIKey, nodes int32, at int64) *lease {
	x := e.lease.Load()
	if x.nodes == nodes && at < x.until && uint64(k.Revision) <= e.revision.Load() {
		return x
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	limits := e.lease.Load().limits
	if uint64(k.Revision) > e.revision.Load() {
		limits = *k.Limits
		e.revision.Store(uint64(k.Revision))
	}
	e.settle(limits, nodes, at)
	return e.lease.Load()
}

// settle puts the entry under a lease with other limits or nodes, and ends one that has run out. The
// caller holds the lock.
func (e *entry) settle(limits limit.Limits, nodes int32, at int64) {
	x := e.lease.Load()
	if at >= x.until {
		e.give(newLease(x.limits, x.nodes, 0, x.until, forGood, x.credit(x.until)), false)
		x = e.lease.Load()
	}
	if x.nodes != nodes || x.limits != limits {
		share := x.share
		if nodes <= 1 {
			share = 0 // it has all, and would else hold on to it when others come
		}
		at = max(at, x.from)
		e.give(newLease(limits, nodes, share, at, x.until, x.credit(at)), false)
	}
}

// windowAt is the window that the time is in; nil if the key has no quota.
func (e *entry) windowAt(q limit.Quota, now time.Time, usage func(string) limit.Usage) *window {
	w, s := e.window.Load(), now.Unix()
	if w != nil && w.quota == q && w.has(s) || w == nil && q == (limit.Quota{}) {
		return w
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w = e.window.Load()
	switch {
	case q == (limit.Quota{}):
		e.window.Store(nil)
	case w == nil || w.quota.Period != q.Period || !w.has(s):
		e.window.Store(newWindow(q, now, usage(e.key)))
	case w.quota != q: // what was drawn stays drawn
		next := newWindow(q, now, usage(e.key))
		next.left.Store(w.left.Load())
		e.window.Store(next)
	}
	return e.window.Load()
}
