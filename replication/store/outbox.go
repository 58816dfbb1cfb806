package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"veto/record"
)

// Outbox is the part of a node's disk that no other node has: what it took and the log may not
// have yet. It is a database of its own, since the state is replaced as a whole by Restore.
// Append and Remove may be called from anywhere.
type Outbox struct {
	db      *pebble.DB
	options Options
	// Its own id, and that of the first one in the directory.
	id, first record.OutboxID
	// Below it all was removed.
	from atomic.Uint64
	// Where the first number that was never given is, and what the items' keys begin with.
	next, items []byte
}

// The keys of the outbox: its id, the first number that was never given, and the items. These are of the first
// outbox in a directory, for good: versions that know no other go on with it when they are put back. Of those
// that followed, the latter two have the id in them; the one that takes is named as the current one, if it is not
// the first, and former ones are listed until they are forgotten.
var (
	outboxID      = []byte("id")
	outboxNext    = []byte("next")
	outboxItems   = []byte("t")
	outboxCurrent = []byte("current")
	outboxFormer  = []byte("f/")
	laterNext     = []byte("n/")
	laterItems    = []byte("u/")
)

func (b *Outbox) item(number uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(b.items), number)
}

// named is the outbox with the id in the same directory.
func (b *Outbox) named(id record.OutboxID) *Outbox {
	one := &Outbox{db: b.db, options: b.options, id: id, first: b.first, next: outboxNext, items: outboxItems}
	if id != b.first {
		one.next, one.items = slices.Concat(laterNext, id[:]), slices.Concat(laterItems, id[:])
	}
	return one
}

// Fresh makes an outbox with a name of its own in the same directory, which is the one that is opened from then
// on; this one is a former one. It must be the one that was opened.
func (b *Outbox) Fresh(random io.Reader) (*Outbox, error) {
	defer b.options.died()
	var id record.OutboxID
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	batch := b.db.NewBatch()
	err := batch.Set(outboxCurrent, id[:], nil)
	if b.id != b.first {
		err = errors.Join(err, batch.Set(slices.Concat(outboxFormer, b.id[:]), nil, nil))
	}
	if err == nil {
		err = batch.Commit(pebble.Sync)
	}
	if err = errors.Join(err, batch.Close()); err != nil {
		return nil, fmt.Errorf("store: the outbox: %w", err)
	}
	return b.named(id), nil
}

// Former are the outboxes that the directory had before, and that are not forgotten. The first one is always
// among them: an older version may have gone on with it meanwhile.
func (b *Outbox) Former() (all []*Outbox, err error) {
	if b.id != b.first {
		all = append(all, b.named(b.first))
	}
	err = scan(b.db, outboxFormer, record.KeyAfter(outboxFormer), func(key, _ []byte) (bool, error) {
		all = append(all, b.named(record.OutboxID(bytes.TrimPrefix(key, outboxFormer))))
		return true, nil
	})
	return all, err
}

// Forget forgets a former outbox of which nothing is left to deliver; of the first one its name and its numbers
// stay.
func (b *Outbox) Forget() error {
	defer b.options.died()
	batch := b.db.NewBatch()
	err := batch.DeleteRange(b.items, record.KeyAfter(b.items), nil)
	if b.id != b.first {
		err = errors.Join(err, batch.Delete(b.next, nil), batch.Delete(slices.Concat(outboxFormer, b.id[:]), nil))
	}
	if err == nil {
		err = batch.Commit(pebble.NoSync)
	}
	if err = errors.Join(err, batch.Close()); err != nil {
		return fmt.Errorf("store: the outbox: %w", err)
	}
	return nil
}

// Pending reads all that this outbox and former ones hold behind what passed says that the log has of each.
func (b *Outbox) Pending(passed func(record.OutboxID) (uint64, error)) ([]record.Taken, error) {
	all, err := b.Former()
	if err != nil {
		return nil, err
	}
	var pending []record.Taken
	for _, one := range append(all, b) {
		through, err := passed(one.id)
		if err != nil {
			return nil, err
		}
		items, _, err := one.Load(through)
		if err != nil {
			return nil, err
		}
		pending = append(pending, items...)
	}
	return pending, nil
}

// OpenOutbox opens the outbox in the directory, or makes one with a name of its own. The caller
// closes it.
func OpenOutbox(dir string, random io.Reader, o Options) (*Outbox, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	defer o.died()
	b := &Outbox{options: o}
	if err := o.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	var err error
	at := &opening{logger: logger{o}}
	b.db, err = pebble.Open(filepath.Clean(dir), &pebble.Options{
		FS: logs{o.FS, at}, FormatMajorVersion: formatVersion, MemTableSize: 4 << 20, Logger: at.logger, EventListener: at.listener(),
	})
	if NoRoom(err) {
		return nil, fmt.Errorf("the outbox in %s cannot be opened: %w; make room on its disk", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the outbox in %s is damaged (%w); it holds only what was taken and is not in the log: move it away, and revoke that again", dir, err)
	}
	at.done.Store(true)
	if err := b.name(random); err != nil {
		return nil, errors.Join(err, b.db.Close())
	}
	return b.named(b.id), nil
}

// name reads or makes the name of the first outbox, and reads that of the current one.
func (b *Outbox) name(random io.Reader) error {
	first, ok, err := get(b.db, outboxID)
	if err != nil {
		return err
	}
	if !ok {
		if _, err := io.ReadFull(random, b.first[:]); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		b.id = b.first
		return b.db.Set(outboxID, b.first[:], pebble.Sync)
	}
	copy(b.first[:], first)
	b.id = b.first
	current, ok, err := get(b.db, outboxCurrent)
	if ok {
		copy(b.id[:], current)
	}
	return err
}

// ID is the outbox's name, for good.
func (b *Outbox) ID() record.OutboxID { return b.id }

// Load reads what is numbered above passed, and the first number that was never given. What is
// there has no gaps.
func (b *Outbox) Load(passed uint64) (items []record.Taken, next uint64, err error) {
	next = passed + 1
	value, ok, err := get(b.db, b.next)
	if err != nil {
		return nil, 0, err
	}
	if ok {
		next = max(next, binary.BigEndian.Uint64(value))
	}
	err = scan(b.db, b.item(passed+1), record.KeyAfter(b.items), func(_, value []byte) (bool, error) {
		var t record.Taken
		err := record.Decode(value, &t)
		items = append(items, t)
		return err == nil, err
	})
	return items, next, err
}

// Append keeps the items, numbered from first on. They are durable when it returns.
func (b *Outbox) Append(first uint64, items []record.Taken) error {
	defer b.options.died()
	batch := b.db.NewBatch()
	err := batch.Set(b.next, binary.BigEndian.AppendUint64(nil, first+uint64(len(items))), nil)
	for i := 0; i < len(items) && err == nil; i++ {
		var value []byte
		if value, err = record.Encode(&items[i]); err == nil {
			err = batch.Set(b.item(first+uint64(i)), value, nil)
		}
	}
	if err == nil {
		err = batch.Commit(pebble.Sync)
	}
	if err = errors.Join(err, batch.Close()); err != nil {
		return fmt.Errorf("store: the outbox: %w", err)
	}
	return nil
}

// Remove forgets what is numbered through and below. Of that, what it has forgotten before is left out: Pebble makes of
// ranges that lie over each other as many pieces as the square of how many they are.
func (b *Outbox) Remove(through uint64) error {
	defer b.options.died()
	from := b.from.Load()
	if through < from {
		return nil
	}
	if err := b.db.DeleteRange(b.item(from), b.item(through+1), pebble.NoSync); err != nil {
		return fmt.Errorf("store: the outbox: %w", err)
	}
	for from <= through && !b.from.CompareAndSwap(from, through+1) {
		from = b.from.Load()
	}
	return nil
}

// Close closes the database, with all outboxes of the directory.
func (b *Outbox) Close() error { return b.db.Close() }
