package consensus

import (
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"veto/replication/store"
)

// openLog opens Raft's log on disk. The caller closes it.
func openLog(dir string, bytes int) (*wal.WAL, error) { return openLogOn(dir, bytes, fs.New()) }

func openLogOn(dir string, bytes int, files types.VFS) (*wal.WAL, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
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

// retained is a log that keeps what continues the state. Raft deletes all of the log when it has taken in a
// state that another node sent, also entries behind it which this node has answered that it has: when
// that state came late, the leader may have counted on them (the Raft paper's figure 13, rule 6).
type retained struct {
	Journal
	store interface{ Applied() store.Applied }
}

// IsMonotonic tells Raft that entries have no gaps (raft.MonotonicLogStore).
func (retained) IsMonotonic() bool { return true }

// DeleteRange deletes entries from one to the other, inclusive.
func (r retained) DeleteRange(from, to uint64) error {
	last, err := r.LastIndex()
	if err != nil {
		return err
	}
	state := r.store.Applied()
	if to == last && from <= state.Index && state.Index < last {
		var entry raft.Log
		if err := r.GetLog(state.Index, &entry); err != nil {
			return err
		}
		if entry.Term == state.Term {
			to = state.Index
		}
	}
	return r.Journal.DeleteRange(from, to)
}

func unreadable(dir string, err error) error {
	return fmt.Errorf("the log in %s cannot be read: %w; if the disk is damaged, empty the data directory and let the node join again under another --node-id", dir, err)
}
