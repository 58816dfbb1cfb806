package consensus

import (
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"veto/record"
	"veto/replication/store"
)

// Entry is one committed entry of the log.
type Entry struct {
	Index, Term uint64
	// Command is what was proposed; nil for an entry that changes the servers.
	Command []byte
	// Servers is the opaque new configuration of the cluster; nil for a command.
	Servers []byte
	// Members are those servers, sorted by id, and At when the leader wrote the change, to the
	// millisecond: the same on every node.
	Members []Server
	At      time.Time
}

// StateMachine is what committed entries are applied to.
type StateMachine interface {
	// Apply applies the entries in their order and makes them visible. It must skip those
	// that its store has applied already, and return one result for each entry. An error
	// stops the node: it is called no more after one.
	Apply(entries []Entry) ([]record.Result, error)
	// Restore replaces the whole state by the stream. Any error but store.ErrBrokenStream and
	// store.ErrOlder stops the node.
	Restore(r io.Reader) error
}

// Journal is a log and what Raft has to remember besides: the term and whom it voted for. What is
// written is durable when the method returns. Entries are contiguous.
type Journal interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// Dialer connects nodes: it is the node-to-node listener's half that carries Raft.
type Dialer interface {
	Raft() net.Listener
	// DialRaft connects to the node with the id at the address, and to no other.
	DialRaft(addr, id string, timeout time.Duration) (net.Conn, error)
}

// Config is what a Node is made of.
type Config struct {
	// ID of this node; it never changes.
	ID string
	// Dir holds the log, and streams on their way; the node makes it.
	Dir string
	// Journal, if not nil, is the log instead of files in Dir. The node closes it.
	Journal Journal
	// Address at which other nodes reach this one.
	Address string
	// Store holds the state, its applied index and the configuration.
	Store *store.Store
	// Machine applies entries.
	Machine StateMachine
	// Peers carries Raft's own traffic.
	Peers Dialer
	// Resolve tells the present address of a node, if gossip knows it.
	Resolve func(id string) (addr string, ok bool)
	// Guarded has a node without a log hear no other node before Admit: its id may be that of a voter that promised what
	// this one knows nothing of.
	Guarded bool
	// Failed is called once, with why, when the node cannot go on: its state machine failed, or Raft cannot go on before
	// it is started again (ErrStartAgain). It must not block.
	Failed func(error)
	Log    *slog.Logger
	// Timing may shorten Raft's timeouts and log limits in tests; the zero value is right.
	Timing Timing
}

// Timing are the knobs that tests turn to reach rare cases quickly.
type Timing struct {
	// Heartbeat is how long a voter waits for a leader's word, at least, before it stands for election.
	Heartbeat time.Duration
	// CommitTimeout is about how long an idle follower waits to hear of a commit, if the word of it that is
	// sent at once is lost.
	CommitTimeout     time.Duration
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64
	TrailingLogs      uint64
	// SegmentBytes of the log's files. Entries that were cut stay readable until their file
	// is gone.
	SegmentBytes int
	// LogBytes bounds the log on disk, and WeighEvery is how often it is looked at.
	LogBytes   int64
	WeighEvery time.Duration
}

func (t Timing) withDefaults() Timing {
	if t.SegmentBytes == 0 {
		t.SegmentBytes = segmentBytes
	}
	if t.LogBytes == 0 {
		t.LogBytes = logBytes
	}
	if t.WeighEvery == 0 {
		t.WeighEvery = weighEvery
	}
	return t
}

// What is sent at once and what is kept in memory is counted in entries, of up to record.MaxCommand
// bytes each: so both are small. Writers do not wait for it: what they bring goes into few entries.
const (
	maxAppendEntries = 64
	logCacheEntries  = 128
	segmentBytes     = 64 << 20
	poolPerPeer      = 3
	transportTimeout = 10 * time.Second
	commitTimeout    = 50 * time.Millisecond
)

// raftConfig follows what was learned of these settings: CommitTimeout is how often the leader speaks to an
// idle follower, which costs both, and no more than that since a teller tells of commits; the lease is shorter
// than the election timeout, so that a leader that lost its voters steps down before another can be elected.
func raftConfig(c Config, notify chan bool) *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = raft.ServerID(c.ID)
	r.HeartbeatTimeout, r.ElectionTimeout, r.LeaderLeaseTimeout = time.Second, time.Second, 500*time.Millisecond
	r.CommitTimeout = commitTimeout
	r.MaxAppendEntries, r.BatchApplyCh = maxAppendEntries, true
	r.SnapshotInterval, r.SnapshotThreshold, r.TrailingLogs = 60*time.Second, 16384, 262144
	if c.Timing.Heartbeat > 0 {
		r.HeartbeatTimeout, r.ElectionTimeout = c.Timing.Heartbeat, c.Timing.Heartbeat
	}
	if c.Timing.CommitTimeout > 0 {
		r.CommitTimeout = c.Timing.CommitTimeout
	}
	if c.Timing.SnapshotInterval > 0 {
		r.SnapshotInterval = c.Timing.SnapshotInterval
		r.SnapshotThreshold, r.TrailingLogs = c.Timing.SnapshotThreshold, c.Timing.TrailingLogs
	}
	r.NoSnapshotRestoreOnStart, r.ShutdownOnRemove, r.NoLegacyTelemetry = true, false, true
	r.NotifyCh = notify
	r.Logger = newLogger(c.Log)
	return r
}
