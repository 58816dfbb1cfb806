package machine

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/record/trail"
)

// State is what commands are applied to: a sorted map. A writer sees its own writes. Values
// given to fn are valid until it returns; those returned by Get belong to the caller.
type State interface {
	Reader
	Put(key, value []byte) error
	Delete(key []byte) error
	// DeleteRange deletes from (inclusive) to (exclusive).
	DeleteRange(from, to []byte) error
}

// Reader is the reading half of a State.
type Reader interface {
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan goes through keys from (inclusive) to (exclusive) in order, until fn says no more.
	Scan(from, to []byte, fn func(key, value []byte) (more bool, err error)) error
}

var clusterKey = record.TableMeta.Key([]byte("cluster"))

// Cluster reads what founded the cluster; false if nothing did yet.
func Cluster(s Reader) (record.Found, bool, error) { return get[record.Found](s, clusterKey) }

var levelKey = record.TableMeta.Key([]byte("level"))

// Level reads the level in force.
func Level(s Reader) (record.Level, error) {
	l, _, err := get[record.Level](s, levelKey)
	return max(l, record.LevelFirst), err
}

// Machine applies the commands of a log to a state. It remembers what revocations ask of the state again and again, which
// only other commands change. The zero Machine remembers nothing yet.
type Machine struct {
	mu      sync.Mutex
	cluster *record.Found
	issuers map[string]*record.Issuer // by iss, mostIssuers of them
}

const mostIssuers = 4096

// forget is called when a command may have changed what is remembered.
func (m *Machine) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cluster, m.issuers = nil, nil
}

// change is one command being applied.
type change struct {
	machine  *Machine
	state    State
	by       string        // who asked
	cluster  *record.Found // nil while it is being founded, or until it was read
	stamp    time.Time
	foremost time.Time // stamp, or the foremost clock of the voters if that is ahead
	revision record.Revision
	changes  []record.Change
	ref      string   // id of the record that the command is about
	taken    []string // ids of API keys that the command itself revokes
	audit    audit    // what goes into the audit trail
	// through is how far the outbox of a Deliver, or the stream of an Import, had come before, missing
	// what was refused of that stream by then, and refused what is not done of this.
	through uint64
	missing []uint64
	refused []record.Refusal
	kept    []record.Kept // of the revocations of a Revoke or a Deliver
	drawn   []limit.Drawn // of a DrawQuota
	peppers peppers
}

// Apply does what the command asks for. The error is the state's and ends the node; a command
// that was understood and not done is Result.Rejection. The changes are in the order in which
// they were made. Commands are applied one after the other.
func (m *Machine) Apply(s State, c record.Command, rev record.Revision) (record.Result, []record.Change, error) {
	switch c.Body.Kind() {
	case record.KindRevoke, record.KindDeliver, record.KindImport:
	default:
		defer m.forget()
	}
	result := record.Result{Revision: rev}
	cluster, err := m.founded(s, c.Body)
	if err != nil {
		return refused(result, err)
	}
	parts := c.Body.Kind() == record.KindImport // its key names a stream, of which it is a part
	if !parts {
		remembered, ok, err := recall(s, c)
		if err != nil {
			return refused(result, err)
		}
		if ok {
			return remembered, nil, nil
		}
	}
	x := &change{machine: m, state: s, cluster: cluster, by: c.By, stamp: c.Stamp, foremost: c.Stamp.Add(c.Ahead), revision: rev}
	if err := x.asks(c.By); err != nil {
		return result, nil, err
	}
	if err := x.meets(c); err != nil {
		return refused(result, err)
	}
	if err := x.do(c); err != nil {
		return refused(result, err)
	}
	result.Ref, result.Before, result.Refused, result.Drawn = x.ref, x.through, x.refused, x.drawn
	result.Missing = x.missing
	if len(x.changes) == 0 && !x.audit.any() {
		return result, nil, nil
	}
	err = errors.Join(x.enter(c), x.sealAudit(), x.sealPeppers())
	if err != nil {
		return result, nil, err
	}
	if !parts {
		err = remember(s, c, result)
	}
	result.Kept = x.kept
	return result, x.changes, err
}

// refused tells a rejection from an error of the state.
func refused(result record.Result, err error) (record.Result, []record.Change, error) {
	var rejection *record.Rejection
	if errors.As(err, &rejection) {
		result.Rejection = rejection
		return result, nil, nil
	}
	return result, nil, err
}

func (x *change) do(c record.Command) error {
	switch b := c.Body.(type) {
	case record.Found:
		return x.found(b)
	case record.PutIssuer:
		return x.putIssuer(b)
	case record.DeleteIssuer:
		return x.deleteIssuer(b)
	case record.PutSigningKeys:
		return x.putSigningKeys(b)
	case record.PutConsumer:
		return x.putConsumer(b)
	case record.UpdateConsumer:
		return x.updateConsumer(b)
	case record.DeleteConsumer:
		return x.deleteConsumer(b)
	case record.CreateKey:
		return x.createKey(b)
	case record.UpdateKey:
		return x.updateKey(b)
	case record.RollKey:
		return x.rollKey(b)
	case record.MarkLeaked:
		return x.markLeaked(b)
	case record.KeysUsed:
		return x.keysUsed(b)
	case record.DeleteKey:
		return x.deleteKey(b)
	case record.PutPepper:
		return x.putPepper(b)
	case record.RehashKeys:
		return x.rehashKeys(b)
	case record.PutRole:
		return x.putRole(b)
	case record.DeleteRole:
		return x.deleteRole(b)
	case record.OpenSession:
		return x.openSession(b)
	case record.EndSession:
		return x.endSession(b)
	case record.ManageKey:
		return x.manageKey(b, c)
	case record.Revoke:
		return x.revoke(b)
	case record.Lift:
		return x.lift(b)
	case record.Expire:
		return x.expire(b)
	case record.Deliver:
		return x.deliver(b)
	case record.Import:
		return x.imported(b, c)
	case record.DrawQuota:
		return x.drawQuota(b)
	case record.ChainAudit:
		return x.chainAudit()
	case record.CutAudit:
		return x.cutAudit(b)
	case record.RaiseLevel:
		return x.raiseLevel(b)
	}
	return fmt.Errorf("command %s is decoded but not applied by this version", c.Body.Kind())
}

// founded reads the cluster, and refuses every command but Found before it is founded.
func (m *Machine) founded(s State, body record.Body) (*record.Found, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cluster != nil && body.Kind() != record.KindFound {
		return m.cluster, nil
	}
	c, ok, err := Cluster(s)
	switch founding := body.Kind() == record.KindFound; {
	case err != nil:
		return nil, err
	case founding && ok:
		return nil, record.Conflict("the cluster is founded already")
	case founding:
		return nil, nil
	case !ok:
		return nil, record.Conflict("the cluster is not founded yet")
	}
	m.cluster = &c
	return &c, nil
}

// digestKey reads the cluster's.
func (x *change) digestKey() (record.DigestKey, error) {
	if x.cluster == nil {
		c, _, err := Cluster(x.state)
		if err != nil {
			return record.DigestKey{}, err
		}
		x.cluster = &c
	}
	return x.cluster.DigestKey, nil
}

func (x *change) found(b record.Found) error {
	if err := b.Admin.Check(); err != nil {
		return err
	}
	if err := put(x.state, clusterKey, record.Found{ClusterID: b.ClusterID, DigestKey: b.DigestKey}); err != nil {
		return err
	}
	if b.ChainAudit {
		x.audit.begin()
	}
	if b.Level > record.LevelFirst {
		if err := put(x.state, levelKey, b.Level); err != nil {
			return err
		}
	}
	x.ref = b.ClusterID
	return x.createKey(record.CreateKey{Key: b.Admin})
}

// Refounding makes the state of one cluster that of another, which goes on from it alone: for a node that is
// stopped, and no command.
type Refounding struct {
	// Action is what is done, for the audit trail, and Node where.
	Action, Node string
	ClusterID    string
	// At is the time, and Revision that at which the new cluster begins: behind all that the old one may
	// have given, so that none means two things. After is the last that the state has of the old one.
	At              time.Time
	After, Revision record.Revision
	// Peppers are those of the state, wrapped for the new cluster.
	Peppers []record.Pepper
	// Servers are the new cluster's.
	Servers []record.NodeStatus
}

var missingKey = record.TableMeta.Key([]byte("missing"))

// Missing reads which revisions clusters gave before this one of which the state knows nothing.
func Missing(s Reader) ([]record.Span, error) {
	m, _, err := get[[]record.Span](s, missingKey)
	return m, err
}

// Refound does so. Whatever has a digest by the cluster's key, and every API key, stays as it is. The audit
// trail goes on with an entry that says what was done, where it is chained.
func Refound(s State, r Refounding) error {
	was, ok, err := Cluster(s)
	if err != nil || !ok {
		return errors.Join(err, record.Conflict("the state is of no cluster"))
	}
	if err := put(s, clusterKey, record.Found{ClusterID: r.ClusterID, DigestKey: was.DigestKey}); err != nil {
		return err
	}
	missing, err := Missing(s)
	if err != nil {
		return err
	}
	if err := put(s, missingKey, append(missing, record.Span{After: r.After, Before: r.Revision})); err != nil {
		return err
	}
	for _, p := range r.Peppers {
		if err := put(s, pepperKey(p.ID), p); err != nil {
			return err
		}
	}
	x := &change{state: s, stamp: r.At, revision: r.Revision}
	x.audit.record("cluster", r.ClusterID)
	x.audit.change(trail.Change{Of: r.ClusterID, Field: "id", From: was.ClusterID, To: r.ClusterID})
	for _, n := range r.Servers {
		x.audit.record("node", n.ID)
		x.audit.change(trail.Change{Of: n.ID, Field: "role", To: string(n.Role)})
		x.audit.change(trail.Change{Of: n.ID, Field: "address", To: clip(n.Address)})
	}
	return errors.Join(x.entry(r.Action, "", record.Origin{Node: r.Node, Way: record.WayCluster}), x.sealAudit())
}

// raiseLevel also begins the audit trail's chain, in a cluster that is older than it: all nodes know it.
func (x *change) raiseLevel(b record.RaiseLevel) error {
	if b.To > record.LevelNewest {
		return fmt.Errorf("the cluster was raised to level %d, of which this version of veto knows %d: start a newer one", b.To, record.LevelNewest)
	}
	at, err := Level(x.state)
	if err != nil || b.To <= at {
		return err
	}
	if err := put(x.state, levelKey, b.To); err != nil {
		return err
	}
	if err := x.chainAudit(); err != nil {
		return err
	}
	x.ref = strconv.Itoa(int(b.To))
	x.changed(&b, false, x.ref)
	return nil
}

// changed notes a record that the command wrote or took away.
func (x *change) changed(r record.Record, gone bool, id string) {
	x.changes = append(x.changes, record.Change{Record: r, Gone: gone})
	x.audit.record(kindOf(r), id)
}

func get[T any](s Reader, key []byte) (T, bool, error) {
	b, ok, err := s.Get(key)
	if err != nil || !ok {
		return *new(T), false, err
	}
	var v T // on the heap, as it is decoded into: only where there is something
	if err := record.Decode(b, &v); err != nil {
		return v, false, fmt.Errorf("the record at %q cannot be read: %w", key, err)
	}
	return v, true, nil
}

// put refuses what has no byte form: the checks let none pass, and if one did, it must not stop
// every node for good.
func put(s State, key []byte, v any) error {
	b, err := record.Encode(v)
	if err != nil {
		return record.Invalid("a value in it cannot be stored")
	}
	return s.Put(key, b)
}
