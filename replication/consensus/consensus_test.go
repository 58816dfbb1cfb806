package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"veto/record"
	"veto/replication/store"
)

// plain carries Raft between nodes of a test over TCP; peer has its own tests.
type plain struct{ net.Listener }

func (p plain) Raft() net.Listener { return p.Listener }

func (p plain) DialRaft(addr, id string, limit time.Duration) (net.Conn, error) {
	if now, ok := resolve(id); !ok || now != addr {
		return nil, fmt.Errorf("node %q is not at %s", id, addr)
	}
	return net.DialTimeout("tcp", addr, limit)
}

// journal is a state machine that keeps every command under its index.
type journal struct {
	store *store.Store

	mu      sync.Mutex
	applied []uint64
	fail    error
}

func (j *journal) Apply(entries []Entry) ([]record.Result, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return nil, j.fail
	}
	at := j.store.Applied()
	batch, results := j.store.Begin(), make([]record.Result, len(entries))
	for i, e := range entries {
		results[i].Revision = record.Revision(e.Index)
		if e.Index <= at.Index {
			continue
		}
		at.Index, at.Term = e.Index, e.Term
		if e.Servers != nil {
			at.Configuration, at.ConfigurationIndex = e.Servers, e.Index
			continue
		}
		j.applied = append(j.applied, e.Index)
		if err := batch.Put(fmt.Appendf(nil, "x%020d", e.Index), e.Command); err != nil {
			return nil, err
		}
	}
	return results, batch.Commit(at)
}

func (j *journal) Restore(r io.Reader) error {
	_, err := j.store.Restore(r)
	return err
}

func (j *journal) contents(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	err := j.store.Scan([]byte("x"), []byte("y"), func(k, v []byte) (bool, error) {
		fmt.Fprintf(&b, "%s=%s\n", k, v)
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// addresses are those of the nodes of the test that runs.
var addresses sync.Map

func resolve(id string) (string, bool) {
	addr, ok := addresses.Load(id)
	text, _ := addr.(string)
	return text, ok
}

type member struct {
	*Node
	journal *journal
	failed  chan error
	address string
	dir     string
}

// start starts a node in the directory; close it with stop.
func start(t *testing.T, id, dir, address string, timing Timing) *member {
	t.Helper()
	return startOn(t, nil, id, dir, address, timing)
}

// memory is a log that has nothing of what was deleted; one on disk may, until its file is gone.
type memory struct{ *raft.InmemStore }

func (memory) Close() error { return nil }

// startOn starts a node on a log; on one in the directory, if there is none.
func startOn(t *testing.T, log Journal, id, dir, address string, timing Timing) *member {
	t.Helper()
	s, err := store.Open(dir+"/state", store.Options{CacheBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	addresses.Store(id, l.Addr().String())
	m := &member{journal: &journal{store: s}, failed: make(chan error, 1), address: l.Addr().String(), dir: dir}
	m.Node, err = Open(Config{
		ID: id, Dir: dir, Journal: log, Address: m.address, Store: s, Machine: m.journal, Peers: plain{l},
		Resolve: resolve, Failed: func(err error) { m.failed <- err },
		Log: slog.New(slog.DiscardHandler), Timing: timing,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *member) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(m.Close(), m.journal.store.Close()); err != nil {
		t.Error(err)
	}
}

func (m *member) propose(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range n {
		if _, err := m.Propose(ctx, fmt.Appendf(nil, "command %d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			t.Fatal("never: " + what)
		case <-tick.C:
		}
	}
}

func lead(t *testing.T, m *member) {
	t.Helper()
	until(t, "it leads", m.IsLeader)
}

func alone(t *testing.T, timing Timing) *member {
	t.Helper()
	m := start(t, "a", t.TempDir(), "127.0.0.1:0", timing)
	if err := m.Bootstrap([]Server{{ID: "a", Address: m.address, Voter: true}}); err != nil {
		t.Fatal(err)
	}
	lead(t, m)
	return m
}

// C15
func TestSoleVoterLeadsAtOnce(t *testing.T) {
	never := Timing{Heartbeat: time.Hour}
	m := alone(t, never)
	m.stop(t)
	m = start(t, "a", m.dir, m.address, never)
	defer m.stop(t)
	lead(t, m)
}

// C2
func TestRestartContinues(t *testing.T) {
	m := alone(t, Timing{})
	m.propose(t, 50)
	before, address, dir := m.journal.contents(t), m.address, m.dir
	m.stop(t)
	m = start(t, "a", dir, address, Timing{})
	defer m.stop(t)
	lead(t, m)
	m.propose(t, 1)
	if got := m.journal.contents(t); got[:len(before)] != before || len(m.journal.applied) != 1 {
		t.Errorf("applied again: %v", m.journal.applied)
	}
}

// often makes the log be cut after every few entries.
var often = Timing{SnapshotInterval: 20 * time.Millisecond, SnapshotThreshold: 10, TrailingLogs: 5, SegmentBytes: 4096}

// C1
func TestLogIsCutOnlyBehindTheStore(t *testing.T) {
	m := alone(t, often)
	defer m.stop(t)
	m.propose(t, 200)
	until(t, "the log is cut", func() bool { _ = m.raft.Snapshot().Error(); return m.firstIndex(t) > 50 })
	a := m.journal.store.Applied()
	if first := m.firstIndex(t); first > a.Index+1 {
		t.Errorf("the log begins at %d, the store ends at %d", first, a.Index)
	}
}

// C7
func TestHeavyLogIsCut(t *testing.T) {
	m := alone(t, Timing{SegmentBytes: 4096, LogBytes: 64 << 10, WeighEvery: 10 * time.Millisecond})
	defer m.stop(t)
	dir := filepath.Join(m.dir, "log")
	until(t, "the log is heavy", func() bool {
		m.propose(t, 100)
		return m.raft.LastIndex() > 4*fewestKept
	})
	until(t, "the log is cut", func() bool { m.propose(t, 1); return m.firstIndex(t) > fewestKept })
	if a := m.journal.store.Applied(); m.firstIndex(t) > a.Index+1 {
		t.Errorf("the log begins at %d, the store ends at %d", m.firstIndex(t), a.Index)
	}
	if bytes, err := weightOf(dir); err != nil || bytes == 0 {
		t.Errorf("%d bytes, %v", bytes, err)
	}
}

func (m *member) firstIndex(t *testing.T) uint64 {
	t.Helper()
	first, err := m.log.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// C3
func TestFarBehindNodeGetsTheState(t *testing.T) {
	m := alone(t, often)
	defer m.stop(t)
	m.propose(t, 300)
	until(t, "the log is cut", func() bool { _ = m.raft.Snapshot().Error(); return m.firstIndex(t) > 50 })
	late := start(t, "b", t.TempDir(), "127.0.0.1:0", often)
	defer late.stop(t)
	_, basedOn := m.Servers()
	if err := m.AddReplica("b", late.address, basedOn); err != nil {
		t.Fatal(err)
	}
	until(t, "it has caught up", func() bool { return late.journal.contents(t) == m.journal.contents(t) })
	if len(late.journal.applied) > 250 {
		t.Errorf("it got %d entries, and no state", len(late.journal.applied))
	}
	until(t, "it knows the servers", func() bool {
		servers, _ := late.Servers()
		return len(servers) == 2 && servers[0].Voter && !servers[1].Voter
	})
}

// C4
func TestFailedStateMachineStops(t *testing.T) {
	m := alone(t, often)
	defer m.stop(t)
	m.propose(t, 5)
	m.journal.mu.Lock()
	m.journal.fail = errors.New("unknown command")
	m.journal.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := m.Propose(ctx, []byte("x")); err == nil {
		t.Error("accepted")
	}
	if err := <-m.failed; err == nil || err.Error() != "unknown command" {
		t.Error(err)
	}
	m.journal.mu.Lock()
	m.journal.fail = nil // even if it could go on, it must not: an entry was left out
	m.journal.mu.Unlock()
	if _, err := m.Propose(ctx, []byte("y")); err == nil {
		t.Error("went on after a failure")
	}
	if err := m.raft.Snapshot().Error(); err == nil {
		t.Error("the log was cut after a failure")
	}
	if len(m.journal.applied) != 5 {
		t.Errorf("applied %v", m.journal.applied)
	}
}

func TestLogBehindTheStoreIsDropped(t *testing.T) {
	m := alone(t, Timing{})
	m.propose(t, 5)
	dir, address := m.dir, m.address
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	a := m.journal.store.Applied()
	err := m.journal.store.Sync(store.Applied{Index: a.Index + 100, Term: a.Term, Configuration: a.Configuration, ConfigurationIndex: a.ConfigurationIndex})
	if err := errors.Join(err, m.journal.store.Close()); err != nil {
		t.Fatal(err)
	}
	m = start(t, "a", dir, address, Timing{})
	defer m.stop(t)
	lead(t, m)
	m.propose(t, 1)
	if at := m.journal.applied; len(at) != 1 || at[0] <= a.Index+100 {
		t.Errorf("applied %v after %d", at, a.Index+100)
	}
}

// C10: what Raft does with a state whose sending the leader has given up is the same on any node.
func TestLateStateIsRefused(t *testing.T) {
	m := alone(t, Timing{})
	defer m.stop(t)
	m.propose(t, 3)
	snap, err := m.journal.store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	old := snap.Applied()
	var stream bytes.Buffer
	if _, err := snap.WriteTo(&stream); err != nil {
		t.Fatal(err)
	}
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
	m.propose(t, 3)
	before := m.journal.contents(t)
	out, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, 10*time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	var answer raft.InstallSnapshotResponse
	err = out.InstallSnapshot("a", raft.ServerAddress(m.address), &raft.InstallSnapshotRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("a"), Addr: []byte(m.address)}, SnapshotVersion: raft.SnapshotVersionMax,
		Term: m.Term(), LastLogIndex: old.Index, LastLogTerm: old.Term, Configuration: old.Configuration,
		ConfigurationIndex: old.ConfigurationIndex, Size: int64(stream.Len()),
	}, &answer, &stream)
	if err == nil || answer.Success {
		t.Errorf("taken: %+v", answer)
	}
	m.propose(t, 1)
	if after := m.journal.contents(t); !strings.HasPrefix(after, before) || after == before {
		t.Errorf("%q, and before %q", after, before)
	}
	select {
	case err := <-m.failed:
		t.Errorf("the node ended: %v", err)
	default:
	}
}
