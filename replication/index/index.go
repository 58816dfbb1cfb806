package index

import (
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"

	"veto/record"
	"veto/replication/keytable"
	"veto/replication/pepper"
)

// Config is what an Index needs. All of it must be given.
type Config struct {
	// OnIssuers is called by the writer whenever issuers or their keys change, before the
	// revision is raised, so that whoever keeps keys ready is in step; the slices are shared and
	// must not be changed.
	OnIssuers func([]record.Issuer, []record.SigningKeys)
	Disk      Disk
	// ExactMax is how many revocations of one class are held exactly in memory. When there are
	// more, the class has no table any more, until a filter is made for as few.
	ExactMax int
	// Ring are the keys that unwrap the peppers of API keys; nil if this node has none.
	Ring *pepper.Ring
	Log  *slog.Logger
}

// Disk is where revocations are kept for good. Its methods may be called from anywhere at once,
// and see whatever was given to the index before the call.
type Disk interface {
	// Revoked finds the first of the buckets in which a revocation denies what has the digest and
	// was issued at the second. It costs little where there is none.
	Revoked(d record.Digest, issuedAt int64, buckets []record.Bucket) (record.Bucket, bool, error)
	// Revocations goes through them in the order of their buckets, digests and cut-offs, from
	// (inclusive) on, until fn says no more.
	Revocations(from record.Entry, fn func(record.Entry) (more bool)) error
}

// Index is what this node answers from.
type Index struct {
	config   Config
	tables   atomic.Pointer[tables]
	overlay  *overlay
	revision *gate
	// used is a record.ClassSet: of which there are revocations, or were.
	used    *atomic.Uint32
	settled tally
	builder *builder
	// The writer's own, used again.
	added  []read
	shards sorter
}

// tables are swapped whole by Load.
type tables struct {
	used        *atomic.Uint32 // the index's
	exactMax    int
	cluster     string
	key         record.DigestKey
	revocations [record.Classes]atomic.Pointer[class] // nil until there is one of the class
	keys        *keytable.Table
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

func newTables(used *atomic.Uint32, exactMax int, cluster string, key record.DigestKey) *tables {
	t := &tables{
		used: used, exactMax: exactMax, cluster: cluster, key: key,
		keys:      keytable.New(),
		consumers: xsync.NewMap[string, *record.Consumer](),
		issuers:   map[string]record.Issuer{}, signingKeys: map[string]record.SigningKeys{},
	}
	t.trusted.Store(&trusted{})
	return t
}

// Open gives an empty index at revision zero. The caller closes it.
func Open(c Config) *Index {
	x := &Index{config: c, overlay: newOverlay(), revision: newGate(), used: new(atomic.Uint32)}
	x.tables.Store(newTables(x.used, c.ExactMax, "", record.DigestKey{}))
	x.builder = startBuilder(x)
	return x
}

// Close ends what runs beside the writer. The index still answers.
func (x *Index) Close() error {
	x.builder.close()
	return nil
}

// Load replaces everything by the records of the changes, built aside and swapped, and by the disk's
// revocations, which are looked up there until the builder has read them. It fails, and changes nothing, if
// the revision is lower than the one that readers have seen, or if the changes or the disk end with an error.
func (x *Index) Load(changes iter.Seq2[record.Change, error], cluster string, key record.DigestKey, rev record.Revision) error {
	if now := x.Revision(); rev < now {
		return fmt.Errorf("index: the state to load ends at revision %d, below %d, which readers have seen", rev, now)
	}
	t := newTables(x.used, x.config.ExactMax, cluster, key)
	if err := t.open(x.config.Disk); err != nil {
		return err
	}
	var delivered []record.Change
	for c, err := range changes {
		if err != nil {
			return err
		}
		switch r := c.Record.(type) {
		case *record.APIKey:
			t.keys.Fill(r)
		case *record.Delivered:
			delivered = append(delivered, c)
		default:
			x.apply(t, c)
		}
	}
	t.keys.Settle()
	t.publish()
	x.tables.Store(t)
	x.Unlock() // by keys that came meanwhile
	x.tell(t)
	x.pass(delivered, rev)
	x.builder.look(t)
	return nil
}

// Apply takes in the changes in their order, then raises the revision. Called by the writer.
func (x *Index) Apply(changes []record.Change, rev record.Revision) {
	t := x.tables.Load()
	issuers := false
	for rest := changes; len(rest) > 0; {
		if n := x.add(t, rest); n > 0 {
			rest = rest[n:]
			continue
		}
		issuers = x.apply(t, rest[0]) || issuers
		rest = rest[1:]
	}
	t.keys.Settle()
	if issuers {
		t.publish()
		x.tell(t)
	}
	x.pass(changes, rev)
	x.builder.look(t)
}

func (x *Index) tell(t *tables) {
	now := t.trusted.Load()
	x.config.OnIssuers(now.issuers, now.keys)
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

// add takes in the revocations of one class and bucket that the changes begin with, and tells how many there are: a
// stream brings thousands.
func (x *Index) add(t *tables, changes []record.Change) int {
	var b record.Bucket
	x.added = x.added[:0]
	for i := range changes {
		c := &changes[i]
		r, ok := c.Record.(*record.Revocation)
		if !ok || c.Gone || i > 0 && (c.Digest.Class() != changes[0].Digest.Class() || r.Bucket() != b) {
			break
		}
		b = r.Bucket()
		x.added = append(x.added, read{keyOf(&c.Digest), newRule(b, r.Cutoff())})
	}
	if len(x.added) > 0 {
		use(t.used, changes[0].Digest)
		t.class(changes[0].Digest.Class()).add(x.shards.sorted(x.added), b)
	}
	return len(x.added)
}

// apply takes in one change and tells whether it concerns issuers.
func (x *Index) apply(t *tables, c record.Change) (issuers bool) {
	switch r := c.Record.(type) {
	case *record.Revocation:
		t.lift(c.Digest, r.Bucket())
	case *record.Expiry:
		for c := range t.classes() {
			c.expire(r.Before)
		}
	case *record.APIKey:
		was, _ := c.Was.(*record.APIKey)
		t.keys.Set(r, was, c.Gone)
	case *record.Rehashed:
		t.keys.Rehash(r.Key, r.Was)
	case *record.Pepper:
		x.setPepper(t, r, c.Gone)
	case *record.DefinedRole:
		t.keys.Role(r, c.Gone)
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

// setPepper takes in a pepper. One that cannot be unwrapped is for an operator to do something about.
func (x *Index) setPepper(t *tables, p *record.Pepper, gone bool) {
	var err error
	t.keys.SetPeppers(func(all *pepper.Peppers) *pepper.Peppers {
		if gone {
			return all.Without(p.ID)
		}
		all, err = all.With(x.config.Ring, t.cluster, *p)
		return all
	})
	if err != nil {
		x.config.Log.Error("no API key can be checked on this node, and it is not ready; JWTs and revocations go on", "error", err)
	}
}

// Unlock tries peppers that could not be unwrapped by the keys that the ring has now. Others than the writer may call it.
func (x *Index) Unlock() {
	t := x.tables.Load()
	t.keys.SetPeppers(func(all *pepper.Peppers) *pepper.Peppers { return all.Unlocked(x.config.Ring, t.cluster) })
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

// class is the class of that number. Called by the writer.
func (t *tables) class(number record.Class) *class {
	c := t.revocations[number].Load()
	if c == nil {
		c = newClass(number, t.exactMax)
		t.revocations[number].Store(c)
	}
	return c
}

func (t *tables) lift(d record.Digest, b record.Bucket) {
	if c := t.revocations[d.Class()].Load(); c != nil {
		c.lift(keyOf(&d), b)
	}
}

// classes are those of which there are revocations, or were.
func (t *tables) classes() iter.Seq[*class] {
	return func(yield func(*class) bool) {
		for i := range t.revocations {
			if c := t.revocations[i].Load(); c != nil && !yield(c) {
				return
			}
		}
	}
}

// use notes that there is a revocation of the digest's class, before it can be found.
func use(used *atomic.Uint32, d record.Digest) {
	if !record.ClassSet(used.Load()).Has(d.Class()) {
		used.Or(uint32(record.ClassSet(0).With(d.Class())))
	}
}

// InUse are the classes of names of which there are revocations, or were since the node started.
func (x *Index) InUse() record.ClassSet { return record.ClassSet(x.used.Load()) }

// Keys holds the API keys. It is another one after Load.
func (x *Index) Keys() *keytable.Table { return x.tables.Load().keys }

// Consumer finds a consumer. The record is shared.
func (x *Index) Consumer(id string) (*record.Consumer, bool) {
	return x.tables.Load().consumers.Load(id)
}

// Issuers are all issuers and their keys, sorted by id; the slices are shared.
func (x *Index) Issuers() ([]record.Issuer, []record.SigningKeys) {
	now := x.tables.Load().trusted.Load()
	return now.issuers, now.keys
}
