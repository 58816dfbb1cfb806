package replication

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"

	"veto/record"
	"veto/replication/consensus"
	"veto/replication/feed"
	"veto/replication/index"
	"veto/replication/machine"
	"veto/replication/store"
)

// applier is the state machine: store, index and view in step. Its methods are called by one
// goroutine, Raft's, and never two at once.
type applier struct {
	store   *store.Store
	machine machine.Machine
	index   *index.Index
	horizon *Horizon
	view    *View
	// announce is given what each committed command changed, after it is in force here.
	announce func(changes []record.Change, told feed.Told, r record.Revision)
	// delivered is called when entries that an outbox brought were applied, and restored when
	// the node was given a state that has them. They must not block.
	delivered, restored func(record.Delivered, record.Revision)
	// founded is called when the cluster is founded or is known to be. It must not block.
	founded func()
}

// maxBatch is from how many bytes of commands on what follows goes in another batch.
const maxBatch = 2 << 20

// applied is what one entry did, to be shown once it is committed.
type applied struct {
	revision record.Revision
	changes  []record.Change
	told     feed.Told
	found    *record.Found
}

// Apply commits the entries' effects in one batch with the applied index (P3), then raises
// the index (P5), then announces.
func (a *applier) Apply(entries []consensus.Entry) ([]record.Result, error) {
	all := make([]record.Result, 0, len(entries))
	for len(entries) > 0 {
		n := atOnce(entries)
		results, done, last, err := commit(&a.machine, a.store, entries[:n])
		if err != nil {
			return nil, err
		}
		if err := a.show(done, last); err != nil {
			return nil, err
		}
		all, entries = append(all, results...), entries[n:]
	}
	return all, nil
}

// atOnce is how many of the entries go in one batch: what they change is in memory many times over until it is shown.
func atOnce(entries []consensus.Entry) (n int) {
	for size := 0; n < len(entries) && size < maxBatch; n++ {
		size += len(entries[n].Command)
	}
	return n
}

// Replay applies entries of a log to the state of a node that is stopped, and returns what came of each. What
// the state has already, and what is for Raft alone, changes nothing.
func Replay(s *store.Store, entries []consensus.Entry) ([]record.Result, error) {
	theirs := slices.DeleteFunc(slices.Clone(entries), func(e consensus.Entry) bool { return e.Command == nil && e.Servers == nil })
	results, _, _, err := commit(new(machine.Machine), s, theirs)
	return results, err
}

// commit applies the entries to the store, in one batch.
func commit(m *machine.Machine, s *store.Store, entries []consensus.Entry) (results []record.Result, done []applied, last record.Revision, err error) {
	at := s.Applied()
	batch := s.Begin()
	results = make([]record.Result, len(entries))
	for i, e := range entries {
		if e.Index <= at.Index {
			results[i].Revision = record.Revision(e.Index)
			continue
		}
		at.Index, at.Term = e.Index, e.Term
		if e.Servers != nil {
			at.Configuration, at.ConfigurationIndex = e.Servers, e.Index
			if err := enlist(batch, e); err != nil {
				return nil, nil, 0, errors.Join(err, batch.Abort())
			}
			continue
		}
		effect, result, err := applyOne(m, batch, e)
		if err != nil {
			return nil, nil, 0, errors.Join(err, batch.Abort())
		}
		results[i] = result
		done = append(done, effect)
	}
	return results, done, record.Revision(at.Index), batch.Commit(at)
}

// enlist has the audit trail say who the nodes are.
func enlist(batch *store.Batch, e consensus.Entry) error {
	nodes := make([]record.NodeStatus, len(e.Members))
	for i, m := range e.Members {
		nodes[i] = record.NodeStatus{ID: m.ID, Role: record.NodeReplica, Address: m.Address}
		if m.Voter {
			nodes[i].Role = record.NodeVoter
		}
	}
	return machine.Enlist(batch, nodes, e.At, record.Revision(e.Index))
}

// applyOne applies a command to the batch.
func applyOne(m *machine.Machine, batch *store.Batch, e consensus.Entry) (applied, record.Result, error) {
	effect := applied{revision: record.Revision(e.Index)}
	c, err := record.DecodeCommand(e.Command)
	var unknown *record.UnknownCommandError
	if errors.As(err, &unknown) && unknown.Skippable {
		return effect, record.Result{Revision: effect.revision}, nil
	}
	if err != nil {
		return effect, record.Result{}, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	result, changes, err := m.Apply(batch, c, effect.revision)
	if err != nil {
		return effect, result, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	if f, ok := c.Body.(record.Found); ok && result.Rejection == nil && !result.Repeated {
		effect.found = &f
	}
	effect.changes = changes
	effect.told, err = feed.Write(batch, c, changes, effect.revision)
	if e, ok := c.Body.(record.Expire); ok && err == nil && result.Rejection == nil {
		err = feed.Expire(batch, e.Before)
	}
	return effect, result, err
}

// show makes committed effects visible, in their order.
func (a *applier) show(done []applied, last record.Revision) error {
	for _, d := range done {
		if d.found != nil {
			if err := a.found(*d.found, d.revision); err != nil {
				return err
			}
		}
		a.index.Apply(d.changes, d.revision)
		if d.found != nil {
			a.founded()
		}
		for _, c := range d.changes {
			switch r := c.Record.(type) {
			case *record.Delivered:
				a.delivered(*r, d.revision)
			case *record.RaiseLevel:
				a.view.level.Store(uint32(r.To))
			}
		}
		a.announce(d.changes, d.told, d.revision)
	}
	a.index.Apply(nil, last)
	a.horizon.reached(last)
	return nil
}

func (a *applier) found(f record.Found, r record.Revision) error {
	a.view.level.Store(uint32(f.Level))
	a.view.cluster.Store(&f)
	a.horizon.founded(f.ClusterID)
	return a.index.Load(func(func(record.Change, error) bool) {}, f.ClusterID, f.DigestKey, r-1)
}

// Restore takes in the whole state of another node.
func (a *applier) Restore(r io.Reader) error {
	if _, err := a.store.Restore(r); err != nil {
		return err
	}
	a.machine = machine.Machine{} // it remembers of the state that was
	if err := a.load(); err != nil {
		return err
	}
	outboxes, _, err := list[record.Delivered](a.store, record.TableOutboxes, "", maxOutboxes, nil)
	for _, d := range outboxes {
		a.restored(d, record.Revision(a.store.Applied().Index))
	}
	return err
}

// maxOutboxes is more than the data directories that a cluster ever had.
const maxOutboxes = 1 << 20

// load builds the index from the store.
func (a *applier) load() error {
	at := a.store.Applied()
	found, ok, err := machine.Cluster(a.store)
	if err != nil || !ok {
		return err
	}
	level, err := machine.Level(a.store)
	if err != nil {
		return err
	}
	if level > record.LevelNewest {
		return fmt.Errorf("the cluster's state is of level %d, and this version of veto knows %d: start a newer one", level, record.LevelNewest)
	}
	a.view.level.Store(uint32(level))
	if err := a.index.Load(a.changes(), found.ClusterID, found.DigestKey, record.Revision(at.Index)); err != nil {
		return err
	}
	missing, err := machine.Missing(a.store)
	if err != nil {
		return err
	}
	a.horizon.Misses(missing)
	a.view.cluster.Store(&found)
	a.horizon.founded(found.ClusterID)
	a.horizon.reached(record.Revision(at.Index))
	a.founded()
	return nil
}

// changes goes through all records of the store that the index holds, but for revocations, whose
// keys it reads itself. The record of an API key may be another one once the next was asked for.
func (a *applier) changes() iter.Seq2[record.Change, error] {
	return func(yield func(record.Change, error) bool) {
		for _, t := range []record.Table{
			record.TableIssuers, record.TableSigningKeys, record.TableConsumers,
			record.TablePeppers, record.TableRoles, record.TableKeys, record.TableOutboxes,
		} {
			more, err := a.ahead(t, yield)
			if more && err != nil {
				yield(record.Change{}, fmt.Errorf("table %c: %w", t, err))
			}
			if !more || err != nil {
				return
			}
		}
	}
}

// aheadBy is how many records are read, on another processor, while as many are taken in.
const aheadBy = 1024

// ahead gives the records of the table, and tells whether more are wanted.
func (a *applier) ahead(t record.Table, yield func(record.Change, error) bool) (more bool, err error) {
	read, enough := make(chan []record.Record), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(read)
		// What was sent last is done with when more can be sent: so the records of the time before are free.
		some, others, n := make([]record.Record, aheadBy), make([]record.Record, aheadBy), 0
		send := func() bool {
			select {
			case read <- some[:n]:
				some, others, n = others, some, 0
				return true
			case <-enough:
				return false
			}
		}
		err = a.store.Scan(t.Key(), record.KeyAfter(t.Key()), func(_, value []byte) (bool, error) {
			r, err := decodeRecord(t, value, some[n])
			if err != nil {
				return false, err
			}
			some[n] = r
			n++
			return n < aheadBy || send(), nil
		})
		if err == nil {
			send()
		}
	})
	more = true
	for some := range read {
		for i := 0; i < len(some) && more; i++ {
			more = yield(record.Change{Record: some[i]}, nil)
		}
		if !more {
			close(enough)
			break
		}
	}
	reader.Wait()
	return more, err
}

// decodeRecord decodes what is in the table: an API key into the one that is free, if there is one, as nobody keeps
// it, and as there are millions.
func decodeRecord(t record.Table, value []byte, free record.Record) (record.Record, error) {
	var r record.Record
	switch t {
	case record.TableIssuers:
		r = new(record.Issuer)
	case record.TableSigningKeys:
		r = new(record.SigningKeys)
	case record.TableConsumers:
		r = new(record.Consumer)
	case record.TablePeppers:
		r = new(record.Pepper)
	case record.TableRoles:
		r = new(record.DefinedRole)
	case record.TableKeys:
		k, ok := free.(*record.APIKey)
		if !ok {
			k = new(record.APIKey)
		}
		return k, record.DecodeKey(string(value), k)
	case record.TableOutboxes:
		r = new(record.Delivered)
	default:
		return nil, fmt.Errorf("table %c holds no records for the index", t)
	}
	return r, record.Decode(value, r)
}
