package node

import (
	"context"
	"time"

	"veto/record"
	"veto/validate/keyset"
)

const (
	firstRetry   = 2 * time.Second
	longestRetry = 5 * time.Minute
	lookEvery    = 30 * time.Second
)

// schedule is when an issuer's keys are fetched next.
type schedule struct {
	rules record.Revision // the issuer's revision that it was made for
	due   time.Time
	retry time.Duration
}

// refreshKeys fetches the issuers' keys when they are due, while this node leads: one node
// fetches, and the log brings the keys to all.
func (n *Node) refreshKeys(ctx context.Context) {
	plan := map[string]*schedule{}
	for {
		next := n.around.Now().Add(lookEvery)
		for _, i := range n.view.Issuers() {
			if i.Inline() {
				continue
			}
			s := plan[i.ID]
			if s == nil || s.rules != i.Revision {
				s = &schedule{rules: i.Revision, retry: firstRetry}
				plan[i.ID] = s
			}
			if now := n.around.Now(); !now.Before(s.due) {
				n.refreshDue(ctx, i, s)
			}
			if s.due.Before(next) {
				next = s.due
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-n.issuersChanged:
		case <-time.After(max(next.Sub(n.around.Now()), 0)):
		}
	}
}

func (n *Node) refreshDue(ctx context.Context, i record.Issuer, s *schedule) {
	freshFor, err := n.refresh(ctx, i)
	if err != nil {
		s.due = n.around.Now().Add(s.retry)
		s.retry = min(s.retry*2, longestRetry)
		if ctx.Err() == nil {
			n.around.Log.Warn("an issuer's keys were not fetched; trying again", "issuer", i.ID, "error", err, "at", s.due)
		}
		return
	}
	s.due, s.retry = n.around.Now().Add(freshFor), firstRetry
}

// refresh fetches the keys and has the cluster agree on them.
func (n *Node) refresh(ctx context.Context, i record.Issuer) (time.Duration, error) {
	set, freshFor, err := n.fetcher.Fetch(ctx, i)
	if err != nil {
		return 0, err
	}
	keys, err := keyset.Parse(set)
	if err != nil {
		return 0, err
	}
	_, err = n.replica.Propose(ctx, record.Command{Body: record.PutSigningKeys{Keys: record.SigningKeys{
		IssuerID: i.ID, FetchedAt: n.around.Now().UTC().Truncate(time.Second), Keys: keys,
	}}})
	return freshFor, err
}

// refreshOne fetches now, on this node, because an operator asked for it.
func (n *Node) refreshOne(ctx context.Context, i record.Issuer) error {
	_, err := n.refresh(ctx, i)
	return err
}
