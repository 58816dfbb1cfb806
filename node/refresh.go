package node

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"veto/record"
	"veto/validate/keyset"
)

const (
	firstRetry   = 2 * time.Second
	longestRetry = 5 * time.Minute
	lookEvery    = 30 * time.Second
	// pauseForOne is the shortest time between two fetches of one issuer's keys, however many
	// tokens name keys that nobody knows. Each issuer has its own, so that whoever invents
	// kids of one takes nothing away from others; and as a fetch brings all keys, not from
	// those of the same issuer either, but for this pause.
	pauseForOne = 10 * time.Second
	// maxFetches bounds the fetches under way: an issuer that is slow holds up no other.
	maxFetches = 16
	// tellPause is between two calls that tell the leader which keys are wanted.
	tellPause = time.Second
)

// schedule is when an issuer's keys are fetched next.
type schedule struct {
	rules record.Revision // the issuer's revision that it was made for
	last  time.Time       // begin of the last fetch
	due   time.Time
	retry time.Duration
	busy  bool
}

// fetched is what came of a fetch.
type fetched struct {
	issuer   string
	schedule *schedule
	freshFor time.Duration
	err      error
}

// wanted are the issuers of which tokens named keys that are not here. There are never more
// than trusted issuers.
type wanted struct {
	mu      sync.Mutex
	issuers map[string]bool
	wake    chan struct{}
}

func newWanted() *wanted { return &wanted{issuers: map[string]bool{}, wake: make(chan struct{}, 1)} }

func (w *wanted) add(ids ...string) {
	w.mu.Lock()
	for _, id := range ids {
		w.issuers[id] = true
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // whoever listens has not looked yet, and will see these, too
	}
}

func (w *wanted) take() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.issuers
	w.issuers = map[string]bool{}
	return taken
}

// tellLeader tells the leader, which fetches, of keys that tokens here have named in vain.
func (n *Node) tellLeader(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.missing.wake:
		}
		var ids []string
		for id := range n.missing.take() {
			ids = append(ids, id)
		}
		if err := n.replica.WantKeys(ctx, ids); err != nil {
			n.around.Log.Debug("the leader was not told of missing keys; the next token will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tellPause):
		}
	}
}

// refreshKeys fetches the issuers' keys when they are due, while this node leads: one node
// fetches, and the log brings the keys to all.
func (n *Node) refreshKeys(ctx context.Context) {
	plan, done, busy := map[string]*schedule{}, make(chan fetched), 0
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		next := n.around.Now().Add(lookEvery)
		now, wanted := n.around.Now(), n.wanted.take()
		issuers := n.view.Issuers()
		maps.DeleteFunc(plan, func(id string, _ *schedule) bool {
			return !slices.ContainsFunc(issuers, func(i record.Issuer) bool { return i.ID == id })
		})
		for _, i := range issuers {
			if i.Inline() {
				continue
			}
			s := plan[i.ID]
			if s == nil || s.rules != i.Revision {
				s = &schedule{rules: i.Revision, retry: firstRetry}
				plan[i.ID] = s
			}
			if soon := s.last.Add(pauseForOne); wanted[i.ID] && soon.Before(s.due) {
				s.due = soon
			}
			if !s.busy && !now.Before(s.due) && busy < maxFetches {
				s.busy, s.last = true, now
				busy++
				wg.Go(func() { n.fetch(ctx, i, s, done) })
			}
			if !s.busy && s.due.Before(next) {
				next = s.due
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-n.issuersChanged:
		case <-n.wanted.wake:
		case f := <-done:
			busy--
			n.scheduleNext(ctx, f)
		case <-time.After(max(next.Sub(n.around.Now()), 0)):
		}
	}
}

func (n *Node) fetch(ctx context.Context, i record.Issuer, s *schedule, done chan<- fetched) {
	freshFor, err := n.refresh(ctx, i)
	select {
	case done <- fetched{i.ID, s, freshFor, err}:
	case <-ctx.Done():
	}
}

func (n *Node) scheduleNext(ctx context.Context, f fetched) {
	s := f.schedule
	s.busy = false
	if f.err == nil {
		s.due, s.retry = n.around.Now().Add(f.freshFor), firstRetry
		return
	}
	s.due = n.around.Now().Add(s.retry)
	s.retry = min(s.retry*2, longestRetry)
	if ctx.Err() == nil {
		n.around.Log.Warn("an issuer's keys were not fetched; trying again", "issuer", f.issuer, "error", f.err, "at", s.due)
	}
}

// refresh fetches the keys and has the cluster agree on them.
func (n *Node) refresh(ctx context.Context, i record.Issuer) (time.Duration, error) {
	set, freshFor, err := n.fetcher.Fetch(ctx, i)
	if err != nil {
		return 0, err
	}
	keys, refused, err := keyset.ParsePublished(set, i.Algorithms)
	if err != nil {
		return 0, err
	}
	for _, why := range refused {
		n.around.Log.Warn("an issuer publishes a key that is not taken; its others are", "issuer", i.ID, "error", why)
	}
	_, err = n.replica.Propose(ctx, record.Command{Body: record.PutSigningKeys{Rules: i.Revision, Keys: record.SigningKeys{
		IssuerID: i.ID, FetchedAt: n.around.Now().UTC().Truncate(time.Second), Keys: keys,
	}}})
	return freshFor, err
}

// refreshOne fetches now, on this node, because an operator asked for it.
func (n *Node) refreshOne(ctx context.Context, i record.Issuer) error {
	if i.Inline() {
		return record.Conflict("the keys of issuer %s were given, and are not fetched; put the issuer with new ones", i.ID)
	}
	_, err := n.refresh(ctx, i)
	return err
}
