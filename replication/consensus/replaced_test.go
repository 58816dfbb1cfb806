package consensus

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"veto/replication/store"
)

// leads is a test in a leader's place: it sends to a node what it wants.
type leads struct {
	way     *raft.NetworkTransport
	servers raft.Configuration
}

func leading(t *testing.T) *leads {
	t.Helper()
	way, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, 10*time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = way.Close() })
	// The follower does not vote, so it leaves the term alone.
	return &leads{way, raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: "a", Address: "127.0.0.1:1"}, {Suffrage: raft.Nonvoter, ID: "b", Address: "127.0.0.1:2"},
	}}}
}

func (l *leads) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("a"), Addr: []byte("127.0.0.1:1")}
}

// append sends entries of the term, the first behind one of another, and tells whether they were taken.
func (l *leads) append(t *testing.T, to *member, previous, previousTerm, last, term, committed uint64) bool {
	t.Helper()
	r := &raft.AppendEntriesRequest{
		RPCHeader: l.header(), Term: term, PrevLogEntry: previous, PrevLogTerm: previousTerm, LeaderCommitIndex: committed,
	}
	for i := previous + 1; i <= last; i++ {
		e := &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "%d of %d", i, term)}
		if i == 1 {
			e.Type, e.Data = raft.LogConfiguration, raft.EncodeConfiguration(l.servers)
		}
		r.Entries = append(r.Entries, e)
	}
	var answer raft.AppendEntriesResponse
	if err := l.way.AppendEntries("b", raft.ServerAddress(to.address), r, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Success
}

// install sends a state up to the entry.
func (l *leads) install(t *testing.T, to *member, index, term uint64) {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{CacheBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	state := store.Applied{Index: index, Term: term, Configuration: raft.EncodeConfiguration(l.servers), ConfigurationIndex: 1}
	if err := s.Begin().Commit(state); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	var stream bytes.Buffer
	if _, err := snap.WriteTo(&stream); err != nil {
		t.Fatal(err)
	}
	var answer raft.InstallSnapshotResponse
	err = l.way.InstallSnapshot("b", raft.ServerAddress(to.address), &raft.InstallSnapshotRequest{
		RPCHeader: l.header(), SnapshotVersion: raft.SnapshotVersionMax, Term: term, LastLogIndex: index, LastLogTerm: term,
		Configuration: state.Configuration, ConfigurationIndex: 1, Size: int64(stream.Len()),
	}, &answer, &stream)
	if err != nil || !answer.Success {
		t.Fatal(answer, err)
	}
}

// C14: a state takes the place of a log that had another past.
func TestReplacedLogLetsTheNodeGoOn(t *testing.T) {
	for _, end := range []uint64{4, 5, 10} {
		t.Run(fmt.Sprint("up to ", end), func(t *testing.T) {
			leader := leading(t)
			m := start(t, "b", t.TempDir(), "127.0.0.1:0", Timing{})
			defer func() { m.stop(t) }()
			if !leader.append(t, m, 0, 0, end, 1, 1) {
				t.Fatal("refused")
			}
			leader.install(t, m, 5, 2)
			select {
			case err := <-m.failed:
				t.Log(err)
				m.stop(t)
				m = start(t, "b", m.dir, m.address, Timing{})
			default: // it goes on
			}
			if !leader.append(t, m, 5, 2, 7, 2, 7) {
				t.Fatal("what follows the state is refused")
			}
			until(t, "it is applied", func() bool { return m.journal.store.Applied().Index == 7 })
			if got, want := m.journal.contents(t), fmt.Sprintf("x%020d=6 of 2\nx%020d=7 of 2\n", 6, 7); got != want {
				t.Errorf("%q", got)
			}
			if last := m.LastIndex(); last != 7 {
				t.Errorf("its log ends at %d", last)
			}
		})
	}
}

// C17
func TestAppliedIsNotTakenBack(t *testing.T) {
	leader := leading(t)
	m := start(t, "b", t.TempDir(), "127.0.0.1:0", Timing{})
	defer func() { m.stop(t) }()
	if !leader.append(t, m, 0, 0, 6, 1, 5) {
		t.Fatal("refused")
	}
	until(t, "it is applied", func() bool { return m.journal.store.Applied().Index == 5 })
	if !leader.append(t, m, 5, 1, 6, 2, 5) {
		t.Error("an entry that was not committed was not replaced")
	}
	for range 2 { // and it does so again when it is started again
		if leader.append(t, m, 4, 1, 6, 3, 6) {
			t.Error("entry 5 was replaced")
		}
		select {
		case err := <-m.failed:
			if !strings.Contains(err.Error(), "entry 5,") {
				t.Error(err)
			}
		default:
			t.Fatal("it goes on")
		}
		if m.LastIndex() != 6 || m.journal.store.Applied().Index != 5 {
			t.Errorf("its log ends at %d, and its state at %d", m.LastIndex(), m.journal.store.Applied().Index)
		}
		m.stop(t)
		m, leader = start(t, "b", m.dir, m.address, Timing{}), leading(t)
	}
}

// C14: a log that was cut up to the state, and goes on with what was never committed.
func TestCutLogIsToldWhatFollowsTheState(t *testing.T) {
	leader := leading(t)
	m := startOn(t, memory{raft.NewInmemStore()}, "b", t.TempDir(), "127.0.0.1:0", Timing{SnapshotInterval: time.Hour, SnapshotThreshold: 1, TrailingLogs: 1})
	defer m.stop(t)
	if !leader.append(t, m, 0, 0, 10, 1, 5) {
		t.Fatal("refused")
	}
	until(t, "it is applied", func() bool { return m.journal.store.Applied().Index == 5 })
	until(t, "the log is cut", func() bool { _ = m.raft.Snapshot().Error(); return m.firstIndex(t) > 1 })
	if !leader.append(t, m, 5, 1, 7, 2, 7) {
		t.Fatal("what follows the state is refused")
	}
	until(t, "it is applied", func() bool { return m.journal.store.Applied().Index == 7 })
	if last := m.LastIndex(); last != 7 {
		t.Errorf("its log ends at %d", last)
	}
}
