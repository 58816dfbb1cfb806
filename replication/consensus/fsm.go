package consensus

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"veto/record"
	"veto/replication/store"
)

// errFailed is what proposals get once the state machine has failed.
var errFailed = errors.New("this node's state machine has failed and the node is stopping")

// fsm hands Raft's entries to the state machine. Its methods are called by one goroutine of
// Raft's, never two at once; failed and restored are for others, too.
type fsm struct {
	machine StateMachine
	report  func(error)
	// committed is called with the last of the entries that are to be applied. It must not block.
	committed func(last *raft.Log)
	failed    atomic.Bool
	// restored is set when a state that another node sent was taken in; the log clears it.
	restored atomic.Bool
}

// ApplyBatch never panics and never skips: after a failure it refuses everything (C4).
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	if f.failed.Load() {
		return refuse(responses)
	}
	f.committed(logs[len(logs)-1])
	entries := make([]Entry, len(logs))
	for i, l := range logs {
		entries[i] = entryOf(l)
	}
	results, err := f.machine.Apply(entries)
	if err == nil && len(results) != len(entries) {
		err = fmt.Errorf("state machine: %d results for %d entries", len(results), len(entries))
	}
	if err != nil {
		f.fail(err)
		return refuse(responses)
	}
	for i := range results {
		responses[i] = results[i]
	}
	return responses
}

func entryOf(l *raft.Log) Entry {
	e := Entry{Index: l.Index, Term: l.Term}
	switch l.Type {
	case raft.LogCommand:
		e.Command = l.Data
	case raft.LogConfiguration:
		e.Servers, e.At = l.Data, l.AppendedAt.UTC().Truncate(time.Millisecond)
		e.Members = serversOf(raft.DecodeConfiguration(l.Data))
	}
	return e
}

func refuse(responses []any) []any {
	for i := range responses {
		responses[i] = errFailed
	}
	return responses
}

func (f *fsm) fail(err error) {
	if f.failed.CompareAndSwap(false, true) {
		f.report(err)
	}
}

// Apply is required by Raft's interface; Raft calls ApplyBatch instead.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// Snapshot costs nothing: the sink makes the store durable when it is closed.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.failed.Load() {
		return nil, errFailed
	}
	return durable{}, nil
}

// Restore takes a whole state that another node sent. Raft may hand over one late, which the leader has
// given up, when the node has caught up by then. A stream that was refused has changed nothing; after any other error nobody knows what readers see, and the node must stop.
func (f *fsm) Restore(r io.ReadCloser) error {
	if f.failed.Load() {
		return errors.Join(errFailed, r.Close())
	}
	err := f.machine.Restore(r)
	if err == nil {
		f.restored.Store(true)
	}
	if err != nil && !errors.Is(err, store.ErrBrokenStream) && !errors.Is(err, store.ErrOlder) {
		f.fail(err)
	}
	return errors.Join(err, r.Close())
}

// durable is a snapshot of which every byte is in the store already.
type durable struct{}

func (durable) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (durable) Release()                             {}

func resultOf(response any) (record.Result, error) {
	switch r := response.(type) {
	case record.Result:
		return r, nil
	case error:
		return record.Result{}, r
	}
	return record.Result{}, fmt.Errorf("state machine: unexpected response %T", response)
}
