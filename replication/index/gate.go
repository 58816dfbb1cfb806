package index

import (
	"context"
	"sync"
	"sync/atomic"

	"veto/record"
)

// gate is the revision, and those who wait for it.
type gate struct {
	revision atomic.Uint64
	waiting  atomic.Int64 // raise looks no further while it is zero

	mu      sync.Mutex
	waiters map[chan struct{}]record.Revision
}

func newGate() *gate { return &gate{waiters: map[chan struct{}]record.Revision{}} }

func (g *gate) raise(rev record.Revision) {
	g.revision.Store(uint64(rev))
	if g.waiting.Load() == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for wake, want := range g.waiters {
		if want <= rev {
			close(wake)
			delete(g.waiters, wake)
		}
	}
}

// Revision is the last one of which this index holds everything.
func (x *Index) Revision() record.Revision { return record.Revision(x.revision.revision.Load()) }

// Await blocks until the revision is reached; otherwise it returns the context's error.
func (x *Index) Await(ctx context.Context, rev record.Revision) error {
	if x.Revision() >= rev {
		return nil
	}
	g := x.revision
	wake := make(chan struct{})
	// Announced before the revision is looked at again, so that a raise in between is seen
	// here or wakes us.
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	g.mu.Lock()
	g.waiters[wake] = rev
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.waiters, wake)
		g.mu.Unlock()
	}()
	if x.Revision() >= rev {
		return nil
	}
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
