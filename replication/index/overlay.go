package index

import (
	"sync"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"

	"veto/record"
)

// MaxNotices bounds the revocations in the overlay.
const MaxNotices = 65536

// overlay holds what notices told before the log does.
type overlay struct {
	count   atomic.Int64 // of early; readers look no further while it is zero
	early   *xsync.Map[record.Digest, early]
	dropped atomic.Uint64

	mu      sync.Mutex // held by all who change it
	applied record.Revision
}

type early struct {
	cutoff     int64
	until      record.Revision // dropped once the log has passed it
	revocation *record.Revocation
}

func newOverlay() *overlay { return &overlay{early: xsync.NewMap[record.Digest, early]()} }

func (o *overlay) find(d record.Digest) (early, bool) {
	if o.count.Load() == 0 {
		return early{}, false
	}
	return o.early.Load(d)
}

// add takes one revocation of a notice, unless the log has passed it or there is no room.
func (o *overlay) add(d record.Digest, r record.Revocation, rev record.Revision) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if rev <= o.applied {
		return
	}
	e := early{cutoff: r.Cutoff(), until: rev, revocation: &r}
	if old, ok := o.early.Load(d); ok {
		e.until = max(e.until, old.until)
		if old.cutoff > e.cutoff {
			e.cutoff, e.revocation = old.cutoff, old.revocation
		}
		o.early.Store(d, e)
		return
	}
	if o.count.Load() >= MaxNotices {
		o.dropped.Add(1)
		return
	}
	o.early.Store(d, e)
	o.count.Add(1)
}

// pass drops what the log has brought.
func (o *overlay) pass(rev record.Revision) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.applied = max(o.applied, rev)
	if o.count.Load() == 0 {
		return
	}
	o.early.Range(func(d record.Digest, e early) bool {
		if e.until <= o.applied {
			o.early.Delete(d)
			o.count.Add(-1)
		}
		return true
	})
}
