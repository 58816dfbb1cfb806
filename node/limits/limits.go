package limits

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/validate/limiter"
)

// Cluster is what it tells and draws from.
type Cluster interface {
	// Size is how many nodes there are; zero if that is not known.
	Size() int
	// Lease brings a report to the leader.
	Lease(ctx context.Context, r limit.Report) (limit.Answer, error)
	Propose(ctx context.Context, c record.Command) (record.Result, error)
}

// Config is what Limits are made of.
type Config struct {
	Limiter *limiter.Limiter
	Cluster Cluster
	// Ready tells whether the node may count on its state.
	Ready func() bool
	Now   func() time.Time
	Log   *slog.Logger
}

const (
	regular  = 500 * time.Millisecond
	soonest  = 50 * time.Millisecond
	founding = 10 * time.Millisecond
	// startLimit is how long a node that starts may know of no leader without a word of it.
	startLimit = 10 * time.Second
	endLimit   = 2 * time.Second
	// drawLimit is short, as rounds wait for it.
	drawLimit = time.Second
)

// Limits make the rounds.
type Limits struct {
	config Config
	stop   context.CancelFunc
	done   chan struct{}

	leaseFailed, drawFailed bool      // the last call of the kind did, and it was told
	news                    time.Time // from when on it is that nobody leads
}

// Start begins. The caller closes it.
func Start(c Config) *Limits {
	ctx, stop := context.WithCancel(context.Background())
	l := &Limits{config: c, stop: stop, done: make(chan struct{}), news: c.Now().Add(startLimit)}
	go func() {
		defer close(l.done)
		l.run(ctx)
	}()
	return l
}

// Close gives back what was drawn and not used, and waits.
func (l *Limits) Close() {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	for _, d := range l.config.Limiter.Draws(l.config.Now(), true) {
		_ = l.draw(ctx, d) // it has been noted
	}
}

func (l *Limits) run(ctx context.Context) {
	for l.config.Cluster.Size() == 0 { // until then this node's share of anything is next to nothing
		select {
		case <-ctx.Done():
			return
		case <-time.After(founding):
		}
	}
	tick := time.NewTicker(regular)
	defer tick.Stop()
	for {
		l.round(ctx, false)
		for calm := true; calm; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(soonest):
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				calm = false
			case <-l.config.Limiter.Wake():
				l.round(ctx, true)
			}
		}
	}
}

func (l *Limits) round(ctx context.Context, urgent bool) {
	l.config.Limiter.SetNodes(l.config.Cluster.Size())
	for _, r := range l.config.Limiter.Begin(l.config.Now(), urgent) {
		a, err := l.config.Cluster.Lease(ctx, r.Report)
		l.note(ctx, &l.leaseFailed, "the leader does not answer; this node goes on with its floor once its leases have run out", err)
		if err != nil {
			break // the others would have no answer either
		}
		l.config.Limiter.Granted(r, a, l.config.Now())
	}
	if !l.config.Ready() {
		return
	}
	var err error
	var unavailable *record.Unavailable
	for _, d := range l.config.Limiter.Draws(l.config.Now(), false) {
		if errors.As(err, &unavailable) { // each would wait as long, and the next leases for all
			l.config.Limiter.NotDrawn(d)
			continue
		}
		err = l.draw(ctx, d)
	}
}

func (l *Limits) draw(ctx context.Context, d limiter.Drawing) error {
	ctx, cancel := context.WithTimeout(ctx, drawLimit)
	defer cancel()
	result, err := l.config.Cluster.Propose(ctx, record.Command{Body: record.DrawQuota{Draws: d.Draws}})
	l.note(ctx, &l.drawFailed, "nothing is drawn of quotas; what this node has drawn is used up", err)
	var rejected *record.Rejection
	var unavailable *record.Unavailable
	switch {
	case err == nil:
		l.config.Limiter.Drawn(d, result.Drawn)
	case errors.As(err, &rejected), errors.As(err, &unavailable):
		l.config.Limiter.NotDrawn(d)
	}
	return err
}

// note tells of the first of several calls of one kind that fail.
func (l *Limits) note(ctx context.Context, failed *bool, text string, err error) {
	if err == nil {
		*failed = false
	} else if !*failed && ctx.Err() == nil && !l.config.Now().Before(l.news) {
		*failed = true
		l.config.Log.Warn("the limits of API keys: "+text, "error", err)
	}
}
