package data

import (
	"cmp"
	"context"
	"slices"
	"time"

	"veto/record"
	"veto/validate"
)

// Revisions tells how far this node has come, and waits for it to come further.
type Revisions interface {
	// Freshness is how far the node's state reaches. It does not block.
	Freshness() record.Freshness
	// AwaitRevision blocks until the state has reached the revision; otherwise it returns the
	// context's error.
	AwaitRevision(ctx context.Context, r record.Revision) error
}

// Wait is how the questions that are ahead of this node wait for it.
type Wait struct {
	// Limit is how long a question may wait for its min_revision; none does if it is zero.
	Limit time.Duration
	// Most is how many questions may wait at once. One more is not held up: it is decided at
	// once, and so answered as behind_min_revision.
	Most int
}

// waiting is where questions wait. Each does so on its own connection's goroutine, and holds up
// none but those that its client has sent behind it on that connection.
type waiting struct {
	revisions Revisions
	limit     time.Duration
	places    chan struct{}
	closing   context.Context // ends when the server does: nobody waits for a node that stops
	close     context.CancelFunc
}

func newWaiting(r Revisions, w Wait) *waiting {
	ctx, cancel := context.WithCancel(context.Background())
	return &waiting{r, w.Limit, make(chan struct{}, w.Most), ctx, cancel}
}

// reach waits for the revision if this node is ready and has yet to reach it. What came of it
// the verdict tells. A node that is not ready waits for nothing: it would not answer anyway.
func (w *waiting) reach(r record.Revision) {
	if r == 0 || w.limit == 0 {
		return
	}
	if f := w.revisions.Freshness(); !f.Ready || f.Revision >= r {
		return
	}
	select {
	case w.places <- struct{}{}:
		defer func() { <-w.places }()
	default: // as many wait as may
		return
	}
	ctx, cancel := context.WithTimeout(w.closing, w.limit)
	defer cancel()
	_ = w.revisions.AwaitRevision(ctx, r) // the verdict says whether it came
}

// latest is the greatest revision that a question of a batch asks for.
func latest(questions []validate.Request) record.Revision {
	return slices.MaxFunc(questions, func(a, b validate.Request) int {
		return cmp.Compare(a.MinRevision, b.MinRevision)
	}).MinRevision
}
