package limiter

import (
	"math"
	"math/bits"
	"time"

	"veto/record/limit"
)

// unit is one request of cost 1, in the parts in which buckets count.
const unit = 1_000_000

// axisMax is where the counting begins anew, so that it never overflows.
const axisMax = 1 << 60

// lease is what this node may let through of one key's rate, until when. It does not change.
//
// The credit is a line that rises as the rate allows, from axis at from. What was let through is
// counted on the same axis, in entry.spent: how far that is ahead of the credit is what is missing
// in the bucket.
type lease struct {
	limits limit.Limits
	nodes  int32
	share  uint32 // above the floor
	from   int64  // in nanoseconds since the limiter's start, as all times here
	until  int64
	axis   int64 // in parts of a unit
	slope  int64 // in thousandths of a part, a second
	room   int64 // in parts of a unit
}

const forGood = math.MaxInt64

// newLease is the lease of a share on top of the floor.
func newLease(l limit.Limits, nodes int32, share uint32, from, until, axis int64) *lease {
	part := min(uint64(limit.FloorOf(int(nodes)))+uint64(share), limit.Whole)
	if part == limit.Whole || share == 0 {
		until = forGood
	}
	x := &lease{limits: l, nodes: nodes, share: share, from: from, until: until, axis: axis}
	if l.Rate != (limit.Rate{}) {
		x.slope = int64(scale(uint64(l.Rate.Requests)*(1000*unit)/uint64(l.Rate.Seconds), part, limit.Whole))
		// One unit at least: a node's first request of a key is not refused for want of a share.
		x.room = max(int64(scale(uint64(l.Burst)*unit, part, limit.Whole)), unit)
	}
	return x
}

// scale is v times a by b.
func scale(v, a, b uint64) uint64 {
	hi, lo := bits.Mul64(v, a)
	if hi >= b {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, b)
	return min(q, math.MaxInt64)
}

// credit is where the line is at a time.
func (x *lease) credit(at int64) int64 {
	if at <= x.from {
		return x.axis // the clock's readings may come in another order than they were taken
	}
	return x.axis + int64(min(scale(uint64(x.slope), uint64(at-x.from), 1000*uint64(time.Second)), axisMax))
}

// wait is how long it takes to gain so many parts.
func (x *lease) wait(parts int64) time.Duration {
	if parts <= 0 {
		return 0
	}
	return time.Duration(scale(uint64(parts), 1000*uint64(time.Second), uint64(max(x.slope, 1))))
}

// refill is how long the burst takes to be whole again, on all nodes together.
func refill(l limit.Limits) time.Duration {
	if l.Rate == (limit.Rate{}) {
		return 0
	}
	return time.Duration(scale(uint64(l.Burst)*uint64(l.Rate.Seconds), uint64(time.Second), uint64(l.Rate.Requests)))
}

// taken is what came of taking from a bucket.
type taken struct {
	ok   bool
	left int64         // parts that are left in it
	wait time.Duration // until there is enough, if it is not ok
}

// take takes so many units out of the bucket, or none of them. What costs more than this node's
// bucket holds is let through when it is full, and paid off before anything else is.
func (e *entry) take(x *lease, cost uint32, at int64, really bool) (taken, bool) {
	price := int64(cost) * unit
	credit := x.credit(at)
	was := e.spent.Load()
	from := max(was, credit)
	left := x.room - (from - credit)
	if need := min(price, x.room); left < need {
		return taken{left: max(left, 0), wait: x.wait(need - left)}, true
	}
	if !really {
		return taken{ok: true, left: left}, true
	}
	if !e.spent.CompareAndSwap(was, from+price) {
		return taken{}, false
	}
	return taken{ok: true, left: max(left-price, 0)}, true
}

// give puts the entry under another lease. The bucket keeps what is in it, as far as there is room:
// what one node's share grows by another's has shrunk by, with what was in its bucket. If it is full,
// what the share grows by is full. The caller holds the entry's lock.
func (e *entry) give(next *lease, full bool) {
	old := e.lease.Load()
	shift := int64(0)
	if next.axis > axisMax {
		shift = next.axis
		next.axis = 0
	}
	grown := next.room - old.room
	if old.limits.Rate == (limit.Rate{}) {
		grown, full = 0, true // there was no bucket: the new one is full
	}
	// Whoever takes meanwhile must see too little and never too much: so a bucket grows after what
	// is missing in it was counted, and shrinks before.
	if grown <= 0 || shift > 0 {
		e.lease.Store(next)
	}
	for {
		was := e.spent.Load()
		now := max(was-shift, next.axis)
		if !full || grown < 0 {
			now += grown
		}
		if e.spent.CompareAndSwap(was, now) {
			break
		}
	}
	e.lease.Store(next)
}
