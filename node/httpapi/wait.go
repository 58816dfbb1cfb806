package httpapi

import (
	"context"
	"time"

	"veto/record"
)

// Revisions tells how far this node has come, and waits for it to come further.
type Revisions interface {
	// Freshness is how far the node's state reaches. It does not block.
	Freshness() record.Freshness
	// AwaitRevision blocks until the state has reached the revision; otherwise it returns the
	// context's error.
	AwaitRevision(ctx context.Context, r record.Revision) error
}

// MinRevisionHeader names the revision that an answer must at least be based on.
const MinRevisionHeader = "Veto-Min-Revision"

// Wait is how what is ahead of this node waits for it.
type Wait struct {
	// Limit is how long a request may wait for its min_revision; none does if it is zero.
	Limit time.Duration
	// Most is how many may wait at once. One more is not held up: it is decided at
	// once, and so answered as behind_min_revision.
	Most int
}

// Waiting is where requests wait. Each does so on its own connection's goroutine, and holds up
// none but those that its client has sent behind it on that connection.
type Waiting struct {
	revisions Revisions
	limit     time.Duration
	places    chan struct{}
	closing   context.Context // ends when the server does: nobody waits for a node that stops
	end       context.CancelFunc
}

// NewWaiting makes room to wait, until Close.
func NewWaiting(r Revisions, w Wait) *Waiting {
	ctx, cancel := context.WithCancel(context.Background())
	return &Waiting{r, w.Limit, make(chan struct{}, w.Most), ctx, cancel}
}

// Close ends all waiting, and lets nobody wait any more.
func (w *Waiting) Close() { w.end() }

// Reach waits for the revision if this node is ready and has yet to reach it, and tells whether it is short of
// it all the same. A node that is not ready waits for nothing: it would not answer anyway.
func (w *Waiting) Reach(r record.Revision) (short bool) {
	if r == 0 {
		return false
	}
	f := w.revisions.Freshness()
	if short = f.Ready && f.Revision < r; !short || w.limit == 0 {
		return short
	}
	select {
	case w.places <- struct{}{}:
		defer func() { <-w.places }()
	default: // as many wait as may
		return true
	}
	ctx, cancel := context.WithTimeout(w.closing, w.limit)
	defer cancel()
	return w.revisions.AwaitRevision(ctx, r) != nil
}
