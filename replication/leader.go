package replication

import (
	"context"
	"errors"
	"sync"
	"time"

	"veto/record"
	"veto/replication/consensus"
)

const (
	beaconEvery    = 250 * time.Millisecond
	confirmLimit   = 400 * time.Millisecond
	barrierLimit   = 10 * time.Second
	expireEvery    = 10 * time.Minute
	expireMargin   = time.Hour // clocks differ; keeping longer is harmless
	reconcileEvery = 5 * time.Second
)

// Leadership is what runs while a node leads.
type Leadership struct {
	// Context ends when the node no longer leads.
	Context context.Context
	Propose func(context.Context, record.Command) (record.Result, error)
	View    *View
}

// lead follows the changes of leadership until ctx ends. All that runs while leading has
// ended before the next begins.
func (r *Replica) lead(ctx context.Context) {
	var stop func()
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case leads := <-r.consensus.Leading():
			if stop != nil {
				stop()
				stop = nil
			}
			if leads {
				stop = r.beginTerm(ctx)
			}
		}
	}
}

// beginTerm starts what runs while this node leads. The function that it returns ends it and
// waits.
func (r *Replica) beginTerm(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.establish(ctx); err != nil {
			if ctx.Err() == nil {
				r.config.Log.Error("this node leads but cannot begin to work; it will be replaced or try again", "error", err)
			}
			return
		}
		pilot := r.consensus.NewPilot(&survey{replica: r}, r.config.Expect, r.config.Log)
		pilot.Start(ctx)
		defer pilot.Stop()
		var tasks sync.WaitGroup
		tasks.Go(func() { every(ctx, beaconEvery, nil, r.sendBeacon) })
		tasks.Go(func() { every(ctx, reconcileEvery, r.roster.Changed(), r.reconcile) })
		tasks.Go(func() { every(ctx, expireEvery, nil, r.expire) })
		for _, f := range r.config.WhileLeading {
			tasks.Go(func() { f(Leadership{Context: ctx, Propose: r.Propose, View: r.view}) })
		}
		tasks.Wait()
	})
	return func() { cancel(); wg.Wait() }
}

// establish applies all that earlier leaders committed, and founds the cluster if it is new.
func (r *Replica) establish(ctx context.Context) error {
	for {
		err := r.consensus.Barrier(barrierLimit)
		if err == nil {
			break
		}
		if !r.consensus.IsLeader() || ctx.Err() != nil {
			return err
		}
	}
	if r.view.ClusterID() != "" {
		return nil
	}
	found, err := r.config.Found()
	if err != nil {
		return err
	}
	_, err = r.Propose(ctx, record.Command{Body: found})
	var rejected *record.Rejection
	if errors.As(err, &rejected) {
		return nil // another leader has founded it
	}
	if err != nil {
		return err
	}
	r.config.Founded()
	return nil
}

// sendBeacon tells how far the log reaches, if a majority of the voters confirms that this
// node leads. The time is taken first: whatever happens while it asks, what was committed
// before that time is covered. Replicas have no say, or a leader cut off from the voters
// would pass for one.
func (r *Replica) sendBeacon(ctx context.Context) {
	at, term := r.config.Now(), r.consensus.Term()
	if !r.confirmed(ctx, term) {
		return
	}
	b := record.Beacon{
		Cluster: r.view.ClusterID(), Leader: r.config.ID, Term: term, Commit: r.index.Revision(), At: at,
	}
	r.horizon.Beacon(b)
	r.broadcast.Beacon(b)
}

func (r *Replica) confirmed(ctx context.Context, term uint64) bool {
	if !r.consensus.IsLeader() {
		return false
	}
	servers, _, err := r.consensus.Servers()
	if err != nil {
		return false
	}
	voters := servers[:0]
	for _, s := range servers {
		if s.Voter {
			voters = append(voters, s)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	claim := leaderClaim{Leader: r.config.ID, Term: term}
	answers := r.ask(voters, func(s consensus.Server, addr string) bool {
		if s.ID == r.config.ID {
			return true
		}
		got, err := call[leaderClaim, leaderClaim](ctx, r.peers, addr, s.ID, pathConfirm, claim)
		return err == nil && got.Yes
	})
	yes := 0
	for _, a := range answers {
		if a {
			yes++
		}
	}
	return yes > len(voters)/2 && r.consensus.IsLeader() && r.consensus.Term() == term
}

// expire drops what no longer denies anything.
func (r *Replica) expire(ctx context.Context) {
	before := record.Bucket(r.config.Now().Add(-expireMargin).Unix() / 3600)
	_, err := r.Propose(ctx, record.Command{Body: record.Expire{Before: before}})
	if err != nil && ctx.Err() == nil {
		r.config.Log.Warn("expired revocations were not dropped; the leader tries again later", "error", err)
	}
}

// every calls f at once, then each time the period has passed or the channel tells, until
// ctx ends.
func every(ctx context.Context, period time.Duration, also <-chan struct{}, f func(context.Context)) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		f(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-also:
		}
	}
}
