package limiter

import (
	"time"

	"veto/record/limit"
)

// ahead is how much of what is left of a quota all nodes together may use before it is drawn: one in
// so many.
const ahead = 20

// window is what this node may let through of one key's quota, in one window of it. The zero window
// is of a key that has no quota.
type window struct {
	quota      limit.Quota
	start, end int64 // in seconds since 1970
	// left is what was drawn and not used yet; below zero, what was used ahead of being drawn.
	left int64
	// pool is what of the quota nobody has drawn, as far as this node knows.
	pool  int64
	tried int64 // when it was drawn from last
}

func newWindow(q limit.Quota, now time.Time, u limit.Usage) window {
	w := window{quota: q}
	w.start, w.end = q.Period.Window(now)
	if u.Window < w.start {
		u.Used = 0
	}
	w.know(u.Used)
	return w
}

// has tells whether the window is the one of the second. It is that of a little before as well: requests
// do not come in the order of their times, and no window is gone back to, unless the clock was set.
func (w *window) has(second int64) bool { return second < w.end && second >= w.start-3600 }

// know takes in how much of the quota is taken.
func (w *window) know(used uint64) { w.pool = int64(w.quota.Requests - min(used, w.quota.Requests)) }

// suffices tells whether there is enough for a request. A part of what nobody has drawn may be used
// ahead: so all nodes together do not use more than that part beyond the quota, and nobody's first
// request is refused while there is some.
func (w *window) suffices(cost uint32, nodes int32) bool {
	credit := int64(0)
	if w.pool > 0 {
		credit = max(w.pool/ahead/int64(nodes), 1)
	}
	return w.quota == (limit.Quota{}) || w.left+credit >= int64(cost)
}
