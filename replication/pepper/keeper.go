package pepper

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"veto/record"
)

// State is what this node knows.
type State interface {
	ClusterID() string
	Peppers() *Peppers
	// Outdated are up to so many hashes to be replaced by those that they are given with.
	Outdated(limit int) []record.Rehash
	// Counts are how many secrets there are by each chain.
	Counts() map[record.Chain]int
}

// Cluster is where changes go.
type Cluster interface {
	Propose(ctx context.Context, c record.Command) (record.Result, error)
	// AllHold tells whether every node has said that it has the key with the fingerprint. It asks
	// them, and takes up to a second.
	AllHold(ctx context.Context, fingerprint string) bool
}

// Keeper keeps the peppers of a cluster.
type Keeper struct {
	ring    *Ring // which may change: see now
	state   State
	cluster Cluster
	random  io.Reader
	log     *slog.Logger
	wake    chan struct{} // of one: more news is no news
}

const (
	// atOnce is how many hashes are looked for at a time.
	atOnce = 16 * record.MaxRehashes
	// TendEvery is how often the leader looks whether there is something to do.
	TendEvery = 5 * time.Second
)

// NewKeeper makes the keeper of a node with the keys; they may be nil.
func NewKeeper(r *Ring, s State, c Cluster, random io.Reader, log *slog.Logger) *Keeper {
	return &Keeper{ring: r, state: s, cluster: c, random: random, log: log, wake: make(chan struct{}, 1)}
}

// Changed tells that a pepper was made, so that the leader does not wait to tend the keys.
func (k *Keeper) Changed() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Wake has something after Changed.
func (k *Keeper) Wake() <-chan struct{} { return k.wake }

// State is how this node stands to the peppers.
func (k *Keeper) State() record.PepperState {
	switch {
	case k.state.Peppers().Locked():
		return record.PepperLocked
	case k.ring == nil:
		return record.PepperNone
	}
	return record.PepperHeld
}

// Fingerprints are those of the keys that this node has.
func (k *Keeper) Fingerprints() []string { return k.ring.Fingerprints() }

// Tend does what is to be done: called while this node leads.
func (k *Keeper) Tend(ctx context.Context) {
	p, ring := k.state.Peppers(), k.ring.now()
	if ring == nil || p.Locked() {
		return
	}
	err := k.wrap(ctx, ring, p.Records())
	if err == nil {
		err = k.rehash(ctx)
	}
	if err != nil && ctx.Err() == nil {
		k.log.Warn("the peppers of API keys were not tended to the end; the leader tries again", "error", err)
	}
}

// wrap makes the first pepper, or wraps those that there are by the newest key.
func (k *Keeper) wrap(ctx context.Context, ring *Ring, all []record.Pepper) error {
	old := func(p record.Pepper) bool { return p.WrappedBy != ring.First() }
	if len(all) > 0 && !slices.ContainsFunc(all, old) || !k.cluster.AllHold(ctx, ring.First()) {
		return nil
	}
	if len(all) == 0 {
		_, err := k.make(ctx, ring, record.Command{})
		return err
	}
	for _, p := range all {
		if !old(p) {
			continue
		}
		p, err := ring.Rewrap(k.random, k.state.ClusterID(), p)
		if err != nil {
			return err
		}
		if _, err := k.cluster.Propose(ctx, record.Command{Body: record.PutPepper{Pepper: p}}); err != nil {
			return err
		}
	}
	return nil
}

// make proposes the next pepper with the command.
func (k *Keeper) make(ctx context.Context, ring *Ring, c record.Command) (record.Result, error) {
	p, err := ring.Make(k.random, k.state.ClusterID(), k.state.Peppers().Newest()+1)
	if err != nil {
		return record.Result{}, err
	}
	c.Body = record.PutPepper{Pepper: p}
	return k.cluster.Propose(ctx, c)
}

var errNoProgress = errors.New("hashes of API keys that were made are not in the state yet")

// rehash has all secrets hashed through the newest pepper. What is proposed twice is done once.
func (k *Keeper) rehash(ctx context.Context) error {
	var last record.Rehash
	for {
		all := k.state.Outdated(atOnce)
		if len(all) == 0 {
			return nil
		}
		if all[0] == last {
			return errNoProgress
		}
		last = all[0]
		for some := range slices.Chunk(all, record.MaxRehashes) {
			if _, err := k.cluster.Propose(ctx, record.Command{Body: record.RehashKeys{Keys: some}}); err != nil {
				return err
			}
		}
	}
}

// Rotate makes the next pepper for whoever sent the command, which has no body yet.
func (k *Keeper) Rotate(ctx context.Context, c record.Command) (record.Result, error) {
	// The key that all nodes were seen to have is the one that wraps: the file may be another meanwhile.
	switch p, ring := k.state.Peppers(), k.ring.now(); {
	case ring == nil:
		return record.Result{}, record.Conflict("this node was given no pepper_key_file, so it can make no pepper; give every node one and start it again")
	case p.Locked():
		return record.Result{}, record.Conflict("this node cannot read a pepper that there is; `veto cluster` shows which nodes can: ask one of them")
	case !k.cluster.AllHold(ctx, ring.First()):
		return record.Result{}, record.Conflict("not every node has said that it has the key %s, which would wrap the pepper; put it into the pepper_key_file of those that are missing, and start them or send them SIGHUP: `veto cluster` shows them", ring.First())
	default:
		return k.make(ctx, ring, c)
	}
}

// Status is what is told of the peppers.
func (k *Keeper) Status() record.PepperStatus {
	s := record.PepperStatus{State: k.State(), Peppers: k.state.Peppers().Records(), Keys: []record.ChainCount{}}
	for c, n := range k.state.Counts() {
		one := record.ChainCount{Peppers: []record.PepperID{}, Secrets: n}
		for id := c.From; id <= c.To && id > 0; id++ {
			one.Peppers = append(one.Peppers, id)
		}
		s.Keys = append(s.Keys, one)
	}
	slices.SortFunc(s.Keys, func(a, b record.ChainCount) int { return slices.Compare(a.Peppers, b.Peppers) })
	return s
}
