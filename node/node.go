package node

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"veto/node/canary"
	"veto/node/certs"
	"veto/node/discovery"
	"veto/node/httpapi/gate"
	"veto/node/intake"
	"veto/node/limits"
	"veto/node/trace"
	"veto/record"
	"veto/replication"
	"veto/replication/broadcast"
	"veto/replication/consensus"
	"veto/replication/index"
	"veto/replication/machine"
	"veto/replication/notices"
	"veto/replication/peer"
	"veto/replication/pepper"
	"veto/replication/roster"
	"veto/replication/store"
	"veto/validate"
	"veto/validate/apikey"
	"veto/validate/jwt"
	"veto/validate/keyset"
	"veto/validate/limiter"
	"veto/validate/remembered"
)

// What a node's data directory has in it: its state, what it took and the log may not have, and Raft's log.
const (
	StateDir  = "state"
	OutboxDir = "outbox"
	RaftDir   = "raft"
)

// Surroundings are what a node takes from the program that runs it.
type Surroundings struct {
	Version string
	Now     func() time.Time
	Log     *slog.Logger
	// AdminToken is given the first admin's key, once in the life of a cluster, on the node
	// that founded it. It is shown nowhere else. It must not block. If it fails, the key is kept,
	// and given again at the next start.
	AdminToken func(secret string) error
	// Fatal ends the process, when the disk failed in a way that nothing can be done about.
	// Nil panics.
	Fatal func(why string)
}

// Node is one running node.
type Node struct {
	config  Config
	ring    *pepper.Ring // nil if it has no key of peppers
	around  Surroundings
	metrics *metrics

	store     *store.Store
	outbox    *store.Outbox
	view      *replication.View
	validator *validate.Validator
	peers     *peer.Mux
	roster    *roster.Roster
	notices   *notices.Notices
	broadcast *broadcast.Broadcast
	replica   *replication.Replica
	canary    *canary.Canary // nil if it is off
	limiter   *limiter.Limiter
	fetcher   *discovery.Fetcher
	intake    *intake.Intake // once opening is closed
	opening   chan struct{}
	clientTLS *tls.Config // nil if the listeners and NATS speak without
	bounds    *bounds
	trace     *trace.Tracer      // nil if nobody is told
	tokens    *remembered.Tokens // nil if none are remembered
	backups   backups

	missing        *wanted // keys that tokens here named in vain
	wanted         *wanted // keys that this node is to fetch, if it leads
	issuersChanged chan struct{}
	failed         chan error
	closed         chan struct{}
	running        context.Context // until Close
	stop           context.CancelFunc
	wg             sync.WaitGroup
	closing        sync.Mutex     // held while the node leaves or closes: of both at once one waits
	closers        []func() error // in the order of opening
	takes          int            // how many of them are of what takes nothing in

	certs   *certs.Keeper
	reload  chan struct{}
	leaving chan struct{}
	ending  sync.Once // of closed

	identityMu sync.Mutex
	identity   store.Identity
}

// Start opens the parts and serves. It returns when the listeners answer, which is before the
// node has caught up. The caller closes it.
func Start(c Config, around Surroundings) (*Node, error) {
	if err := c.Complete(); err != nil {
		return nil, err
	}
	ring, err := c.Ring()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	n := &Node{
		config: c, ring: ring, around: around, running: ctx, stop: stop, bounds: newBounds(c.CallerRate), missing: newWanted(), wanted: newWanted(),
		issuersChanged: make(chan struct{}, 1), failed: make(chan error, 1), closed: make(chan struct{}), opening: make(chan struct{}), fetcher: discovery.New(c.FetchPrivate),
		leaving: make(chan struct{}, 1), reload: make(chan struct{}, 1),
	}
	for _, step := range []func(context.Context) error{n.openTrace, n.openStore, n.openPeers, n.claim, n.openReplica, n.openLimits, n.takeRequests, n.openCanary, n.openHTTP} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// Failed has why, once the node cannot go on. It must then be closed.
func (n *Node) Failed() <-chan error { return n.failed }

func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default: // the first reason is the one that counts
	}
}

// opened notes what Close has to close.
func (n *Node) opened(closer func() error) { n.closers = append(n.closers, closer) }

// Closed is closed when Close has begun.
func (n *Node) Closed() <-chan struct{} { return n.closed }

// Close stops everything in the reverse order of opening and waits for it. A Leave that is on its way ends first.
func (n *Node) Close() error {
	n.stop()
	n.closing.Lock()
	defer n.closing.Unlock()
	err := n.closeDownTo(0)
	n.wg.Wait()
	return err
}

// closeDownTo closes what was opened since there were so many. Called with closing held.
func (n *Node) closeDownTo(least int) error {
	n.ending.Do(func() { close(n.closed) })
	var all []error
	for i := len(n.closers) - 1; i >= least; i-- {
		all = append(all, n.closers[i]())
	}
	n.closers = n.closers[:min(least, len(n.closers))]
	return errors.Join(all...)
}

// Leaving has something in it when an operator wants the node to leave its cluster: then Leave is to be
// called, and Close.
func (n *Node) Leaving() <-chan struct{} { return n.leaving }

// Leave stops taking anything in, gives the others what this node alone has, and the leadership if it has
// that, and is let go. It blocks until then, or the context ends, or Close has begun, when the node is still
// a member. Close must follow.
func (n *Node) Leave(ctx context.Context) error {
	n.closing.Lock()
	defer n.closing.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.running, cancel)()
	err := n.running.Err() // after Close there is nothing to leave with
	if err == nil {
		if ended := n.closeDownTo(n.takes); ended != nil {
			n.around.Log.Warn("not everything ended as it should while the node leaves", "error", ended)
		}
		err = n.replica.Leave(ctx)
	}
	if err != nil {
		return fmt.Errorf("the node stops, and is still a member of its cluster: %w", err)
	}
	return n.keepIdentity(func(id *store.Identity) { id.LeftAt = n.around.Now().UTC() })
}

// signal puts one into a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // whoever listens has not looked yet
	}
}

// openStore opens the data directory and what is read from it.
func (n *Node) openStore(context.Context) error {
	id, known, err := store.ReadIdentity(n.config.DataDir)
	if err != nil {
		return err
	}
	if known && !id.LeftAt.IsZero() {
		return fmt.Errorf("node %s left its cluster on %s, and what is in %s is of no more use; to have it join again, move the directory away and start the node with an empty one",
			id.NodeID, id.LeftAt.Format(time.DateOnly), n.config.DataDir)
	}
	if known && id.NodeID != n.config.NodeID {
		return fmt.Errorf("the data directory %s belongs to node %s, and this is node %s; give --node-id %s, or another --data-dir",
			n.config.DataDir, id.NodeID, n.config.NodeID, id.NodeID)
	}
	n.store, err = store.Open(filepath.Join(n.config.DataDir, StateDir), store.Options{Log: n.around.Log, Fatal: n.around.Fatal})
	if err != nil {
		return err
	}
	n.opened(n.store.Close)
	n.opened(func() error { n.backups.writing.Lock(); return nil }) // which waits for one that is written
	if err := n.identify(id, known); err != nil {
		return err
	}
	outbox := filepath.Join(n.config.DataDir, OutboxDir)
	if empty, err := store.IsEmpty(outbox); (empty || errors.Is(err, os.ErrNotExist)) && n.identity.Cluster != "" {
		n.around.Log.Warn("there is no outbox any more: see that its disk is mounted; if it is lost, and this node had taken revocations that the log does not have, they are lost: revoke them again", "outbox", outbox)
	}
	n.outbox, err = store.OpenOutbox(outbox, rand.Reader, store.Options{Log: n.around.Log, Fatal: n.around.Fatal})
	if err != nil {
		return err
	}
	n.opened(n.outbox.Close)
	keys := keyset.NewHolder()
	x := index.Open(index.Config{
		OnIssuers: func(issuers []record.Issuer, signing []record.SigningKeys) {
			keys.Swap(issuers, signing)
			signal(n.issuersChanged)
		},
		Disk: n.store, ExactMax: n.config.IndexExactMax, Ring: n.ring, Log: n.around.Log,
	})
	n.opened(x.Close)
	if n.config.TokenCacheBytes > 0 {
		if n.tokens, err = remembered.New(uint64(n.config.TokenCacheBytes)); err != nil {
			return err
		}
	}
	horizon := replication.NewHorizon(x, n.around.Now)
	n.view = replication.NewView(x, n.store, horizon)
	n.limiter = limiter.New(limiter.Config{Usage: n.view.Usage, Now: n.around.Now()})
	n.validator = validate.New(n.view, validate.Policy{
		MaxStaleness: n.config.MaxStaleness, ServeStale: n.config.ServeStale,
	}, jwt.New(keys, n.tokens, func(id string) { n.missing.add(id) }), apikey.New(n.view), n.limiter)
	n.metrics = newMetrics(n)
	return nil
}

// identify finds which cluster the node is of, and refuses a state of which nobody said whose it is.
func (n *Node) identify(id store.Identity, known bool) error {
	founded, ok, err := machine.Cluster(n.store)
	if err != nil {
		return err
	}
	part, err := store.IsPart(filepath.Join(n.config.DataDir, StateDir))
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if (ok || part) && !known {
		return fmt.Errorf("the data directory %s holds a state and does not say whose: a restore, or a recovery, was cut short there; do that again, a restore into an empty directory", n.config.DataDir)
	}
	if n.identity = id; id.Cluster == "" {
		n.identity.Cluster = founded.ClusterID
	}
	return n.checkLog()
}

// checkLog refuses a directory that has lost its log: with it went how the node has voted, and what others counted
// on it to keep.
func (n *Node) checkLog() error {
	if n.identity.Cluster == "" {
		return nil
	}
	dir := filepath.Join(n.config.DataDir, RaftDir)
	there, err := consensus.HasLog(dir)
	if err == nil && !there {
		err = fmt.Errorf("node %s is of a cluster, and there is no log in %s: see that its disk is mounted; if it is lost, move the data directory away and start the node with an empty one, and it gets the state from the others", n.config.NodeID, dir)
	}
	return err
}

// cluster is the one that this node is of; empty while it is of none. The view knows once it is loaded, and
// nobody of another is to be met before.
func (n *Node) cluster() string {
	if id := n.view.ClusterID(); id != "" {
		return id
	}
	n.identityMu.Lock()
	defer n.identityMu.Unlock()
	return n.identity.Cluster
}

// founded keeps of which cluster the node is, from the first time on that it is of one.
func (n *Node) founded() {
	cluster := n.cluster()
	kept, _, err := store.ReadIdentity(n.config.DataDir)
	if err == nil && kept.Cluster != cluster {
		err = n.keepIdentity(func(id *store.Identity) { id.Cluster = cluster })
	}
	if err != nil {
		n.around.Log.Error("the data directory does not say yet of which cluster it is; this is tried again when the node starts", "error", err)
	}
}

// openPeers opens what connects this node with others.
func (n *Node) openPeers(ctx context.Context) error {
	if err := n.keepCerts(); err != nil {
		return err
	}
	held := n.certs.Held()
	gossipKeys, err := roster.ParseKeys(held.Gossip)
	if err != nil {
		return err
	}
	n.peers, err = peer.Listen(n.config.address(peerPort), n.identityOf(held), n.around.Log)
	if err != nil {
		return fmt.Errorf("%w; stop what uses it, or give another --port", err)
	}
	n.opened(n.peers.Close)
	n.roster, err = roster.Start(roster.Config{
		Self: roster.Member{
			ID: n.config.NodeID, PeerAddr: n.config.PeerAddress(),
			Region: n.config.Region, Role: n.role(), Version: n.around.Version, Expect: n.config.BootstrapExpect,
			ClusterID: n.cluster(), Founded: n.cluster() != "",
		},
		Bind: n.config.address(gossipPort), Advertise: n.config.Advertise, Keys: gossipKeys, Log: n.around.Log,
	})
	if err != nil {
		return err
	}
	n.opened(n.roster.Close)
	if err := n.openBroadcast(); err != nil {
		return err
	}
	n.notices = notices.Start(n.peers, notices.Handlers{Notice: n.hear, Beacon: n.view.Beacon}, n.around.Log)
	n.opened(func() error { n.notices.Close(); return nil })
	n.wg.Go(func() { n.join(ctx) })
	n.wg.Go(func() { n.renew(ctx) })
	return nil
}

const (
	joinRetry   = time.Second
	joinMissing = 5 * time.Second
	joinAgain   = 30 * time.Second
)

// join meets the others, and meets them again while one is missing: gossip by itself takes a minute
// to hear of who comes back from where it was cut off.
func (n *Node) join(ctx context.Context) {
	addresses := n.config.joinAddresses()
	if len(addresses) == 0 {
		return
	}
	for {
		pause := joinAgain
		if met, missing := n.met(); !met || missing || !n.view.Freshness().Ready {
			if _, err := n.roster.Join(addresses); err != nil && !met {
				n.around.Log.Info("no other node answers yet; trying again", "join", addresses, "error", err)
			}
			if pause = joinRetry; met {
				pause = joinMissing
			}
		}
		if !n.view.Freshness().Ready {
			pause = min(pause, joinMissing) // the others may take it for dead, at another address
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// met tells whether this node knows another one that is alive, and whether one is missing.
func (n *Node) met() (met, missing bool) {
	for _, m := range n.roster.Members() {
		switch {
		case m.ID == n.config.NodeID || m.State == "left":
		case m.State == "alive":
			met = true
		default:
			missing = true
		}
	}
	return met, missing
}

// claim makes the data directory this node's, once its certificate has shown that it is.
func (n *Node) claim(context.Context) error {
	if n.identity.NodeID != "" {
		return nil
	}
	return n.keepIdentity(func(id *store.Identity) { id.NodeID = n.config.NodeID })
}

// keepIdentity changes what the data directory says of the node.
func (n *Node) keepIdentity(change func(id *store.Identity)) error {
	n.identityMu.Lock()
	defer n.identityMu.Unlock()
	id := n.identity
	change(&id)
	if err := store.WriteIdentity(n.config.DataDir, id); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	n.identity = id
	return nil
}

// role is what an operator made of the node since it was configured, or else as it is configured.
func (n *Node) role() string {
	n.identityMu.Lock()
	defer n.identityMu.Unlock()
	if given := n.identity.Role; given != "" && given != n.config.Role {
		n.around.Log.Info("this node has the role that an operator gave it, and not the configured one", "role", given, "configured", n.config.Role)
		return given
	}
	return n.config.Role
}

// openReplica takes part in the cluster.
func (n *Node) openReplica(ctx context.Context) error {
	admin := &firstAdmin{dir: n.config.DataDir, prefix: n.config.KeyPrefix, show: n.around.AdminToken, find: n.view.APIKey, log: n.around.Log}
	var err error
	n.replica, err = replication.Open(replication.Config{
		ID: n.config.NodeID, Address: n.config.PeerAddress(), Role: record.NodeRole(n.role()),
		Region: n.config.Region, Version: n.around.Version, Dir: filepath.Join(n.config.DataDir, RaftDir),
		Expect: n.config.BootstrapExpect, Joins: len(n.config.Join) > 0, AuditRetention: n.config.AuditRetention,
		Aim: consensus.Aim{MinVoters: max(n.config.BootstrapExpect, n.config.Voters), Voters: n.config.Voters},
		KeepRole: func(role record.NodeRole) error {
			return n.keepIdentity(func(id *store.Identity) { id.Role = string(role) })
		},
		Host: n.host, Leave: func() { signal(n.leaving) },
		Found: admin.found, Founded: func() { n.founded(); admin.founded() },
		WhileLeading: []func(context.Context){n.refreshKeys, n.takeEvents}, WantKeys: n.wanted.add,
		Ring: n.ring, Trace: n.replicaTrace(), Random: rand.Reader,
		Failed: n.fail, Now: n.around.Now, Log: n.around.Log,
	}, replication.Parts{
		Store: n.store, Outbox: n.outbox, View: n.view, Peers: n.peers, Roster: n.roster, Notices: n.notices, Broadcast: n.broadcast,
	})
	if err != nil {
		return err
	}
	n.opened(n.replica.Close)
	n.takes = len(n.closers)
	n.wg.Go(func() { n.tellLeader(ctx) })
	return nil
}

// openLimits has the limits of API keys counted together with the other nodes.
func (n *Node) openLimits(context.Context) error {
	l := limits.Start(limits.Config{
		Limiter: n.limiter, Cluster: n.replica, Ready: func() bool { return n.view.Freshness().Ready },
		Now: n.around.Now, Log: n.around.Log,
	})
	n.opened(func() error { l.Close(); return nil })
	return nil
}

func (n *Node) listen(port int) (*gate.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", n.config.address(port))
	if err != nil {
		return nil, fmt.Errorf("port %d cannot be used: %w; stop what uses it, or give another --port", n.config.Port+port, err)
	}
	return gate.Bound(l, n.config.MaxConnections, n.around.Log), nil
}

// Ready tells whether the node has caught up, and knows that it has.
func (n *Node) Ready() bool {
	for _, c := range n.checks() {
		if !c.OK {
			return false
		}
	}
	return true
}

// Leads tells whether this node believes that it leads its cluster.
func (n *Node) Leads() bool { return n.replica.Leads() }

// Votes tells whether the node is one of those that decide, as far as it knows.
func (n *Node) Votes() bool { return n.replica.Votes() }
