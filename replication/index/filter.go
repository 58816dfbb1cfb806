package index

import (
	"veto/record"
	"veto/replication/bloom"
)

const fewestKeys = 64

// filter holds the digests of one class. Anyone may add and anyone may ask, at the same time. When it
// holds more than its room it says maybe more often, and nothing else happens.
type filter struct {
	bits bloom.Filter
	room int // of digests
	// unread tells that what there is has not been read yet, so that the filter says maybe to everything.
	unread bool

	// The tally is guarded by the class's lock. It counts digests as the filter tells them apart.
	held map[record.Bucket]int
	kept int // in all buckets of held
	gone int // expired or lifted since
}

func newFilter(room int) *filter {
	room = max(room, fewestKeys)
	return &filter{bits: *bloom.New(room), room: room, held: map[record.Bucket]int{}}
}

// unread is the filter of what is on disk until one is made.
func unread() *filter {
	return &filter{bits: *bloom.Full(), unread: true, held: map[record.Bucket]int{}}
}

// has says no, or maybe.
func (f *filter) has(k key) bool { return f.bits.Has(bloom.Key{A: k.a, B: k.b}) }

// add tells whether the filter would have said no before.
func (f *filter) add(k key) (isNew bool) { return f.bits.Add(bloom.Key{A: k.a, B: k.b}) }

// fetch reads where add will write.
func (f *filter) fetch(k key) { f.bits.Fetch(bloom.Key{A: k.a, B: k.b}) }

// tally counts digests that were added for a bucket.
func (f *filter) tally(b record.Bucket, n int) {
	f.held[b] += n
	f.kept += n
}

// forget counts digests of a bucket that are not on disk any more.
func (f *filter) forget(b record.Bucket, n int) {
	n = min(n, f.held[b])
	f.held[b] -= n
	f.kept -= n
	f.gone += n
}

func (f *filter) expire(below record.Bucket) {
	for b, n := range f.held {
		if b < below {
			f.forget(b, n)
			delete(f.held, b)
		}
	}
}

// worn tells whether the filter should be made anew: it was never made, it holds more than it has room
// for, or a good part of what it holds is gone.
func (f *filter) worn() bool {
	all := f.kept + f.gone
	return f.unread || all > f.room || f.gone > fewestKeys && f.gone*10 > all*3
}

func (f *filter) bytes() int { return f.bits.Bytes() }
