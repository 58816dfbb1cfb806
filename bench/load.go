package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Load says what is sent where.
type Load struct {
	// Addresses are servers, host and port each; connections are spread over them evenly.
	Addresses []string
	// TLS is spoken if it is set.
	TLS *tls.Config
	// Request gives the n-th request, from zero, as it is sent: head and body. It may use the room, which
	// is the connection's; what it gives is not changed, and not kept beyond the answer. It is called by
	// all connections at once.
	Request func(n int64, room []byte) []byte
	// Good tells whether an answer is the one that is wanted. It keeps nothing of the body.
	Good func(status int, body []byte) bool
	// Rate is requests a second, in the open loop; 0 is the closed loop.
	Rate float64
	// Connections is how many there are. One carries one request at a time.
	Connections int
	// Warmup is sent and not counted; Duration is.
	Warmup, Duration time.Duration
	// Drain is how long is waited for answers after the end; DefaultDrain if 0.
	Drain time.Duration

	// Dial and ticks are replaced by tests.
	dial  func(ctx context.Context, address string) (net.Conn, error)
	ticks func(time.Duration) (ticks, error)
}

// DefaultDrain is how long is waited for answers after the end of a run.
const DefaultDrain = 10 * time.Second

const (
	// shortestTick is how often the schedule is looked at, at most: those that are due within one are
	// sent together.
	shortestTick = 50 * time.Microsecond
	longestTick  = 10 * time.Millisecond
	// redialAfter is how long a connection that could not be made is left alone.
	redialAfter = 20 * time.Millisecond
	// maxConnections is how many an address has ports for.
	maxConnections = 65_535
	// maxRequests bounds a run: each that was not answered is counted one by one.
	maxRequests = 1_000_000_000
	// shards are how many histograms connections share, as each is large.
	shards = 8
)

// Run puts the load on the servers and gives what came of it. It blocks until the end, or until the
// context ends: then it gives what there is until then, and the context's error.
func (l Load) Run(ctx context.Context) (*Result, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if l.dial == nil {
		l.dial = l.connect
	}
	if l.ticks == nil {
		l.ticks = newTicks
	}
	if l.Drain == 0 {
		l.Drain = DefaultDrain
	}
	start := time.Now()
	r := &run{Load: l, schedule: &schedule{start: start, rate: l.Rate}, counted: start.Add(l.Warmup)}
	r.end = r.counted.Add(l.Duration)
	// What is cut off is cut off by this context, so that it is told from what a server broke off.
	working, cut := context.WithCancel(ctx)
	defer cut()
	var connections, pacer sync.WaitGroup
	for i := range l.Connections {
		connections.Go(func() { r.connection(working, i) })
	}
	var err error
	pacer.Go(func() { err = r.pace(working) })
	pacer.Wait()
	after := time.AfterFunc(l.Drain, cut)
	connections.Wait()
	after.Stop()
	return r.result(), errors.Join(err, ctx.Err())
}

func (l Load) check() error {
	switch {
	case len(l.Addresses) == 0:
		return errors.New("there is no address to send to")
	case l.Connections < 1 || l.Connections > maxConnections:
		return fmt.Errorf("%d connections: give 1 to %d", l.Connections, maxConnections)
	case !(l.Rate*(l.Warmup.Seconds()+l.Duration.Seconds()) <= maxRequests): // nor is it if the rate is no number
		return fmt.Errorf("%g a second for %s, after %s, is more than %d requests", l.Rate, l.Duration, l.Warmup, maxRequests)
	case l.Rate < 0 || l.Duration <= 0 || l.Warmup < 0:
		return fmt.Errorf("%g a second for %s, after %s: none of these may be below zero, nor the time zero", l.Rate, l.Duration, l.Warmup)
	}
	return nil
}

func (l Load) connect(ctx context.Context, address string) (net.Conn, error) {
	if l.TLS == nil {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	return (&tls.Dialer{Config: l.TLS}).DialContext(ctx, "tcp", address)
}

// run is a Load under way.
type run struct {
	Load
	schedule     *schedule
	counted, end time.Time // what is due from the one to the other counts
	tally        [shards]tally
}

// pace makes requests due until the end.
func (r *run) pace(ctx context.Context) error {
	defer r.schedule.end()
	if r.Rate == 0 {
		end := time.NewTimer(time.Until(r.end))
		defer end.Stop()
		select {
		case <-ctx.Done():
		case <-end.C:
		}
		return nil
	}
	interval := time.Duration(float64(time.Second) / r.Rate)
	t, err := r.ticks(min(max(interval, shortestTick), longestTick))
	if err != nil {
		return err
	}
	defer t.stop()
	for ctx.Err() == nil {
		if err := t.wait(); err != nil {
			return err
		}
		now := time.Now()
		r.schedule.release(now, r.end)
		if !now.Before(r.end) {
			break
		}
	}
	return nil
}
