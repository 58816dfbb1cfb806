package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/klauspost/compress/zstd"

	"veto/record"
)

// The stream of a state: magic, then within one zstd frame the applied header and the keys
// and values in order, each with its length in front, then an empty key, the count of keys,
// and the CRC-64 of everything before it. It names no version of Pebble's files, so nodes of
// different versions understand each other.
const (
	streamMagic  = "VETO\x00state\x01"
	maxStreamKey = 8 << 10
	maxStreamVal = 8 << 20
)

// Snapshot is the state as it was at one moment. It holds disk space until it is closed.
type Snapshot struct {
	store    *Store
	database *database
	snapshot *pebble.Snapshot
	applied  Applied
}

// Snapshot takes one; data and applied index agree exactly. The caller closes it soon.
func (s *Store) Snapshot() (*Snapshot, error) {
	d := s.use()
	n := &Snapshot{store: s, database: d, snapshot: d.db.NewSnapshot()}
	var err error
	if n.applied, err = readApplied(n.snapshot); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Applied is what the snapshot holds.
func (n *Snapshot) Applied() Applied { return n.applied }

// Get reads a value, which is the caller's own.
func (n *Snapshot) Get(key []byte) ([]byte, bool, error) { return get(n.snapshot, key) }

// Scan goes through keys as Batch.Scan does.
func (n *Snapshot) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	return scan(n.snapshot, from, to, fn)
}

// Close lets the space go.
func (n *Snapshot) Close() error {
	return errors.Join(n.snapshot.Close(), n.store.release(n.database))
}

// WriteTo writes the stream and returns how many bytes it is.
func (n *Snapshot) WriteTo(w io.Writer) (int64, error) {
	counted := &counter{w: w}
	if _, err := io.WriteString(counted, streamMagic); err != nil {
		return counted.n, err
	}
	z, err := zstd.NewWriter(counted, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return counted.n, err
	}
	out := &summed{w: bufio.NewWriterSize(z, 64<<10), sum: crc64.New(crc64.MakeTable(crc64.ECMA))}
	err = n.write(out)
	if err == nil {
		err = out.w.Flush()
	}
	return counted.n, errors.Join(err, z.Close())
}

func (n *Snapshot) write(out *summed) error {
	header, err := record.Encode(n.applied)
	if err != nil {
		return err
	}
	if err := out.field(header); err != nil {
		return err
	}
	var count uint64
	err = scan(n.snapshot, nil, nil, func(key, value []byte) (bool, error) {
		if len(key) > maxStreamKey || len(value) > maxStreamVal {
			return false, fmt.Errorf("store: a record of %d bytes is too long for the stream", len(value))
		}
		count++
		err := out.field(key)
		if err == nil {
			err = out.field(value)
		}
		return err == nil, err
	})
	if err == nil {
		err = out.field(nil)
	}
	if err == nil {
		err = out.number(count)
	}
	if err == nil {
		err = out.number(out.sum.Sum64())
	}
	return err
}

// summed writes fields and sums them up.
type summed struct {
	w   *bufio.Writer
	sum hash.Hash64
}

func (s *summed) number(v uint64) error {
	b := binary.BigEndian.AppendUint64(nil, v)
	_, _ = s.sum.Write(b) // a hash never fails
	_, err := s.w.Write(b)
	return err
}

func (s *summed) field(b []byte) error {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	_, _ = s.sum.Write(head)
	_, _ = s.sum.Write(b)
	if _, err := s.w.Write(head); err != nil {
		return err
	}
	_, err := s.w.Write(b)
	return err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
