package simulation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"veto/node/intake"
	"veto/record"
	"veto/replication"
	"veto/replication/consensus"
	"veto/replication/index"
	"veto/replication/roster"
	"veto/replication/store"
	"veto/validate"
	"veto/validate/apikey"
	"veto/validate/jwt"
	"veto/validate/keyset"
	"veto/validate/limiter"
)

const (
	voters = 3
	nodes  = voters + 1 // and a replica
)

func nodeID(i int) string { return fmt.Sprintf("n%d", i+1) }

func numberOfNode(id string) int {
	for i := range nodes {
		if nodeID(i) == id {
			return i
		}
	}
	return -1
}

// node is one node through all its starts.
type node struct {
	disk  *disk
	turn  chan struct{} // held by who starts or ends it
	wrong atomic.Int64  // by how many seconds its clock is
	sync  atomic.Int64  // how long a sync of its log takes
}

// incarnation is a node from one start to its end.
type incarnation struct {
	number  int
	began   time.Time
	store   *store.Store
	outbox  *store.Outbox
	index   *index.Index
	view    *replication.View
	check   *validate.Validator
	intake  *intake.Intake
	replica *replication.Replica
	peers   *peers
	gossip  *gossip
	members *members

	// dead is set before its disk is taken away: what it says afterwards, nobody hears.
	dead  atomic.Bool
	hear  func([]happening) // what subscribers at the node are told
	ended context.Context
	end   context.CancelFunc

	mu      sync.Mutex
	closing bool
	busy    sync.WaitGroup // who uses it: clients and calls

	highest atomic.Uint64 // the highest revision that a reader saw
}

// begin is called by who uses the node and calls busy.Done when done; false if it ends.
func (n *incarnation) begin() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return false
	}
	n.busy.Add(1)
	return true
}

func (s *simulation) now(i int) time.Time {
	return setClock(time.Now(), s.began, s.nodes[i].wrong.Load()+s.passed.Load())
}

// right is what time it is.
func (s *simulation) right() time.Time { return setClock(time.Now(), s.began, s.passed.Load()) }

// hold waits until nobody else starts or ends the node.
func (s *simulation) hold(i int) (release func()) {
	turn := s.nodes[i].turn
	turn <- struct{}{}
	return func() { <-turn }
}

// start starts the node on its disk. It is one that falls or is stopped later.
func (s *simulation) start(i int) {
	defer s.hold(i)()
	s.startHeld(i)
}

func (s *simulation) startHeld(i int) {
	d := s.nodes[i].disk
	n := &incarnation{number: i, began: time.Now(), hear: s.hear}
	n.ended, n.end = context.WithCancel(context.Background())
	n.peers = newPeers(n, s.net)
	role := record.NodeVoter
	if i >= voters {
		role = record.NodeReplica
	}
	if err := s.open(n, d, role); err != nil {
		s.wrong("%s does not start: %v", nodeID(i), err)
		n.end()
		return
	}
	s.net.put(i, n)
	s.wg.Go(n.join)
}

func (s *simulation) open(n *incarnation, d *disk, role record.NodeRole) (err error) {
	i := n.number
	log := s.log.With("node", nodeID(i))
	o := store.Options{FS: d.files, CacheBytes: 1 << 20, Log: log, Fatal: func(why string) { s.wrong("the disk of %s: %s", nodeID(i), why) }}
	if n.store, err = store.Open("/state", o); err != nil {
		return err
	}
	if n.outbox, err = store.OpenOutbox("/outbox", s.secrets, o); err != nil {
		return errors.Join(err, n.store.Close())
	}
	keys := keyset.NewHolder()
	now := func() time.Time { return s.now(i) }
	n.index = index.Open(index.Config{
		OnIssuers: func(issuers []record.Issuer, signing []record.SigningKeys) { keys.Swap(issuers, signing) },
		Disk:      n.store, ExactMax: s.plan.exactMax, Ring: s.ring, Log: log,
	})
	n.view = replication.NewView(n.index, n.store, replication.NewHorizon(n.index, now))
	n.check = validate.New(n.view, validate.Policy{MaxStaleness: maxStaleness, ServeStale: s.plan.stale}, jwt.New(keys, nil, func(string) {}),
		apikey.New(n.view), limiter.New(limiter.Config{Usage: n.view.Usage, Now: now()}))
	streams, err := os.MkdirTemp(s.dir, nodeID(i))
	if err == nil {
		self := roster.Member{ID: nodeID(i), PeerAddr: nodeID(i), Role: string(role), Expect: voters}
		err = s.startRoster(n, self)
	}
	if err == nil {
		n.replica, err = replication.Open(replication.Config{
			ID: nodeID(i), Address: nodeID(i), Role: role, Dir: streams, Journal: d.journal, Timing: s.plan.timing,
			Expect: voters, Aim: consensus.Aim{MinVoters: voters}, Joins: true, Found: s.found, Founded: func() {}, WantKeys: func(...string) {},
			KeepRole: func(record.NodeRole) error { return nil }, Leave: func() {}, Host: func() record.NodeHost { return record.NodeHost{} },
			Ring: s.ring, Random: s.secrets, Now: now, Log: log,
			Failed: func(err error) { s.endsItself(n, err) },
		}, replication.Parts{Store: n.store, Outbox: n.outbox, View: n.view, Peers: n.peers, Roster: n.members, Notices: words{n, s.net}, Broadcast: others{n}})
	}
	if err != nil {
		return errors.Join(err, n.close())
	}
	n.intake = intake.New(intake.Config{
		Taker: n.replica, Tokens: n.check, Revocations: n.view, Keys: n.view, State: n.view, Owners: n.view, Cluster: n.replica, NodeID: nodeID(i), Now: now,
	})
	return nil
}

// endsItself is called when the node cannot go on. If it says that it can once it is started again, whoever watches over
// processes does that.
func (s *simulation) endsItself(n *incarnation, why error) {
	i := n.number
	if n.dead.Load() {
		return
	}
	if !errors.Is(why, consensus.ErrStartAgain) {
		s.wrong("%s cannot go on: %v", nodeID(i), why)
		return
	}
	s.tell("%s ends: %v", nodeID(i), why)
	s.tally.did("(it ends by itself, and is started again)")
	s.wg.Go(func() {
		defer s.hold(i)()
		if s.net.whoIs(i) == n {
			s.stopHeld(i)
			s.startHeld(i)
		}
	})
}

// close closes the parts, in their order.
func (n *incarnation) close() error {
	n.mu.Lock()
	n.closing = true
	n.mu.Unlock()
	var err error
	if n.replica != nil {
		err = n.replica.Close()
	}
	n.end()
	n.peers.sever()
	_ = n.peers.Close() // it never fails
	if n.members != nil {
		err = errors.Join(err, n.members.Close())
	}
	n.busy.Wait()
	return errors.Join(err, n.index.Close(), n.outbox.Close(), n.store.Close())
}

// fall takes the machine away under the node, and some of what its disk had not synced.
func (s *simulation) fall(i int) { s.fallKeeping(i, s.random.IntN(101)) }

// lose takes away all of it.
func (s *simulation) lose(i int) { s.fallKeeping(i, 0) }

func (s *simulation) fallKeeping(i, percent int) {
	defer s.hold(i)()
	n := s.net.whoIs(i)
	if n == nil {
		return
	}
	n.dead.Store(true)
	s.nodes[i].disk = s.nodes[i].disk.fall(s.random, percent)
	s.net.put(i, nil)
	n.end()
	n.peers.sever()
	// What is left of the process ends by itself; it has neither a disk nor a network any more.
	s.wg.Go(func() { _ = n.close() })
}

// stopNode ends the node as its operator does.
func (s *simulation) stopNode(i int) {
	defer s.hold(i)()
	s.stopHeld(i)
}

func (s *simulation) stopHeld(i int) {
	n := s.net.whoIs(i)
	if n == nil {
		return
	}
	if err := n.close(); err != nil {
		s.wrong("%s did not end well: %v", nodeID(i), err)
	}
	n.dead.Store(true)
	s.net.put(i, nil)
}

// end ends all nodes, and waits for memberlist, which does not wait for its own probes.
func (s *simulation) end() {
	for i := range nodes {
		s.stopNode(i)
	}
	s.wg.Wait()
	s.pause(time.Minute)
}

// revive starts the node if it is down.
func (s *simulation) revive(i int) {
	defer s.hold(i)()
	if s.net.whoIs(i) == nil {
		s.startHeld(i)
	}
}

// leader is the node that leads as far as it knows itself, the one of the latest term; -1 if none does.
func (s *simulation) leader() int {
	for i := range voters {
		if n := s.net.whoIs(i); n != nil && n.replica.Leads() {
			return i
		}
	}
	return -1
}

// raftTiming has whole states sent, and the log cut, as often as can be.
func raftTiming(every time.Duration, threshold, trailing uint64) consensus.Timing {
	return consensus.Timing{CommitTimeout: 40 * time.Millisecond, SnapshotInterval: every, SnapshotThreshold: threshold, TrailingLogs: trailing}
}
