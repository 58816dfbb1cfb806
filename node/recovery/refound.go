package recovery

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"veto/node"
	"veto/record"
	"veto/replication/consensus"
	"veto/replication/machine"
	"veto/replication/store"
)

// Gap is by how much the revisions of the new cluster begin above the last that is known of the old one: more
// than a cluster makes in the eleven days in which it makes a thousand a second, as none may be given twice.
const Gap = 1_000_000_000

// Config is whose data directory it is, and what goes with it.
type Config struct {
	// Node is the node's configuration, complete.
	Node node.Config
	Now  func() time.Time
	Log  *slog.Logger
	// Refused is given every revocation of a survivor that a restore refuses, if it is not nil.
	Refused func(record.Revocation) error
	// Merged is called when it has been given all, before the directory is a node's, if it is not nil.
	Merged func() error
	// Fatal ends the process, when the disk failed under a write. Nil panics.
	Fatal func(why string)
}

// Refounded tells of the cluster that was made.
type Refounded struct {
	Cluster string `json:"cluster"`
	Was     string `json:"was"`
	Node    string `json:"node"`
	// From is the last revision that came from the old cluster, Begins that at which the new one does.
	From   record.Revision `json:"from"`
	Begins record.Revision `json:"begins"`
}

func (c *Config) dir(name string) string { return filepath.Join(c.Node.DataDir, name) }

func (c *Config) open(name string) (*store.Store, error) {
	return store.Open(c.dir(name), c.options())
}

func (c *Config) options() store.Options { return store.Options{Log: c.Log, Fatal: c.Fatal} }

// checkRole refuses to make a cluster that nobody votes in.
func (c *Config) checkRole() error {
	if c.Node.Role != string(record.NodeVoter) {
		return errors.New("role: the only node of a cluster must vote; give --role voter")
	}
	return nil
}

const logDir = node.RaftDir + string(filepath.Separator) + consensus.LogDir

// makeParts makes new ones of those that the node's directory lacks: a node with a state starts in none without a log.
func (c *Config) makeParts(parts []string) error {
	if slices.Contains(parts, node.OutboxDir) {
		box, err := store.OpenOutbox(c.dir(node.OutboxDir), rand.Reader, c.options())
		if err != nil {
			return err
		}
		if err := box.Close(); err != nil {
			return err
		}
	}
	if slices.Contains(parts, logDir) {
		log, err := consensus.OpenLog(c.dir(node.RaftDir))
		if err != nil {
			return err
		}
		return log.Close()
	}
	return nil
}

// refound makes the state that of a new cluster of this node alone, in one batch. From is the last revision that
// the state has, known the last that is known to have been given, and term one that Raft has not been behind.
func (c *Config) refound(s *store.Store, action string, from, known record.Revision, term uint64) (Refounded, error) {
	was, ok, err := machine.Cluster(s)
	if err != nil {
		return Refounded{}, err
	}
	if !ok {
		return Refounded{}, errors.New("there is no cluster's state in it")
	}
	out := Refounded{
		Cluster: "cluster-" + strings.ToLower(ulid.Make().String()), Was: was.ClusterID, Node: c.Node.NodeID,
		From: from, Begins: max(from, known) + Gap,
	}
	peppers, err := peppersOf(s)
	if err == nil {
		peppers, err = c.rebind(peppers, was.ClusterID, out.Cluster)
	}
	if err != nil {
		return out, err
	}
	address := c.Node.PeerAddress()
	batch := s.Begin()
	err = machine.Refound(batch, machine.Refounding{
		Action: action, Node: c.Node.NodeID, ClusterID: out.Cluster, At: c.now(), After: out.From, Revision: out.Begins, Peppers: peppers,
		Servers: []record.NodeStatus{{ID: c.Node.NodeID, Role: record.NodeVoter, Address: address}},
	})
	if err != nil {
		return out, errors.Join(err, batch.Abort())
	}
	err = batch.Commit(store.Applied{
		Index: uint64(out.Begins), Term: term,
		Configuration: consensus.SoleVoter(c.Node.NodeID, address), ConfigurationIndex: uint64(out.Begins),
	})
	if err == nil {
		err = s.Sync(store.Applied{})
	}
	return out, err
}

func (c *Config) now() time.Time { return c.Now().UTC().Truncate(time.Millisecond) }

// rebind wraps peppers for the new cluster. Without them no API key could be checked there, and no operator be let
// in: so it is refused where the key is not at hand.
func (c *Config) rebind(peppers []record.Pepper, from, to string) ([]record.Pepper, error) {
	ring, err := c.Node.Ring()
	if err != nil {
		return nil, err
	}
	all := make([]record.Pepper, len(peppers))
	for i, p := range peppers {
		bound, err := ring.Rebind(rand.Reader, from, to, p)
		if err != nil {
			return nil, fmt.Errorf("API keys could not be checked: %w", err)
		}
		p.Wrapped, p.WrappedBy, p.WrappedAt = bound.Wrapped, bound.WrappedBy, c.now()
		all[i] = p
	}
	return all, nil
}

func peppersOf(s machine.Reader) (all []record.Pepper, err error) {
	err = s.Scan(record.TablePeppers.Key(), record.KeyAfter(record.TablePeppers.Key()), func(_, value []byte) (bool, error) {
		var p record.Pepper
		err := record.Decode(value, &p)
		all = append(all, p)
		return err == nil, err
	})
	return all, err
}
