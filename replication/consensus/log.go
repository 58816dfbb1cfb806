package consensus

import (
	"errors"
	"fmt"
	"os"

	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
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

func unreadable(dir string, err error) error {
	return fmt.Errorf("the log in %s cannot be read: %w; if the disk is damaged, empty the data directory and let the node join again under another --node-id", dir, err)
}
