package consensus

import (
	"errors"
	"fmt"
	"os"

	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

// logStore is Raft's log on disk. The log's own Close leaves its index of segments open and
// locked, so that is held and closed here.
type logStore struct {
	*wal.WAL
	segments *metadb.BoltMetaDB
}

func openLog(dir string, bytes int) (*logStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	if err := checkSegments(dir); err != nil {
		return nil, unreadable(dir, err)
	}
	segments := &metadb.BoltMetaDB{}
	w, err := wal.Open(dir, wal.WithSegmentSize(bytes), wal.WithMetaStore(segments))
	if err != nil {
		return nil, errors.Join(unreadable(dir, err), segments.Close())
	}
	return &logStore{w, segments}, nil
}

func unreadable(dir string, err error) error {
	return fmt.Errorf("the log in %s cannot be read: %w; if the disk is damaged, empty the data directory and let the node join again under another --node-id", dir, err)
}

func (l *logStore) Close() error { return errors.Join(l.WAL.Close(), l.segments.Close()) }
