package node

import (
	"context"
	"errors"
	"math"

	"veto/node/httpapi/watch"
	"veto/record"
	"veto/record/event"
	"veto/replication"
	"veto/replication/feed"
)

// happenings is what happened, as the node's state has it.
type happenings struct {
	state feed.Reader
	view  *replication.View
}

// Events gives facts behind the place, of what is in force.
func (h happenings) Events(after event.ID, limit int) ([]event.Fact, event.ID, error) {
	facts, at, err := feed.Read(h.state, after, h.view.Freshness().Revision, limit)
	var dropped *feed.Dropped
	if errors.As(err, &dropped) {
		err = watch.Gone(dropped.First)
	}
	return facts, at, err
}

// Now is the place behind all that is in force.
func (h happenings) Now() (event.ID, error) {
	now := h.view.Freshness().Revision
	_, at, err := h.Events(event.ID{Revision: now}, math.MaxInt)
	return at, err
}

// Await waits until the revision is in force.
func (h happenings) Await(ctx context.Context, r record.Revision) error {
	return h.view.AwaitRevision(ctx, r)
}

// ClusterID names the cluster.
func (h happenings) ClusterID() string { return h.view.ClusterID() }
