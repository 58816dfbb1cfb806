package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"

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
	id      record.OutboxID
}

// The keys of the outbox: its id, the first number that was never given, and the items.
var (
	outboxID    = []byte("id")
	outboxNext  = []byte("next")
	outboxItems = []byte("t")
)

func outboxItem(number uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(nil), outboxItems...), number)
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
	b.db, err = pebble.Open(filepath.Clean(dir), &pebble.Options{
		FS: o.FS, FormatMajorVersion: formatVersion, MemTableSize: 4 << 20, Logger: logger{o},
	})
	if err != nil {
		return nil, fmt.Errorf("the outbox in %s is damaged (%w); it holds only what was taken and is not in the log: move it away, and revoke that again", dir, err)
	}
	if err := b.name(random); err != nil {
		return nil, errors.Join(err, b.db.Close())
	}
	return b, nil
}

func (b *Outbox) name(random io.Reader) error {
	value, ok, err := get(b.db, outboxID)
	if err != nil {
		return err
	}
	if ok {
		copy(b.id[:], value)
		return nil
	}
	if _, err := io.ReadFull(random, b.id[:]); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return b.db.Set(outboxID, b.id[:], pebble.Sync)
}

// ID is the outbox's name, for good.
func (b *Outbox) ID() record.OutboxID { return b.id }

// Load reads what is numbered above passed, and the first number that was never given. What is
// there has no gaps.
func (b *Outbox) Load(passed uint64) (items []record.Taken, next uint64, err error) {
	next = passed + 1
	value, ok, err := get(b.db, outboxNext)
	if err != nil {
		return nil, 0, err
	}
	if ok {
		next = max(next, binary.BigEndian.Uint64(value))
	}
	err = scan(b.db, outboxItem(passed+1), record.KeyAfter(outboxItems), func(_, value []byte) (bool, error) {
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
	err := batch.Set(outboxNext, binary.BigEndian.AppendUint64(nil, first+uint64(len(items))), nil)
	for i := 0; i < len(items) && err == nil; i++ {
		var value []byte
		if value, err = record.Encode(&items[i]); err == nil {
			err = batch.Set(outboxItem(first+uint64(i)), value, nil)
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

// Remove forgets what is numbered through and below.
func (b *Outbox) Remove(through uint64) error {
	defer b.options.died()
	if err := b.db.DeleteRange(outboxItem(0), outboxItem(through+1), pebble.NoSync); err != nil {
		return fmt.Errorf("store: the outbox: %w", err)
	}
	return nil
}

// Close closes the database.
func (b *Outbox) Close() error { return b.db.Close() }
