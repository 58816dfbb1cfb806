package record

import "time"

// Revision is the Raft index at which something became true. It is the cluster's only
// clock for order: of two revisions, the greater is the later. Zero is before everything.
type Revision uint64

// Freshness says how far a node's state reaches.
type Freshness struct {
	// Revision is the last one that the node's index holds entirely.
	Revision Revision
	// AsOf is the time as of which the state is known to be complete: nothing that was
	// committed before it is missing. Zero when the node cannot tell.
	AsOf time.Time
	// Ready is false until the node has caught up with the commit index that the leader
	// reported after this node's start (P10). Nothing may be allowed before.
	Ready bool
}

// Age is how old the as-of time is by the clock on the wall or by the one that runs in this
// process, whichever says more: the one can be set back, the other stands still while the
// machine sleeps.
func (f Freshness) Age(now time.Time) time.Duration {
	return max(now.Sub(f.AsOf), now.Round(0).Sub(f.AsOf.Round(0)))
}
