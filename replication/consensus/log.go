package consensus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"veto/replication/store"
)

// LogDir is where in a node's Config.Dir its log is.
const LogDir = "log"

// HasLog tells whether there is a log in a node's Config.Dir, with or without entries.
func HasLog(dir string) (bool, error) {
	info, err := os.Stat(filepath.Join(dir, LogDir, metadb.FileName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Size() > 0, err
}

// openLog opens Raft's log on disk. The caller closes it.
func openLog(dir string, bytes int) (*wal.WAL, error) {
	return openLogOn(dir, bytes, disk{fs.New(), store.MakeDir, store.OpenFile})
}

func openLogOn(dir string, bytes int, files disk) (*wal.WAL, error) {
	if err := files.makeDir(dir); err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	if err := checkSegments(dir); err != nil {
		return nil, unreadable(dir, err)
	}
	segments := &metadb.BoltMetaDB{} // which stays locked if the log cannot be opened
	w, err := wal.Open(dir, wal.WithSegmentSize(bytes), wal.WithMetaStore(segments), wal.WithSegmentFiler(segment.NewFiler(dir, files)))
	if err != nil {
		return nil, errors.Join(unreadable(dir, err), segments.Close())
	}
	return w, nil
}

// disk is the machine's, under the log: a file is there for good, with its room, before anything is written to it, so that
// it is enough to make durable what is written. A process may have been killed before it had made durable that a file is there,
// or what is in it: so both are when the log is opened.
type disk struct {
	types.VFS
	makeDir func(dir string) error // and has the names in it be durable
	open    func(path string) (store.File, error)
}

func (d disk) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := d.VFS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return d.open(filepath.Join(dir, name))
}

func (d disk) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := d.open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Log is what a node that is stopped has of Raft's log: entries that were committed, and at its end perhaps
// some that were not. The zero Log is one without entries.
type Log struct {
	// First and Last are the indices of its ends; both 0 if it has no entry. Term is that of the last, and
	// Reached the highest that the node has been in.
	First, Last, Term, Reached uint64
	// At is when the leader made the last; zero if there is none.
	At time.Time

	wal *wal.WAL
}

// OpenLog opens the log in a node's Config.Dir to be read. It fails while the node runs. The caller closes it.
func OpenLog(dir string) (*Log, error) {
	w, err := openLog(filepath.Join(dir, LogDir), segmentBytes)
	if err != nil {
		return nil, err
	}
	l := &Log{wal: w}
	if err := l.ends(); err != nil {
		return nil, errors.Join(fmt.Errorf("raft log: %w", err), w.Close())
	}
	return l, nil
}

// reachedKey is Raft's own.
var reachedKey = []byte("CurrentTerm")

func (l *Log) ends() (err error) {
	if l.Reached, err = l.wal.GetUint64(reachedKey); err != nil {
		return err
	}
	if l.First, err = l.wal.FirstIndex(); err != nil {
		return err
	}
	if l.Last, err = l.wal.LastIndex(); err != nil || l.Last == 0 {
		return err
	}
	var last raft.Log
	err = l.wal.GetLog(l.Last, &last)
	l.Term, l.At = last.Term, last.AppendedAt.UTC().Truncate(time.Millisecond)
	return err
}

// Behind gives the entries behind the index in their order, some at a time; those that are for Raft alone
// have neither command nor servers. There must be no gap.
func (l *Log) Behind(index uint64, fn func([]Entry) error) error {
	if l.Last > index && l.First > index+1 {
		return fmt.Errorf("the log begins at %d but the state ends at %d: entries are missing", l.First, index)
	}
	for at := max(index+1, l.First); at <= l.Last; {
		some := make([]Entry, 0, maxAppendEntries)
		for ; at <= l.Last && len(some) < cap(some); at++ {
			var entry raft.Log
			if err := l.wal.GetLog(at, &entry); err != nil {
				return fmt.Errorf("raft log: entry %d: %w", at, err)
			}
			some = append(some, entryOf(&entry))
		}
		if err := fn(some); err != nil {
			return err
		}
	}
	return nil
}

// Close closes it.
func (l *Log) Close() error {
	if l.wal == nil {
		return nil
	}
	return l.wal.Close()
}

// ErrStartAgain says that a node cannot go on as it is, but can when it is started again.
var ErrStartAgain = errors.New("start the node again")

// retained is a log that keeps what continues the state, and the state's own last entry before it: by that one
// Raft tells whether what a leader sends continues the state, too.
type retained struct {
	Journal
	store interface{ Applied() store.Applied }
	// taken is set when the store has taken in a state that another node sent.
	taken *atomic.Bool
	// fail ends the node. It must not block.
	fail func(error)
}

// IsMonotonic tells Raft that entries have no gaps (raft.MonotonicLogStore).
func (retained) IsMonotonic() bool { return true }

// StoreLogs stores entries. When Raft does, it has removed the log that a state replaces, if there was one.
func (r retained) StoreLogs(logs []*raft.Log) error {
	r.taken.Store(false)
	return r.Journal.StoreLogs(logs)
}

// DeleteRange deletes entries from one to the other, inclusive.
func (r retained) DeleteRange(from, to uint64) error {
	last, err := r.LastIndex()
	if err != nil {
		return err
	}
	state := r.store.Applied()
	if to == last && r.taken.Swap(false) {
		return r.replace(from, last, state)
	}
	if to == last && from <= state.Index {
		return r.keep(from, state)
	}
	if to == state.Index && to < last {
		to--
	}
	return r.cut(from, to)
}

// replace deletes of the log, which has these ends, what a state that was taken in replaces. Raft would delete
// all of it, also entries behind the state which this node has answered that it has: when that state
// came late, the leader may have counted on them (the Raft paper's figure 13, rule 6).
//
// A log of another past than the state's that reached as far is not one to go on with, and Raft goes on to believe that
// it ends where it did (hashicorp/raft#697): it refuses all that follows the state, and is sent the state again, without
// a pause. So the node ends. Started again, its log ends with the state.
func (r retained) replace(first, last uint64, state store.Applied) error {
	if last < state.Index {
		return r.cut(first, last)
	}
	if first > state.Index {
		return nil // that state was here before
	}
	var entry raft.Log
	if err := r.GetLog(state.Index, &entry); err != nil {
		return err
	}
	if entry.Term == state.Term {
		return r.cut(first, state.Index-1)
	}
	if err := r.cut(first, last); err != nil {
		return err
	}
	r.fail(fmt.Errorf("another node's state was taken in, up to entry %d of term %d, where the log here had one of term %d that was never committed: that log, up to its end at %d, is removed; %w",
		state.Index, state.Term, entry.Term, last, ErrStartAgain))
	return nil
}

// keep ends the node, with the log and the state that it has. Its leader lacks what was committed, which only happens where a majority lost
// what they had answered for; if this node took the other entries into its log, its state would differ from all others', and nobody would know.
func (r retained) keep(from uint64, state store.Applied) error {
	err := fmt.Errorf("the leader does not have entry %d, which was committed, and is in the state here, up to %d: a majority of the voters lost the end of their logs. Keep this disk, which may be the only one with what was changed then. "+
		"To go on with it, stop the others, and see `veto cluster recover --help`; to go on without, move the data directory away and start with an empty one", from, state.Index)
	r.fail(err)
	return err
}

func (r retained) cut(from, to uint64) error {
	if from > to {
		return nil
	}
	return r.Journal.DeleteRange(from, to)
}

func unreadable(dir string, err error) error {
	if store.NoRoom(err) {
		return fmt.Errorf("the log in %s cannot be opened: %w; make room on its disk, it takes %d MB at once", dir, err, segmentBytes>>20)
	}
	return fmt.Errorf("the log in %s cannot be read: %w; if the disk is damaged, empty the data directory and let the node join again under another --node-id", dir, err)
}

// Raft cuts its log by the count of entries, and entries may be a hundred bytes or half a million.
// So what is on disk is weighed: over logBytes, fewer are kept, and the log is cut at once.
const (
	logBytes   = 2 << 30
	weighEvery = 10 * time.Second
	fewestKept = 1024
	logFiles   = "*.wal"
)

// weigh keeps the log's weight within its bound until ctx ends.
func (n *Node) weigh(ctx context.Context, dir string, t Timing) {
	tick := time.NewTicker(t.WeighEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.lighten(dir, t); err != nil && ctx.Err() == nil {
			n.logger.Warn("the log is larger than it should be, and was not cut; it is tried again", "error", err)
		}
	}
}

func (n *Node) lighten(dir string, t Timing) error {
	bytes, err := weightOf(dir)
	if err != nil || bytes <= t.LogBytes {
		return err
	}
	first, err := n.log.FirstIndex()
	if err != nil {
		return err
	}
	entries := n.raft.LastIndex() - min(first, n.raft.LastIndex()) + 1
	kept := max(entries*uint64(t.LogBytes)/uint64(bytes)/2, fewestKept)
	now := n.raft.ReloadableConfig()
	if kept >= now.TrailingLogs {
		kept = max(now.TrailingLogs/2, fewestKept)
	}
	now.TrailingLogs = kept
	if err := n.raft.ReloadConfig(now); err != nil {
		return err
	}
	if err := n.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return err
	}
	return nil
}

// weightOf is how many bytes the log's files have.
func weightOf(dir string) (bytes int64, err error) {
	files, err := filepath.Glob(filepath.Join(dir, logFiles))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if errors.Is(err, os.ErrNotExist) {
			continue // it was cut off just now
		}
		if err != nil {
			return 0, err
		}
		bytes += info.Size()
	}
	return bytes, nil
}
