package replication

import (
	"sync"
	"sync/atomic"
	"time"

	"veto/record"
	"veto/replication/index"
)

// maxPendingBeacons bounds the beacons that the log has not reached yet. When it is full the
// newest is dropped: the next one comes in a moment.
const maxPendingBeacons = 16

// Horizon keeps how far this node's state reaches in time. Beacons move it; nothing moves it
// back. Freshness may be called from anywhere and does not block.
type Horizon struct {
	index *index.Index
	now   func() time.Time

	asOf    atomic.Pointer[time.Time] // nil when unknown
	ready   atomic.Bool
	readied chan struct{}                 // closed when it is
	missing atomic.Pointer[[]record.Span] // nil when none are

	mu      sync.Mutex
	cluster string
	pending []mark // ascending by revision
}

type mark struct {
	revision record.Revision
	asOf     time.Time
}

// NewHorizon starts with nothing known and not ready.
func NewHorizon(x *index.Index, now func() time.Time) *Horizon {
	return &Horizon{index: x, now: now, readied: make(chan struct{})}
}

// Freshness is how far the state reaches now.
func (h *Horizon) Freshness() record.Freshness {
	f := record.Freshness{Ready: h.ready.Load(), Revision: h.index.Revision()}
	if at := h.asOf.Load(); at != nil {
		f.AsOf = *at
	}
	if m := h.missing.Load(); m != nil {
		f.Missing = *m
	}
	return f
}

// Misses tells the horizon which revisions the state knows nothing of, though it is further.
func (h *Horizon) Misses(m []record.Span) { h.missing.Store(&m) }

// Beacon takes the leader's word. The state is complete as of the beacon's time once the
// beacon's revision is applied here. Of the leader's clock and ours the earlier is believed.
// The time is kept as one of this process, with its monotonic reading: so it ages, and beacons
// are ordered, by a clock that nobody sets.
func (h *Horizon) Beacon(b record.Beacon) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b.Cluster == "" || b.Cluster != h.cluster {
		return
	}
	now := h.now()
	m := mark{revision: b.Commit, asOf: now.Add(-max(now.Round(0).Sub(b.At), 0))}
	if len(h.pending) < maxPendingBeacons {
		h.pending = append(h.pending, m)
	}
	h.settle(h.index.Revision())
}

// reached is called after the index was raised to the revision.
func (h *Horizon) reached(r record.Revision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle(r)
}

// founded tells the horizon which cluster's beacons to believe.
func (h *Horizon) founded(clusterID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cluster = clusterID
}

// settle is called with the lock held.
func (h *Horizon) settle(applied record.Revision) {
	kept := h.pending[:0]
	for _, m := range h.pending {
		if m.revision > applied {
			kept = append(kept, m)
			continue
		}
		if at := h.asOf.Load(); at == nil || m.asOf.After(*at) {
			h.asOf.Store(&m.asOf)
		}
		if !h.ready.Swap(true) {
			close(h.readied)
		}
	}
	h.pending = kept
}
