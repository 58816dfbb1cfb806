package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"veto/node"
	"veto/record"
	"veto/replication/backup"
	"veto/replication/store"
)

// Restored tells what was restored, and what of the old cluster is missing.
type Restored struct {
	Backup backup.Header `json:"backup"`
	Refounded
	Merged []Merged `json:"merged"`
}

// leftAlone may be in a directory into which is restored: the certificates that a node alone has there.
var leftAlone = []string{"certs", "lost+found"}

// Restore makes the data directory, which must be new, that of the first node of a new cluster with the backup's
// state, then adds what the survivors know to be revoked: files of `veto revocations export`, or data directories
// of nodes of the old cluster that do not run. If it fails it leaves the directory as it found it.
func Restore(ctx context.Context, c Config, file io.Reader, survivors []string) (Restored, error) {
	if err := errors.Join(c.checkRole(), c.checkEmpty()); err != nil {
		return Restored{}, err
	}
	b, err := backup.Open(file)
	if err != nil {
		return Restored{}, err
	}
	if err := c.claim(); err != nil {
		return Restored{}, err
	}
	out := Restored{Backup: b.Header, Merged: []Merged{}}
	if c.Fatal != nil { // which ends the process: nothing after it takes away what was made
		end := c.Fatal
		c.Fatal = func(why string) {
			if err := c.undo(); err != nil {
				why += fmt.Sprintf("; the data directory could not be emptied again: %v", err)
			}
			end(why)
		}
	}
	if err := c.fill(ctx, b, survivors, &out); err != nil {
		return out, errors.Join(err, c.undo())
	}
	// Last: until then the directory is nobody's.
	err = store.SetWhole(c.dir(node.StateDir))
	if err == nil {
		err = store.WriteIdentity(c.Node.DataDir, store.Identity{NodeID: c.Node.NodeID, Cluster: out.Cluster})
	}
	if err != nil {
		return out, errors.Join(fmt.Errorf("data directory: %w", err), c.undo())
	}
	return out, nil
}

// undo takes away what was made: first what says that the rest is a node's.
func (c *Config) undo() error {
	if err := store.RemoveIdentity(c.Node.DataDir); err != nil {
		return err
	}
	return errors.Join(removeAll(c.dir(node.StateDir)), removeAll(c.dir(node.OutboxDir)), removeAll(c.dir(node.RaftDir)))
}

// removeAll takes a directory away in which a database may still make files, as one does whose disk has just failed: it finds
// its directory no more. What it had begun to make then is made, and may come between the last look and the removal.
func removeAll(dir string) error {
	gone := dir + ".gone"
	if err := os.Rename(dir, gone); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for tries := 0; ; tries++ {
		err := os.RemoveAll(gone)
		if !errors.Is(err, os.ErrExist) || tries == mostRemovals { // it is empty, or never will be
			return err
		}
		<-time.After(removalPause)
	}
}

const (
	mostRemovals = 100
	removalPause = 10 * time.Millisecond
)

func (c *Config) checkEmpty() error {
	there, err := os.ReadDir(c.Node.DataDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, e := range there {
		if !slices.Contains(leftAlone, e.Name()) {
			return fmt.Errorf("the data directory %s is not empty, %s is there: a restore makes a new node, and overwrites none; give another --data-dir, or move away what is in this one", c.Node.DataDir, e.Name())
		}
	}
	return nil
}

// claim makes the directory of the state: whoever does may fill it, and take it away again. Another restore may have
// begun since it was looked whether the data directory is empty.
func (c *Config) claim() error {
	err := os.MkdirAll(c.Node.DataDir, 0o700)
	if err == nil {
		err = os.Mkdir(c.dir(node.StateDir), 0o700)
	}
	if errors.Is(err, os.ErrExist) {
		if err := c.checkEmpty(); err != nil {
			return err
		}
		return fmt.Errorf("another restore into the data directory %s was here just now, and is gone: try again", c.Node.DataDir)
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

func (c *Config) fill(ctx context.Context, b *backup.Reader, survivors []string, out *Restored) (err error) {
	if err := store.SetPart(c.dir(node.StateDir)); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	s, err := c.open(node.StateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	applied, err := s.Restore(b)
	if whole := b.Finish(); whole != nil {
		return whole // which says more
	}
	if err == nil {
		err = agrees(b.Header, applied, s)
	}
	if err != nil {
		return err
	}
	from, err := c.openSurvivors(s, survivors)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(from)) }()
	known := record.Revision(0)
	for _, x := range from {
		known = max(known, x.through())
	}
	// The log is new, and so is Raft's term: the state's must not be above it.
	if out.Refounded, err = c.refound(s, "restore", record.Revision(applied.Index), known, 1); err != nil {
		return err
	}
	for i, path := range survivors {
		m, err := c.merge(ctx, s, path, from[i])
		if err != nil {
			return fmt.Errorf("--merge %s: %w", path, err)
		}
		out.Merged = append(out.Merged, m)
	}
	if c.Merged != nil {
		if err := c.Merged(); err != nil {
			return err
		}
	}
	return c.makeParts([]string{logDir, node.OutboxDir})
}
