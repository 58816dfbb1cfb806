package recovery

import (
	"errors"
	"fmt"
	"time"

	"veto/record"
	"veto/replication"
	"veto/replication/consensus"
	"veto/replication/store"
)

// Last is what the data directory of a node that does not run has.
type Last struct {
	Node    string `json:"node"`
	Cluster string `json:"cluster"`
	// Revision up to which the state holds everything; Log is the last entry of its log, and LogTerm the term
	// of that: of several nodes the one that has the highest term, and of those the highest entry, has most.
	Revision record.Revision `json:"revision"`
	Log      uint64          `json:"log"`
	LogTerm  uint64          `json:"log_term"`
	// LogAt is when the last entry of the log was made: what was done later this node has not.
	LogAt time.Time `json:"log_at,omitzero"`
	// LeftAt is when the node left its cluster, which went on without it.
	LeftAt time.Time `json:"left_at,omitzero"`
	// Servers are the nodes of its cluster, as it knows them.
	Servers []consensus.Server `json:"servers"`
	// Pending are revocations that it took and the state does not have; the log may have them.
	Pending int `json:"pending"`
	// Lacks are parts of the data directory of which there is only an empty directory: what they had is not here.
	Lacks []string `json:"lacks,omitempty"`
}

// Recovered tells what came of it.
type Recovered struct {
	Had Last `json:"had"`
	Refounded
	// Replayed are the entries of the log that the state did not have. Some of them may never have been
	// committed; they are now.
	Replayed int `json:"replayed"`
}

// Look tells what there is, and changes nothing. It fails while the node runs.
func Look(c Config) (Last, error) {
	d, err := c.openLast()
	if err != nil {
		return Last{}, err
	}
	last, err := c.look(d)
	return last, errors.Join(err, d.Close())
}

// Recover makes the node the only one of a new cluster, with all that it has: its state, its log, and what it took
// and could bring to nobody. The others must come with empty directories.
func Recover(c Config) (out Recovered, err error) {
	if err := c.checkRole(); err != nil {
		return out, err
	}
	d, err := c.openLast()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if out.Had, err = c.look(d); err != nil {
		return out, err
	}
	// Before anything is changed it must be known to go well, and no old node is to start on half of it.
	if _, err := c.rebind(d.peppers, d.cluster, ""); err != nil {
		return out, err
	}
	if _, err := store.SetIdentityAside(c.Node.DataDir); err != nil {
		return out, fmt.Errorf("data directory: %w", err)
	}
	if err := c.goOn(d, &out); err != nil {
		return out, fmt.Errorf("%w; the directory is no node's now, and has all that it had: do it again once that is mended, or restore from a backup", err)
	}
	return out, nil
}

// goOn makes a node of a new cluster of what is nobody's yet.
func (c *Config) goOn(d *directory, out *Recovered) (err error) {
	last := d.through()
	if out.Replayed, err = d.replay(); err != nil {
		return fmt.Errorf("the log could not be applied: %w", err)
	}
	// Raft begins in the next term after that which its log tells of: the state's must not be above.
	term := max(min(max(d.store.Applied().Term, d.log.Term), d.log.Reached), 1)
	if out.Refounded, err = c.refound(d.store, "recover", last, last, term); err != nil {
		return err
	}
	if err := c.makeParts(d.lacks); err != nil {
		return err
	}
	return store.WriteIdentity(c.Node.DataDir, store.Identity{NodeID: c.Node.NodeID, Cluster: out.Cluster})
}

// openLast opens the node's directory, which must be that of a node, or of one of which a recovery was cut short.
func (c *Config) openLast() (*directory, error) {
	id, known, err := store.ReadIdentity(c.Node.DataDir)
	if err == nil && !known {
		id, known, err = store.ReadIdentityAside(c.Node.DataDir)
	}
	if err == nil && !known {
		err = fmt.Errorf("the data directory %s is no node's: give that of a node that was part of the cluster", c.Node.DataDir)
	}
	if err == nil && id.NodeID != c.Node.NodeID {
		err = fmt.Errorf("the data directory %s belongs to node %s, and this is node %s; give --node-id %s", c.Node.DataDir, id.NodeID, c.Node.NodeID, id.NodeID)
	}
	if err != nil {
		return nil, err
	}
	d, err := c.openDirectory(c.Node.DataDir)
	if err != nil {
		return nil, err
	}
	d.leftAt = id.LeftAt
	return d, nil
}

func (c *Config) look(d *directory) (Last, error) {
	a := d.store.Applied()
	pending, err := d.pending()
	return Last{
		Node: c.Node.NodeID, Cluster: d.cluster, Revision: record.Revision(a.Index), Pending: len(pending),
		Log: uint64(d.through()), LogTerm: max(d.log.Term, a.Term), LogAt: d.log.At, LeftAt: d.leftAt, Servers: d.servers, Lacks: d.lacks,
	}, err
}

// replay applies what the log has behind the state.
func (d *directory) replay() (int, error) {
	count := 0
	err := d.log.Behind(d.store.Applied().Index, func(entries []consensus.Entry) error {
		count += len(entries)
		_, err := replication.Replay(d.store, entries)
		return err
	})
	return count, err
}
