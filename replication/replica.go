package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"veto/record"
	"veto/record/event"
	"veto/replication/consensus"
	"veto/replication/feed"
	"veto/replication/index"
	"veto/replication/lease"
	"veto/replication/machine"
	"veto/replication/outbox"
	"veto/replication/peer"
	"veto/replication/pepper"
	"veto/replication/roster"
	"veto/replication/store"
)

// Parts are what a Replica is made of. The Replica closes none of them.
type Parts struct {
	Store     *store.Store
	Outbox    *store.Outbox
	View      *View
	Peers     Peers
	Roster    Roster
	Notices   Notices
	Broadcast Broadcast
}

// Peers carries Raft's connections and calls between nodes: see peer.Mux, which says what each method
// does and what the errors of Call are.
type Peers interface {
	consensus.Dialer
	Handle(path string, h peer.Handler)
	Serve()
	Call(ctx context.Context, addr, id, path string, body []byte) ([]byte, error)
}

// Roster knows who is there: see roster.Roster.
type Roster interface {
	Members() []roster.Member
	Self() roster.Member
	Change(f func(self *roster.Member)) error
	Leave(limit time.Duration) error
	Changed() <-chan struct{}
}

// Notices brings words to the other nodes, if it can: see notices.Notices. Its methods do not block.
type Notices interface {
	Notice(n record.Notice)
	Beacon(b record.Beacon)
	To(nodes map[string]string)
}

// Broadcast tells other systems, if it can: see broadcast.Broadcast. Its methods do not block.
type Broadcast interface {
	Tell(cluster string, facts iter.Seq[event.Fact])
	// Disconnect cuts off the clients of an API key.
	Disconnect(keyID string)
}

// Config is how a Replica behaves.
type Config struct {
	// ID of this node; it never changes. Address is where other nodes call it.
	ID, Address string
	Role        record.NodeRole
	Region      string
	Version     string
	// Dir is where the log is kept, unless Journal, which the Replica closes, is given. Timing may
	// be other than usual in tests.
	Dir     string
	Journal consensus.Journal
	Timing  consensus.Timing
	// Expect is how many voters found the cluster together; 1 for a node alone.
	Expect int
	// Aim is how many voters the cluster keeps by itself, while this node leads.
	Aim consensus.Aim
	// KeepRole makes the role this node's for good, before it is told to anyone.
	KeepRole func(record.NodeRole) error
	// Host tells what the node stands on. It must not block.
	Host func() record.NodeHost
	// Leave is called when an operator wants this node to leave: then Replica.Leave is to be called. It
	// must not block.
	Leave func()
	// Joins says that the node was told of others: it waits for them before it founds.
	Joins bool
	// Found makes the first command of a new cluster; called on the node that first leads.
	Found func() (record.Found, error)
	// Founded is called on every node when the cluster was founded, and at the start of a node
	// of one that was. It must not block.
	Founded func()
	// WhileLeading run while this node leads: each is started with a context that ends
	// when the node no longer does, and must then return.
	WhileLeading []func(ctx context.Context)
	// WantKeys is called on the leader with the ids of issuers whose keys a node misses. It
	// must not block.
	WantKeys func(issuerIDs ...string)
	// AuditRetention is how long entries of the audit trail are kept while this node leads; 0 for good.
	AuditRetention time.Duration
	// Ring are the keys that wrap the peppers of API keys; nil if this node has none.
	Ring *pepper.Ring
	// Trace is told of the way of requests; nil if nobody is.
	Trace Tracer
	// Random is where new peppers come from.
	Random io.Reader
	// Failed is called once, with why, when the node cannot go on. It must not block.
	Failed func(error)
	Now    func() time.Time
	Log    *slog.Logger
}

// Replica is this node's part in the cluster.
type Replica struct {
	config    Config
	index     *index.Index
	horizon   *Horizon
	view      *View
	peers     Peers
	roster    Roster
	notices   Notices
	broadcast Broadcast
	applier   *applier
	admits    machine.Machine
	boxes     *outbox.Boxes // nil until they are open, after the state
	lessor    *lease.Lessor
	keeper    *pepper.Keeper // of the peppers of API keys
	opened    chan struct{}  // closed when consensus is open
	// consensus is nil until it is open: it calls back before it has returned.
	consensus    atomic.Pointer[consensus.Node]
	clocksDiffer atomic.Bool
	leaving      atomic.Bool
	awaited      atomic.Int64           // when something was committed that was no part of a stream, in milliseconds
	guide        atomic.Pointer[string] // the leader that removed this node while it was away; nil if none did
	changing     sync.Mutex             // while an operator's change of the members is made here
	waits        atomic.Pointer[string] // what it waits for that hears of no leader; nil if for nothing
	denied       atomic.Pointer[string] // why the leader did not let it in when it last asked; nil if it did, or nobody leads
	heard        atomic.Pointer[heard]  // nil before this node has led

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// founded is called when this node comes to know its cluster: by the log, if it lost the state that it had
// not yet made durable. What its outbox holds was told before to an index that could not take it.
func (r *Replica) founded() {
	r.config.Founded()
	r.tellWhom() // from the beginning
	r.boxes.TellAgain()
}

func (r *Replica) node() *consensus.Node { return r.consensus.Load() }

// Open loads the index from the store, answers other nodes' calls, and takes part in the
// cluster. It returns before the node has caught up: see View.Freshness. The caller closes it.
func Open(c Config, p Parts) (*Replica, error) {
	r := &Replica{
		config: c, index: p.View.index, horizon: p.View.horizon, view: p.View,
		peers: p.Peers, roster: p.Roster, notices: p.Notices, broadcast: p.Broadcast, opened: make(chan struct{}),
		lessor: lease.New(),
	}
	r.keeper = pepper.NewKeeper(c.Ring, p.View, r, c.Random, c.Log)
	r.applier = &applier{
		store: p.Store, index: r.index, horizon: r.horizon, view: p.View, announce: r.announce, founded: r.founded,
		delivered: func(d record.Delivered, rev record.Revision) { r.boxes.Delivered(d, rev) },
		restored:  func(d record.Delivered, rev record.Revision) { r.boxes.Restored(d, rev) },
	}
	if err := r.applier.load(); err != nil {
		return nil, err
	}
	if err := r.openOutbox(p.Outbox); err != nil {
		return nil, err
	}
	n, err := consensus.Open(consensus.Config{
		ID: c.ID, Dir: c.Dir, Address: c.Address, Store: p.Store, Machine: r.applier, Peers: p.Peers,
		Resolve: r.addressOf, Guarded: true, Failed: c.Failed, Log: c.Log, Journal: c.Journal, Timing: c.Timing,
	})
	if err != nil {
		r.boxes.Close()
		return nil, err
	}
	r.consensus.Store(n)
	close(r.opened)
	r.serve()
	p.Peers.Serve()
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.wg.Go(func() { r.lead(ctx) })
	r.wg.Go(func() { r.meet(ctx) })
	r.wg.Go(func() {
		var seen map[record.OutboxID]uint64
		every(ctx, adoptEvery, nil, func(ctx context.Context) {
			r.index.DropUnkept()
			seen = r.adopt(ctx, seen)
		})
	})
	r.wg.Go(func() {
		var last time.Time
		every(ctx, usesLook, nil, func(ctx context.Context) {
			last = r.tellUses(ctx, last)
			r.renew(ctx)
		})
	})
	return r, nil
}

const (
	// usesEvery is how often a node tells at most which keys were used, usesLook how often it looks
	// whether there is something to tell.
	usesEvery = time.Minute
	usesLook  = 5 * time.Second
	// usesCommands bounds what is told at a time. Of more keys the rest is told a minute later.
	usesCommands = 16
)

// tellUses brings into the log which keys were used here, unless it did so a moment ago. A node that
// does not know the command may leave it out.
func (r *Replica) tellUses(ctx context.Context, last time.Time) time.Time {
	now := r.config.Now()
	if age := now.Sub(last); age >= 0 && age < usesEvery {
		return last
	}
	all := r.index.Keys().Used(usesCommands * record.MaxKeysUsed)
	if len(all) == 0 {
		return last
	}
	for some := range slices.Chunk(all, record.MaxKeysUsed) {
		c := record.KeysUsed{Keys: make([]record.KeyUsed, len(some))}
		for i, k := range some {
			c.Keys[i].ID = k.ID
			c.Keys[i].At, _, _ = k.Uses.Untold()
		}
		if _, err := r.Propose(ctx, record.Command{Skippable: true, Body: c}); err != nil {
			if ctx.Err() == nil {
				r.config.Log.Warn("when keys were used was not told; this node tries again in a minute", "keys", len(all), "error", err)
			}
			return now
		}
		for i, k := range some {
			k.Uses.Tell(c.Keys[i].At)
		}
	}
	return now
}

// renew has secrets that were used here hashed by the newest pepper alone, so that older ones can go.
func (r *Replica) renew(ctx context.Context) {
	for some := range slices.Chunk(r.index.Keys().Anew(usesCommands*record.MaxRehashes), record.MaxRehashes) {
		if _, err := r.Propose(ctx, record.Command{Body: record.RehashKeys{Keys: some}}); err != nil {
			if ctx.Err() == nil {
				r.config.Log.Warn("keys that were used were not hashed by the newest pepper alone; this node tries again", "error", err)
			}
			return
		}
	}
}

// Peppers keeps the peppers of API keys.
func (r *Replica) Peppers() *pepper.Keeper { return r.keeper }

// Leads tells whether this node believes that it leads.
func (r *Replica) Leads() bool { return r.node().IsLeader() }

// Votes tells whether this node is a voter, as far as it knows.
func (r *Replica) Votes() bool {
	servers, _ := r.node().Servers()
	at := indexOf(servers, r.config.ID)
	return at >= 0 && servers[at].Voter
}

// addressOf is where gossip says that a node is reached; for a node that gossip does not
// know, where the log says.
func (r *Replica) addressOf(id string) (string, bool) {
	for _, m := range r.roster.Members() {
		if m.ID == id && m.PeerAddr != "" {
			return m.PeerAddr, true
		}
	}
	n := r.node()
	if n == nil {
		return "", false
	}
	servers, _ := n.Servers()
	for _, s := range servers {
		if s.ID == id {
			return s.Address, true
		}
	}
	return "", false
}

// announce tells of what was committed: other systems, each node its own clients, who so find it at the node that told
// them, and the leader the other nodes. What is lost of it is harmless, as the log brings it too.
func (r *Replica) announce(changes []record.Change, events feed.Told, rev record.Revision) {
	if isAwaited(changes) {
		r.awaited.Store(r.config.Now().UnixMilli())
	}
	for _, c := range changes {
		if id, lost := lostKey(c); lost {
			r.broadcast.Disconnect(id)
		}
	}
	r.broadcast.Tell(r.view.ClusterID(), events.Facts())
	if n := r.node(); n == nil || !n.IsLeader() {
		return
	}
	var revoked []record.Revocation
	told := false // ahead of the log, by who took them
	for _, c := range changes {
		switch item := c.Record.(type) {
		case *record.Revocation:
			if len(revoked) <= record.MaxRevocations && !c.Gone && !item.OfCanary() {
				revoked = append(revoked, *item)
			}
		case *record.Delivered:
			told = true
		case *record.Pepper:
			r.keeper.Changed()
		}
	}
	// A stream brings more than anyone would put into an overlay: the log has it there as soon.
	if n := len(revoked); n > 0 && n <= record.MaxRevocations && !told {
		r.notices.Notice(record.Notice{Cluster: r.view.ClusterID(), Revision: rev, Revocations: revoked})
	}
}

// lostKey tells whether the change takes an API key away from whoever is connected with it.
func lostKey(c record.Change) (id string, lost bool) {
	switch item := c.Record.(type) {
	case *record.APIKey:
		was, _ := c.Was.(*record.APIKey) // then the secret may be the one that will end
		return item.ID, c.Gone || item.Disabled || !item.ExpiresAt.IsZero() || was != nil && was.Hash != item.Hash
	case *record.Revocation:
		return item.Value, item.Target == record.TargetKey && !c.Gone
	}
	return "", false
}

// beginToLeave has the node leave, and others know it.
func (r *Replica) beginToLeave() {
	r.leaving.Store(true)
	r.config.Leave()
}

// Leave gives away all that this node has to give: the leadership, then what it has taken and the log lacks,
// then its place. It blocks until the others have let it go, or the context ends, when it is a member still.
// Nothing more may be taken in by now, and Close must follow.
func (r *Replica) Leave(ctx context.Context) error {
	r.leaving.Store(true)
	if err := r.node().Handover(); err != nil { // who leads may take in more, from a stream of events
		return err
	}
	if err := r.until(ctx, func() bool { return r.Pending() == 0 }); err != nil {
		return fmt.Errorf("it has taken %d revocations that the log does not have, and keeps them until it is started again: %w", r.Pending(), err)
	}
	for {
		got, err := r.changeOnce(ctx, record.MemberChange{Action: memberGone, Node: r.config.ID})
		switch {
		case err == nil && (got.Rejection == nil || got.Rejection.Reason == record.ReasonNotFound): // or it was removed before
			if err := r.roster.Leave(statusLimit); err != nil { // it has left all the same
				r.config.Log.Warn("the others may take this node for one that failed", "error", err)
			}
			return nil
		case err == nil:
			return got.Rejection
		case !errors.Is(err, consensus.ErrNotLeader) && !errors.Is(err, record.ErrOutcomeUnknown):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pauseBetweenTries):
		}
	}
}

// Close hands the leadership over, if this node has it, and stops. The node stays a member:
// started again it goes on.
func (r *Replica) Close() error {
	handed := r.node().Handover()
	if handed != nil {
		r.config.Log.Warn("the leadership could not be handed over; the others will elect a leader", "error", handed)
	}
	r.stop()
	r.boxes.Close()
	r.wg.Wait()
	return r.node().Close()
}
