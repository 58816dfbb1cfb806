package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"veto/record"
	"veto/replication/bloom"
)

const (
	// A day's first filter has room for so many requests, and each that follows for four times as many, to
	// the largest: after that, requests of the day are looked for on disk.
	firstRequests = 1 << 16
	mostRequests  = 1 << 24 // 32 MiB; 43 MiB with those before
	// mostDays are those that have filters: no older request is asked for.
	mostDays = 4
)

// requests knows of most requests that were never made that they were not. Each change of the state looks for its
// request under the keys of two days, and on disk that would be the larger part of what it costs. It knows of the
// days of which it has seen all requests: those that had none when the database was opened.
type requests struct {
	days atomic.Pointer[requestDays]
}

// requestDays never change: there are others when there is a day more.
type requestDays struct {
	all  []*requestDay // the newest first, mostDays of them
	from record.Bucket // of those before nothing is known
}

// newRequestDays keeps the newest of the days.
func newRequestDays(all []*requestDay, from record.Bucket) *requestDays {
	slices.SortFunc(all, func(a, b *requestDay) int { return cmp.Compare(b.bucket, a.bucket) })
	if len(all) > mostDays {
		from = max(from, all[mostDays].bucket+1)
		all = slices.Clone(all[:mostDays])
	}
	return &requestDays{all, from}
}

// requestDay are the requests of one bucket; one goroutine adds.
type requestDay struct {
	bucket  record.Bucket
	filters atomic.Pointer[[]*bloom.Filter] // nil if nothing is known of the day
	left    int                             // room in the last
}

// requestsOf looks of which days the database has requests.
func requestsOf(db *pebble.DB) (_ *requests, err error) {
	from := record.TableRequests.Key()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: record.KeyAfter(from)})
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var days []*requestDay
	for ok := it.First(); ok; {
		d := &requestDay{bucket: bucketOf(it.Key())}
		days = append(days, d)
		ok = d.bucket != record.Forever && it.SeekGE(record.TableRequests.Key((d.bucket + 1).Bytes()))
	}
	r := &requests{}
	r.days.Store(newRequestDays(days, 0))
	return r, it.Error()
}

const requestKeyBytes = 1 + 4 + 32

func isRequest(key []byte) bool {
	return len(key) == requestKeyBytes && record.Table(key[0]) == record.TableRequests
}

func bucketOf(key []byte) record.Bucket { return record.Bucket(binary.BigEndian.Uint32(key[1:])) }

// bloomKey is of the sum in the key.
func bloomKey(key []byte) bloom.Key {
	return bloom.Key{A: binary.BigEndian.Uint64(key[5:]), B: binary.BigEndian.Uint64(key[13:])}
}

// lack tells that the key is one of a request, and not there. It may be asked from anywhere.
func (r *requests) lack(key []byte) bool {
	if !isRequest(key) {
		return false
	}
	days, b := r.days.Load(), bucketOf(key)
	for _, d := range days.all {
		if d.bucket == b {
			return d.lacks(bloomKey(key))
		}
	}
	return b >= days.from
}

func (d *requestDay) lacks(k bloom.Key) bool {
	known := d.filters.Load()
	if known == nil {
		return false
	}
	return !slices.ContainsFunc(*known, func(f *bloom.Filter) bool { return f.Has(k) })
}

// note is called before the key is written, by the one who writes.
func (r *requests) note(key []byte) {
	if !isRequest(key) {
		return
	}
	if d := r.day(bucketOf(key)); d != nil {
		d.add(bloomKey(key))
	}
}

// day finds the bucket's, or makes one, as nothing was there; nil if nothing is known of it.
func (r *requests) day(b record.Bucket) *requestDay {
	days := r.days.Load()
	if b < days.from {
		return nil
	}
	for _, d := range days.all {
		if d.bucket == b {
			return d
		}
	}
	d := &requestDay{bucket: b}
	d.filters.Store(new([]*bloom.Filter))
	r.days.Store(newRequestDays(append(slices.Clone(days.all), d), days.from))
	return d
}

func (d *requestDay) add(k bloom.Key) {
	known := d.filters.Load()
	if known == nil {
		return
	}
	if d.left == 0 {
		if d.left = firstRequests << (2 * len(*known)); d.left > mostRequests {
			d.filters.Store(nil)
			return
		}
		more := append(slices.Clone(*known), bloom.New(d.left))
		d.filters.Store(&more)
		known = &more
	}
	if (*known)[len(*known)-1].Add(k) {
		d.left--
	}
}
