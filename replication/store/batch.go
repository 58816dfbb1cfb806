package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"veto/record"
)

// Batch is a change in the making: it reads its own writes, and nobody else sees them before
// Commit. It is used by one goroutine and ends with Commit or Abort.
type Batch struct {
	store    *Store
	batch    *pebble.Batch
	requests *requests
	// revocations are those that were put while nothing else was done with their table, mostly thousands: nobody reads them
	// before they are committed, so they are in no order yet. It is nil once they are with all the others.
	revocations *pebble.Batch
}

// keptForNext is how much of a batch's memory is used again: as much as what is applied at once mostly takes.
const keptForNext = 8 << 20

// Begin starts the one batch that may be open at a time.
func (s *Store) Begin() *Batch {
	db := s.live.db
	return &Batch{
		store: s, batch: db.NewIndexedBatch(), requests: s.live.requests,
		revocations: db.NewBatch(pebble.WithMaxRetainedSizeBytes(keptForNext)),
	}
}

const ofRevocations = byte(record.TableRevocations)

// settle puts revocations with all the others, before something else is done from the key to the other, where they may be.
func (b *Batch) settle(from, to []byte) error {
	if b.revocations == nil || len(from) > 0 && from[0] > ofRevocations || len(to) > 0 && to[0] < ofRevocations {
		return nil
	}
	apart := b.revocations
	b.revocations = nil
	err := b.batch.Apply(apart, nil)
	return errors.Join(err, apart.Close())
}

// whole is all of it.
func (b *Batch) whole() (*pebble.Batch, error) {
	if b.revocations == nil || b.revocations.Empty() {
		return b.batch, nil
	}
	return b.revocations, b.revocations.Apply(b.batch, nil)
}

// close gives back what it has.
func (b *Batch) close() error {
	err := b.batch.Close()
	if b.revocations != nil {
		err = errors.Join(err, b.revocations.Close())
	}
	return err
}

// Get reads a value, which is the caller's own.
func (b *Batch) Get(key []byte) ([]byte, bool, error) {
	if b.requests.lack(key) {
		return nil, false, nil
	}
	if err := b.settle(key, key); err != nil {
		return nil, false, fmt.Errorf("store: %w", err)
	}
	return get(b.batch, key)
}

// Scan goes through keys from (inclusive) to (exclusive) in order, until fn says no more. Key
// and value are valid until fn returns.
func (b *Batch) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	if err := b.settle(from, to); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return scan(b.batch, from, to, fn)
}

// Put sets a value. It keeps neither key nor value.
func (b *Batch) Put(key, value []byte) error {
	if b.revocations != nil && key[0] == ofRevocations {
		return b.revocations.Set(key, value, nil)
	}
	b.requests.note(key)
	return b.batch.Set(key, value, nil)
}

// Delete deletes a value, if there is one.
func (b *Batch) Delete(key []byte) error {
	err := b.settle(key, key)
	return errors.Join(err, b.batch.Delete(key, nil))
}

// DeleteRange deletes from (inclusive) to (exclusive).
func (b *Batch) DeleteRange(from, to []byte) error {
	err := b.settle(from, to)
	return errors.Join(err, b.batch.DeleteRange(from, to, nil))
}

// Commit makes the batch visible, and with it that the log is applied up to a. It is not
// durable before the next Sync.
func (b *Batch) Commit(a Applied) error {
	defer b.store.options.died()
	b.store.write.Lock()
	defer b.store.write.Unlock()
	value, err := record.Encode(a)
	if err == nil {
		err = b.batch.Set(appliedKey, value, nil)
	}
	if err == nil {
		var all *pebble.Batch
		if all, err = b.whole(); err == nil {
			err = all.Commit(pebble.NoSync)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store: %w", err), b.close())
	}
	b.store.mu.Lock()
	b.store.applied = a
	b.store.mu.Unlock()
	return b.close()
}

// Abort drops the batch.
func (b *Batch) Abort() error { return b.close() }

// Get reads a value of the live state, which is the caller's own.
func (s *Store) Get(key []byte) (value []byte, ok bool, err error) {
	d := s.use()
	defer func() { err = errors.Join(err, s.release(d)) }()
	if d.requests.lack(key) {
		return nil, false, nil
	}
	return get(d.db, key)
}

// Scan goes through the live state as Batch.Scan does, as it is when the call begins.
func (s *Store) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) (err error) {
	d := s.use()
	defer func() { err = errors.Join(err, s.release(d)) }()
	return scan(d.db, from, to, fn)
}

func get(r pebble.Reader, key []byte) ([]byte, bool, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("store: %w", err)
	}
	own := append([]byte{}, value...)
	return own, true, closer.Close()
}

func scan(r pebble.Reader, from, to []byte, fn func(key, value []byte) (bool, error)) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		more, err := fn(it.Key(), value)
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}
