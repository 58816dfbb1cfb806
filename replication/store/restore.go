package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/klauspost/compress/zstd"

	"veto/record"
)

// ErrBrokenStream says that a stream is not the whole of a state as it was written.
var ErrBrokenStream = errors.New("the stream of a state is damaged or not whole")

// ErrOlder says that a stream is of a state older than the one that is there, which never goes back. It
// came late: the node has caught up otherwise.
var ErrOlder = errors.New("the stream is of an older state than the one that is here")

const restoreBatch = 4 << 20

// Restore replaces the state by the stream's. Readers see the old state until the new one is
// whole, checked and durable. A stream that is refused changes nothing. It blocks for as long
// as the stream takes.
func (s *Store) Restore(r io.Reader) (Applied, error) {
	var n int
	if _, err := fmt.Sscanf(s.live.name, "db-%d", &n); err != nil {
		return Applied{}, s.corrupt(err)
	}
	name := fmt.Sprintf("db-%d", n+1)
	if err := s.options.FS.RemoveAll(filepath.Join(s.dir, name)); err != nil {
		return Applied{}, fmt.Errorf("store: %w", err)
	}
	d, err := s.openDatabase(name, false)
	if err != nil {
		return Applied{}, err
	}
	applied, err := s.fill(d.db, r)
	if here := s.Applied().Index; err == nil && applied.Index < here {
		err = fmt.Errorf("store: it ends at entry %d and this state at %d: %w", applied.Index, here, ErrOlder)
	}
	if err == nil {
		d.requests, err = requestsOf(d.db)
	}
	if err != nil {
		return Applied{}, errors.Join(err, s.discard(d))
	}
	if err := s.setCurrent(name); err != nil {
		// Which of the two the directory names is not known, so neither is removed.
		return Applied{}, errors.Join(err, d.db.Close())
	}
	return applied, s.swap(d, applied)
}

func (s *Store) swap(d *database, a Applied) error {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	old := s.live
	s.live, s.applied = d, a
	old.retired = true
	idle := old.users == 0
	s.mu.Unlock()
	if idle {
		return s.discard(old)
	}
	return nil
}

// fill reads the stream into an empty database and makes it durable.
func (s *Store) fill(db *pebble.DB, r io.Reader) (Applied, error) {
	defer s.options.died()
	batch := db.NewBatch()
	defer func() { _ = batch.Close() }() // nothing is lost: it is committed or not wanted
	a, err := ReadStream(r, func(key, value []byte) error {
		if err := batch.Set(key, value, nil); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if batch.Len() <= restoreBatch {
			return nil
		}
		if err := batch.Commit(pebble.NoSync); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		_ = batch.Close()
		batch = db.NewBatch()
		return nil
	})
	if err != nil {
		return a, err
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return a, fmt.Errorf("store: %w", err)
	}
	return a, db.LogData(nil, pebble.Sync)
}

// ReadStream goes through the records of a stream, in the order of their keys, and returns what of the
// log they hold. What fn was given counts only if there is no error: ErrBrokenStream, that of fn, or
// one of zstd's. Key and value are fn's own. It keeps a bounded part of the stream in memory.
func ReadStream(r io.Reader, fn func(key, value []byte) error) (Applied, error) {
	var a Applied
	magic := make([]byte, len(streamMagic))
	if _, err := io.ReadFull(r, magic); err != nil || !bytes.Equal(magic, []byte(streamMagic)) {
		return a, ErrBrokenStream
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderMaxWindow(32<<20))
	if err != nil {
		return a, fmt.Errorf("store: %w", err)
	}
	defer z.Close()
	in := &sumReader{r: bufio.NewReaderSize(z, 64<<10), sum: crc64.New(crc64.MakeTable(crc64.ECMA))}
	header, err := in.field(maxStreamVal)
	if err != nil || record.Decode(header, &a) != nil {
		return a, ErrBrokenStream
	}
	var stored Applied
	err = in.records(func(key, value []byte) error {
		if bytes.Equal(key, appliedKey) && record.Decode(value, &stored) != nil {
			return ErrBrokenStream
		}
		return fn(key, value)
	})
	if err == nil && (stored.Index != a.Index || stored.Term != a.Term) {
		err = ErrBrokenStream
	}
	return a, err
}

// records reads all records up to the end, which is checked.
func (s *sumReader) records(fn func(key, value []byte) error) error {
	var count uint64
	var last []byte
	for {
		key, err := s.field(maxStreamKey)
		if err != nil {
			return ErrBrokenStream
		}
		if len(key) == 0 {
			return s.end(count)
		}
		value, err := s.field(maxStreamVal)
		if err != nil || bytes.Compare(key, last) <= 0 {
			return ErrBrokenStream
		}
		if err := fn(key, value); err != nil {
			return err
		}
		count, last = count+1, key
	}
}

// sumReader reads fields and sums them up.
type sumReader struct {
	r   *bufio.Reader
	sum hash.Hash64
}

func (s *sumReader) read(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.r, b); err != nil {
		return nil, err
	}
	_, _ = s.sum.Write(b)
	return b, nil
}

func (s *sumReader) field(limit int) ([]byte, error) {
	head, err := s.read(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head)
	if uint64(n) > uint64(limit) {
		return nil, ErrBrokenStream
	}
	return s.read(int(n))
}

// end checks the count, the sum, and that nothing follows.
func (s *sumReader) end(count uint64) error {
	b, err := s.read(8)
	if err != nil || binary.BigEndian.Uint64(b) != count {
		return ErrBrokenStream
	}
	want := s.sum.Sum64()
	if b, err = s.read(8); err != nil || binary.BigEndian.Uint64(b) != want {
		return ErrBrokenStream
	}
	if _, err := s.r.ReadByte(); !errors.Is(err, io.EOF) {
		return ErrBrokenStream
	}
	return nil
}
