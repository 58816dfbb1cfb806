package limiter

import (
	"sync/atomic"
	"time"

	"veto/record/limit"
)

// ahead is how much of what is left of a quota all nodes together may use before it is drawn: one in
// so many.
const ahead = 20

// parts is how much of what is left all nodes together draw at once, at most: one in so many. It is
// what is lost if they are all killed.
const parts = 20

// window is what this node may let through of one key's quota, in one window of it.
type window struct {
	quota      limit.Quota
	start, end int64 // in seconds since 1970
	// left is what was drawn and not used yet; below zero, what was used ahead of being drawn.
	left atomic.Int64
	// pool is what of the quota nobody has drawn, as far as this node knows.
	pool atomic.Int64
	// refused is the most that was asked for at once and refused, since the last draw.
	refused atomic.Int64
	drawn   int64 // when it was drawn from last; owned by who draws
}

func newWindow(q limit.Quota, now time.Time, u limit.Usage) *window {
	w := &window{quota: q}
	w.start, w.end = q.Period.Window(now)
	w.know(q.Requests)
	if u.Window >= w.start {
		w.know(q.Requests - min(u.Used, q.Requests))
	}
	return w
}

// has tells whether the window is the one of the second. It is that of a little before as well: requests
// do not come in the order of their times, and no window is gone back to, unless the clock was set.
func (w *window) has(second int64) bool { return second < w.end && second >= w.start-3600 }

// know takes in how much of the quota nobody has drawn.
func (w *window) know(pool uint64) { w.pool.Store(int64(pool)) }

// credit is how much may be used ahead: a part of what nobody has drawn, so that all nodes together
// do not use more than that part beyond the quota, and nobody's first request is refused while there
// is some.
func (w *window) credit(nodes int32) int64 {
	pool := w.pool.Load()
	if pool <= 0 {
		return 0
	}
	return max(pool/ahead/int64(max(nodes, 1)), 1)
}

// take takes so many units, or none.
func (w *window) take(cost uint32, nodes int32, really bool) (ok bool) {
	for {
		left := w.left.Load()
		if left+w.credit(nodes) < int64(cost) {
			if really && w.refused.Load() < int64(cost) {
				w.refused.Store(int64(cost))
			}
			return false
		}
		if !really || w.left.CompareAndSwap(left, left-int64(cost)) {
			return true
		}
	}
}

// remaining is what is left of the quota, as far as this node knows.
func (w *window) remaining() uint64 { return uint64(max(w.pool.Load()+w.left.Load(), 0)) }
