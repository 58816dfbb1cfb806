package canary

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"veto/record"
)

const (
	longest      = 10 * time.Second // then a node has failed
	askAgain     = 100 * time.Millisecond
	mostUnderWay = 128
	mostPending  = 1000
)

// Cluster is where the canary is let fly.
type Cluster interface {
	// Revoke takes a revocation and answers what came of it within the wait.
	Revoke(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error)
	// Pending is how many revocations this node has taken that the log does not have.
	Pending() int
	// Others are the other nodes of the cluster.
	Others() []record.NodeStatus
	// Denies blocks until the node has said that it denies the name, which was accepted here;
	// otherwise it returns why not.
	Denies(ctx context.Context, nodeID string, a record.Accepted, n record.Name) error
}

// Watcher is told of what the canary sees. Its methods must not block; calls follow one another.
type Watcher interface {
	// Confirmed is called when a node has given its word, Failed when it has not in time.
	Confirmed(nodeID, region string, took time.Duration)
	Failed(nodeID, region string)
	// Gone is called when a node is no longer of the cluster, or of another region: what was
	// said of it is to be forgotten.
	Gone(nodeID string)
}

// Config is what a Canary is made of.
type Config struct {
	Cluster Cluster
	Watcher Watcher
	// Every is the time between two canaries.
	Every time.Duration
	// Ready tells whether this node has caught up: before, none is let fly.
	Ready func() bool
	// NewID makes an id that is nobody's yet.
	NewID func() string
	Now   func() time.Time
	Log   *slog.Logger
}

// Canary may be used from anywhere at once.
type Canary struct {
	config Config
	places chan struct{} // for those under way
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	flown   uint64             // how many were let fly
	windows map[string]*window // by the id of the node
}

// Start lets the first fly at once. The caller closes it.
func Start(c Config) *Canary {
	ctx, stop := context.WithCancel(context.Background())
	x := &Canary{config: c, places: make(chan struct{}, mostUnderWay), stop: stop, windows: map[string]*window{}}
	x.wg.Go(func() { x.run(ctx) })
	return x
}

// Close ends it, and waits for those under way to end, which it makes them do at once.
func (x *Canary) Close() {
	x.stop()
	x.wg.Wait()
}

// Propagation is what was measured of the node; nil if nothing was yet.
func (x *Canary) Propagation(nodeID string) *record.Propagation {
	x.mu.Lock()
	defer x.mu.Unlock()
	w, ok := x.windows[nodeID]
	if !ok {
		return nil
	}
	return w.propagation()
}

func (x *Canary) run(ctx context.Context) {
	tick := time.NewTicker(x.config.Every)
	defer tick.Stop()
	for {
		x.next(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// next lets one fly, if there is anyone to see it.
func (x *Canary) next(ctx context.Context) {
	others := x.config.Cluster.Others()
	number := x.look(others)
	if len(others) == 0 || !x.config.Ready() || x.config.Cluster.Pending() >= mostPending {
		return
	}
	select {
	case x.places <- struct{}{}:
	default: // so many are under way that this one would tell nothing new
		return
	}
	x.wg.Go(func() {
		defer func() { <-x.places }()
		x.fly(ctx, number, others)
	})
}

// look brings what is kept in step with the nodes that there are, and gives the next number.
func (x *Canary) look(others []record.NodeStatus) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	there := map[string]bool{}
	for _, n := range others {
		there[n.ID] = true
		w, ok := x.windows[n.ID]
		if ok && (n.Region == "" || n.Region == w.region) { // gossip may have forgotten where it is
			continue
		}
		if ok {
			x.config.Watcher.Gone(n.ID)
		}
		x.windows[n.ID] = &window{region: n.Region}
	}
	for id := range x.windows {
		if !there[id] {
			delete(x.windows, id)
			x.config.Watcher.Gone(id)
		}
	}
	x.flown++
	return x.flown
}

// fly revokes one token and asks all others at once.
func (x *Canary) fly(ctx context.Context, number uint64, others []record.NodeStatus) {
	name := record.Name{Target: record.TargetJTI, Issuer: record.CanaryIssuer, Value: x.config.NewID()}
	accepted, err := x.config.Cluster.Revoke(ctx, record.Taken{Revocation: record.Revocation{Name: name}}, 0)
	if err != nil {
		if ctx.Err() == nil {
			x.config.Log.Warn("the canary's token was not revoked, so nothing was measured", "error", err)
		}
		return
	}
	begin := x.config.Now()
	limited, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range others {
		wg.Go(func() {
			confirmed := x.confirmed(limited, n.ID, accepted, name)
			took := x.config.Now().Sub(begin)
			if confirmed || ctx.Err() == nil {
				x.note(n.ID, outcome{number, took, confirmed})
			}
		})
	}
	wg.Wait()
}

// confirmed asks a node until it has given its word, or the context ends.
func (x *Canary) confirmed(ctx context.Context, nodeID string, a record.Accepted, n record.Name) bool {
	for x.config.Cluster.Denies(ctx, nodeID, a, n) != nil {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(askAgain):
		}
	}
	return true
}

// note keeps an outcome, unless its node has left meanwhile.
func (x *Canary) note(nodeID string, o outcome) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w, ok := x.windows[nodeID]
	if !ok {
		return
	}
	w.add(o)
	if o.confirmed {
		x.config.Watcher.Confirmed(nodeID, w.region, o.took)
	} else {
		x.config.Watcher.Failed(nodeID, w.region)
	}
}
