package index

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"

	"veto/record"
)

// Index is what this node answers from.
type Index struct {
	onIssuers func([]record.Issuer, []record.SigningKeys)
	tables    atomic.Pointer[tables]
	overlay   *overlay
	revision  *gate
	// used is a record.ClassSet: of which there are revocations, or were.
	used *atomic.Uint32
}

// tables are swapped whole by Load.
type tables struct {
	used        *atomic.Uint32 // the index's
	cluster     string
	key         record.DigestKey
	revocations *table
	keys        *xsync.Map[record.KeyHash, *record.APIKey]
	consumers   *xsync.Map[string, *record.Consumer]
	trusted     atomic.Pointer[trusted]

	// The writer's own, from which trusted is made.
	issuers     map[string]record.Issuer
	signingKeys map[string]record.SigningKeys
}

// trusted are the issuers and their keys, sorted by id; never changed once published.
type trusted struct {
	issuers []record.Issuer
	keys    []record.SigningKeys
}

func newTables(used *atomic.Uint32, cluster string, key record.DigestKey) *tables {
	t := &tables{
		used: used, cluster: cluster, key: key, revocations: newTable(),
		keys:      xsync.NewMap[record.KeyHash, *record.APIKey](),
		consumers: xsync.NewMap[string, *record.Consumer](),
		issuers:   map[string]record.Issuer{}, signingKeys: map[string]record.SigningKeys{},
	}
	t.trusted.Store(&trusted{})
	return t
}

// New is an empty index at revision zero. OnIssuers is called by the writer whenever issuers
// or their keys change, before the revision is raised, so that whoever keeps keys ready is in
// step; the slices are shared and must not be changed.
func New(onIssuers func([]record.Issuer, []record.SigningKeys)) *Index {
	x := &Index{onIssuers: onIssuers, overlay: newOverlay(), revision: newGate(), used: new(atomic.Uint32)}
	x.tables.Store(newTables(x.used, "", record.DigestKey{}))
	return x
}

// Load replaces everything by the records of the changes, built aside and swapped. It fails,
// and changes nothing, if the revision is lower than the one that readers have seen, or if the
// changes end with an error.
func (x *Index) Load(changes iter.Seq2[record.Change, error], cluster string, key record.DigestKey, rev record.Revision) error {
	if now := x.Revision(); rev < now {
		return fmt.Errorf("index: the state to load ends at revision %d, below %d, which readers have seen", rev, now)
	}
	t := newTables(x.used, cluster, key)
	var delivered []record.Change
	for c, err := range changes {
		if err != nil {
			return err
		}
		if _, ok := c.Record.(*record.Delivered); ok {
			delivered = append(delivered, c)
		}
		t.apply(c)
	}
	t.publish()
	x.tables.Store(t)
	x.tell(t)
	x.pass(delivered, rev)
	return nil
}

// Apply takes in the changes in their order, then raises the revision. Called by the writer.
func (x *Index) Apply(changes []record.Change, rev record.Revision) {
	t := x.tables.Load()
	issuers := false
	for _, c := range changes {
		issuers = t.apply(c) || issuers
	}
	if issuers {
		t.publish()
		x.tell(t)
	}
	x.pass(changes, rev)
}

func (x *Index) tell(t *tables) {
	now := t.trusted.Load()
	x.onIssuers(now.issuers, now.keys)
}

// pass raises the revision and drops from the overlay what the tables hold now.
func (x *Index) pass(changes []record.Change, rev record.Revision) {
	if rev > x.Revision() {
		x.revision.raise(rev)
		x.overlay.pass(source{}, uint64(rev))
	}
	for _, c := range changes {
		if d, ok := c.Record.(*record.Delivered); ok {
			x.overlay.pass(d.Outbox, d.Through)
		}
	}
}

// apply takes in one change and tells whether it concerns issuers.
func (t *tables) apply(c record.Change) (issuers bool) {
	switch r := c.Record.(type) {
	case *record.Revocation:
		d := t.key.Digest(r.Name)
		if c.Gone {
			t.revocations.remove(d)
		} else {
			use(t.used, d)
			t.revocations.add(d, r.Cutoff(), r.Bucket())
		}
	case *record.Expiry:
		t.revocations.expire(r.Before)
	case *record.APIKey:
		set(t.keys, r.Hash, r, c.Gone)
	case *record.Consumer:
		set(t.consumers, r.ID, r, c.Gone)
	case *record.Issuer:
		if c.Gone {
			delete(t.issuers, r.ID)
			delete(t.signingKeys, r.ID)
		} else {
			t.issuers[r.ID] = *r
		}
		return true
	case *record.SigningKeys:
		t.signingKeys[r.IssuerID] = *r
		return true
	}
	return false
}

func set[K comparable, V any](m *xsync.Map[K, V], k K, v V, gone bool) {
	if gone {
		m.Delete(k)
		return
	}
	m.Store(k, v)
}

func (t *tables) publish() {
	now := &trusted{}
	for _, id := range slices.Sorted(maps.Keys(t.issuers)) {
		now.issuers = append(now.issuers, t.issuers[id])
		if k, ok := t.signingKeys[id]; ok {
			now.keys = append(now.keys, k)
		}
	}
	t.trusted.Store(now)
}

// use notes that there is a revocation of the digest's class, before it can be found.
func use(used *atomic.Uint32, d record.Digest) {
	if !record.ClassSet(used.Load()).Has(d.Class()) {
		used.Or(uint32(record.ClassSet(0).With(d.Class())))
	}
}

// Combinations are those of which there are revocations, or were since the node started.
func (x *Index) Combinations() record.ClassSet {
	return record.ClassSet(x.used.Load()).Combinations()
}

// Hit is a revocation that denies.
type Hit struct {
	// Bucket in which the store keeps it.
	Bucket record.Bucket
	// Notice is the revocation itself while only a notice told of it; it is shared. Node is
	// whose outbox it is in, and Taken where; empty if the log has it.
	Notice *record.Revocation
	Node   string
	Taken  record.Accepted
}

// Denied tells whether something with the digest, issued at the given second, is denied. The
// overlay comes first: what it drops is in the tables before, so nothing is missed in between.
func (x *Index) Denied(d record.Digest, issuedAt int64) bool {
	if x.overlay.count.Load() != 0 {
		if e, ok := x.overlay.find(d); ok && issuedAt <= e.cutoff {
			return true
		}
	}
	cutoff, _, ok := x.tables.Load().revocations.find(d)
	return ok && issuedAt <= cutoff
}

// Revoked is Denied, and tells what denies.
func (x *Index) Revoked(d record.Digest, issuedAt int64) (Hit, bool) {
	if e, ok := x.overlay.find(d); ok && issuedAt <= e.cutoff {
		return e.hit(), true
	}
	if cutoff, bucket, ok := x.tables.Load().revocations.find(d); ok && issuedAt <= cutoff {
		return Hit{Bucket: bucket}, true
	}
	return Hit{}, false
}

// APIKey finds a key by its hash. The record is shared.
func (x *Index) APIKey(h record.KeyHash) (*record.APIKey, bool) { return x.tables.Load().keys.Load(h) }

// Consumer finds a consumer. The record is shared.
func (x *Index) Consumer(id string) (*record.Consumer, bool) {
	return x.tables.Load().consumers.Load(id)
}

// Issuers are all issuers and their keys, sorted by id; the slices are shared.
func (x *Index) Issuers() ([]record.Issuer, []record.SigningKeys) {
	now := x.tables.Load().trusted.Load()
	return now.issuers, now.keys
}

// Stats are numbers for people who watch.
type Stats struct {
	Revocations, Keys, Consumers, Issuers int
	Notices                               int
	NoticesDropped                        uint64
}

// Stats may be called from anywhere.
func (x *Index) Stats() Stats {
	t := x.tables.Load()
	return Stats{
		Revocations: int(t.revocations.count.Load()),
		Keys:        t.keys.Size(), Consumers: t.consumers.Size(), Issuers: len(t.trusted.Load().issuers),
		Notices: int(x.overlay.count.Load()), NoticesDropped: x.overlay.dropped.Load(),
	}
}
