package consensus

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
)

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
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was cut off just now
		}
		if err != nil {
			return 0, err
		}
		bytes += info.Size()
	}
	return bytes, nil
}
