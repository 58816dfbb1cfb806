package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"veto/record"
)

// comparer orders keys by their bytes. Within a revocation's key it tells the name, up to the end
// of the digest, from the cut-off behind it: so the files' filters hold names, and a look-up that
// does not know the cut-off need not read a file that has nothing of the name. It is on disk and
// never changes: another one needs another name, and every database written anew.
func comparer() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "veto.state.1"
	c.Split = func(key []byte) int {
		if len(key) > nameLength && key[0] == byte(record.TableRevocations) {
			return nameLength
		}
		return len(key)
	}
	return &c
}

// nameLength is that of table, bucket and digest.
const nameLength = 1 + 4 + len(record.Digest{})

// Revoked finds the first of the buckets in which a revocation denies what has the digest and was
// issued at the second. Where nothing has the name, the filters of the files mostly tell, and no
// more than these is read.
func (s *Store) Revoked(digest record.Digest, issuedAt int64, buckets []record.Bucket) (b record.Bucket, found bool, err error) {
	d := s.use()
	defer func() { err = errors.Join(err, s.release(d)) }()
	it, err := d.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return 0, false, fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	name := record.TableRevocations.Key(record.Bucket(0).Bytes(), digest[:])
	for _, b := range buckets {
		binary.BigEndian.PutUint32(name[1:], uint32(b))
		for ok := it.SeekPrefixGE(name); ok; ok = it.Next() {
			if _, _, cutoff, ok := record.ParseRevocationKey(it.Key()); ok && issuedAt <= cutoff {
				return b, true, nil
			}
		}
		if err := it.Error(); err != nil {
			return 0, false, fmt.Errorf("store: %w", err)
		}
	}
	return 0, false, nil
}

// Revocations goes through what the keys of revocations say, in their order, from (inclusive) on,
// until fn says no more. The records themselves it does not read.
func (s *Store) Revocations(from record.Entry, fn func(record.Entry) (more bool)) (err error) {
	d := s.use()
	defer func() { err = errors.Join(err, s.release(d)) }()
	it, err := d.db.NewIter(&pebble.IterOptions{
		LowerBound: record.RevocationKey(from.Bucket, from.Digest, from.Cutoff),
		UpperBound: record.KeyAfter(record.TableRevocations.Key()),
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		b, digest, cutoff, ok := record.ParseRevocationKey(it.Key())
		if !ok {
			return fmt.Errorf("store: the key %x is not a revocation's", it.Key())
		}
		if !fn(record.Entry{Bucket: b, Digest: digest, Cutoff: cutoff}) {
			return nil
		}
	}
	return it.Error()
}
