package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"veto/record"
)

// Node is this node's part in the consensus.
type Node struct {
	id        string
	raft      *raft.Raft
	transport *raft.NetworkTransport
	stream    *stream
	log       Journal
	logger    *slog.Logger
	fsm       *fsm
	teller    *teller
	leading   chan bool

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// ErrNotLeader says that the command was not proposed here, as another node leads or none.
var ErrNotLeader = errors.New("this node does not lead")

// Open starts the node on its log. The caller closes it.
func Open(c Config) (*Node, error) {
	c.Timing = c.Timing.withDefaults()
	onDisk := c.Journal == nil
	if onDisk {
		w, err := openLog(filepath.Join(c.Dir, LogDir), c.Timing.SegmentBytes)
		if err != nil {
			return nil, err
		}
		c.Journal = w
	}
	ctx, stop := context.WithCancel(context.Background())
	n, err := open(ctx, c, c.Journal)
	if err != nil {
		stop()
		return nil, errors.Join(err, c.Journal.Close())
	}
	n.stop = stop
	if onDisk {
		n.wg.Go(func() { n.weigh(ctx, filepath.Join(c.Dir, LogDir), c.Timing) })
	}
	return n, nil
}

func open(ctx context.Context, c Config, w Journal) (*Node, error) {
	if err := agree(c, w); err != nil {
		return nil, err
	}
	f := &fsm{machine: c.Machine, report: c.Failed}
	cache, err := raft.NewLogCache(logCacheEntries, retained{w, c.Store, &f.restored, f.fail})
	if err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	snaps, err := newSnapshots(c.Store, filepath.Join(c.Dir, "streams"))
	if err != nil {
		return nil, err
	}
	last, err := w.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	s := &stream{accepted: map[*accepted]struct{}{}, Listener: c.Peers.Raft(), peers: c.Peers, resolve: c.Resolve}
	// Who has no more than the first configuration may not have voted yet: the others of a new cluster may lack it.
	s.admitted.Store(!c.Guarded || last > 1 || c.Store.Applied().Index > 0)
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: s, MaxPool: poolPerPeer, Timeout: transportTimeout, ServerAddressProvider: s,
		MaxRPCsInFlight:         1, // more can deadlock the follower's pipeline
		MsgpackUseNewTimeFormat: true, Logger: newLogger(c.Log),
	})
	n := &Node{
		id: c.ID, transport: transport, stream: s, log: w, logger: c.Log, leading: make(chan bool, 16),
		teller: newTeller(c.ID, transport), fsm: f,
	}
	f.committed = func(last *raft.Log) { n.teller.tell(ctx, last) }
	n.raft, err = newRaft(c, n, cache, w, snaps, patient{transport, n.teller.serves, ctx.Done(), c.Log})
	if err != nil {
		return nil, errors.Join(err, transport.Close())
	}
	n.teller.of.Store(n.raft)
	if servers, _ := n.Servers(); n.decidesAlone(servers) {
		n.stand()
	}
	return n, nil
}

// newRaft makes Raft's node, which reads what the log has behind the state and panics on what it cannot
// read: here that is an error.
func newRaft(c Config, n *Node, cache raft.LogStore, w raft.StableStore, snaps raft.SnapshotStore, ways raft.Transport) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = unreadable(filepath.Join(c.Dir, LogDir), fmt.Errorf("%v", p))
		}
	}()
	if r, err = raft.NewRaft(raftConfig(c, n.leading), n.fsm, cache, w, snaps, ways); err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	return r, nil
}

// agree mends or refuses a log that does not continue the store.
func agree(c Config, w Journal) error {
	a := c.Store.Applied()
	first, err := w.FirstIndex()
	if err != nil {
		return fmt.Errorf("raft log: %w", err)
	}
	last, err := w.LastIndex()
	if err != nil {
		return fmt.Errorf("raft log: %w", err)
	}
	switch {
	case last == 0:
		return nil
	case last < a.Index:
		// The process ended after it took in another node's state and before it removed
		// the log that the state replaces.
		if err := w.DeleteRange(first, last); err != nil {
			return fmt.Errorf("raft log: %w", err)
		}
	case first > a.Index+1:
		return fmt.Errorf("the log in %s begins at %d but the state ends at %d: entries are missing; empty the data directory and let the node join again under another --node-id", c.Dir, first, a.Index)
	}
	return nil
}

// Propose puts the command into the log and blocks until it was applied here. ErrNotLeader
// means that it was not proposed; record.ErrOutcomeUnknown that nobody can tell; another
// error that it was not applied.
func (n *Node) Propose(ctx context.Context, command []byte) (record.Result, error) {
	// Raft waits for room in its queue without regard to ctx, so it gets a limit of its own.
	limit := transportTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(time.Until(deadline), time.Millisecond)
	}
	future := n.raft.Apply(command, limit)
	done := make(chan error, 1)
	go func() { done <- future.Error() }()
	select {
	case err := <-done:
		if err != nil {
			return record.Result{}, proposalError(err)
		}
		return resultOf(future.Response())
	case <-ctx.Done():
		return record.Result{}, record.ErrOutcomeUnknown
	}
}

func proposalError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore),
		errors.Is(err, raft.ErrRaftShutdown):
		return record.ErrOutcomeUnknown
	}
	return err
}

// Barrier blocks until everything that was committed when it was called is applied here. It
// fails on a node that does not lead.
func (n *Node) Barrier(limit time.Duration) error { return n.raft.Barrier(limit).Error() }

// Admit lets other nodes' Raft reach this one. It may be called again.
func (n *Node) Admit() { n.stream.admitted.Store(true) }

// Admitted tells whether they do.
func (n *Node) Admitted() bool { return n.stream.admitted.Load() }

// Leading tells each time this node begins or ends to lead. The channel is never closed.
func (n *Node) Leading() <-chan bool { return n.leading }

// IsLeader tells whether this node believes that it leads.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Leader is the id of the node that this one believes to lead; empty if it knows none.
func (n *Node) Leader() string {
	_, id := n.raft.LeaderWithID()
	return string(id)
}

// Term is the current term.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// LastIndex is the index of the last entry in this node's log.
func (n *Node) LastIndex() uint64 { return n.raft.LastIndex() }

// LastContact is how long ago this node heard of its leader; zero on the leader, minus
// one second if it never did.
func (n *Node) LastContact() time.Duration {
	if n.IsLeader() {
		return 0
	}
	at := n.raft.LastContact()
	if at.IsZero() {
		return -time.Second
	}
	return time.Since(at)
}

// Handover gives the leadership to another voter, if this node leads and there is one. It may
// be called again. After one that failed Raft refuses proposals until the other has answered
// or is given up, which may take transportTimeout.
func (n *Node) Handover() error {
	if !n.IsLeader() {
		return nil
	}
	servers, _ := n.Servers()
	voters := 0
	for _, s := range servers {
		if s.Voter {
			voters++
		}
	}
	if voters < 2 {
		return nil
	}
	return n.raft.LeadershipTransfer().Error()
}

// HandoverTo gives the leadership to that voter; otherwise it is as Handover. It fails on a node that does not lead.
func (n *Node) HandoverTo(s Server) error {
	return n.raft.LeadershipTransferToServer(raft.ServerID(s.ID), raft.ServerAddress(s.Address)).Error()
}

// Close stops the node. It does not close the store nor the listener.
func (n *Node) Close() error {
	n.stop()
	n.wg.Wait()
	err := n.raft.Shutdown().Error()
	n.teller.wg.Wait()
	return errors.Join(err, n.transport.Close(), n.log.Close())
}
