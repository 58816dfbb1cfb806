package index

import (
	"encoding/binary"
	"sync/atomic"

	"veto/record"
)

const (
	shards        = 256
	firstSlots    = 8
	fullNumerator = 7 // of 10: a shard grows when it is fuller
)

// table is the set of revoked digests. One goroutine writes; readers need no lock, since a
// slot's first word is written last, words are atomic, and a shard is replaced whole when it
// grows or loses entries.
type table struct {
	shards [shards]shard
	count  atomic.Int64 // of digests
}

type shard struct {
	slots atomic.Pointer[[]slot]
	used  int // owned by the writer
}

// slot is one digest; free while a is zero.
type slot struct {
	a, b   atomic.Uint64
	cutoff atomic.Int64
	bucket atomic.Uint32
}

func newTable() *table {
	t := new(table)
	for i := range t.shards {
		slots := make([]slot, firstSlots)
		t.shards[i].slots.Store(&slots)
	}
	return t
}

// words are a digest as two numbers, of which the first is never zero.
func words(d record.Digest) (a, b uint64) {
	a, b = binary.LittleEndian.Uint64(d[1:9]), binary.LittleEndian.Uint64(d[9:])
	if a == 0 {
		a = 1
	}
	return a, b
}

func (t *table) of(d record.Digest) *shard { return &t.shards[d[16]] }

// find returns the digest's cut-off and bucket.
func (t *table) find(d record.Digest) (cutoff int64, bucket record.Bucket, ok bool) {
	a, b := words(d)
	slots := *t.of(d).slots.Load()
	mask := uint64(len(slots) - 1)
	for i := a & mask; ; i = (i + 1) & mask {
		s := &slots[i]
		switch s.a.Load() {
		case 0:
			return 0, 0, false
		case a:
			if s.b.Load() == b {
				return s.cutoff.Load(), record.Bucket(s.bucket.Load()), true
			}
		}
	}
}

// add makes sure that the digest has at least the cut-off and the bucket.
func (t *table) add(d record.Digest, cutoff int64, bucket record.Bucket) {
	sh := t.of(d)
	if slots := *sh.slots.Load(); sh.used*10 >= len(slots)*fullNumerator {
		sh.rebuild(len(slots)*2, func(*slot) bool { return true })
	}
	a, b := words(d)
	if place(*sh.slots.Load(), a, b, cutoff, bucket) {
		sh.used++
		t.count.Add(1)
	}
}

func place(slots []slot, a, b uint64, cutoff int64, bucket record.Bucket) (isNew bool) {
	mask := uint64(len(slots) - 1)
	for i := a & mask; ; i = (i + 1) & mask {
		s := &slots[i]
		switch at := s.a.Load(); {
		case at == 0:
			s.b.Store(b)
			s.cutoff.Store(cutoff)
			s.bucket.Store(uint32(bucket))
			s.a.Store(a) // last: now readers see it
			return true
		case at == a && s.b.Load() == b:
			s.cutoff.Store(max(s.cutoff.Load(), cutoff))
			s.bucket.Store(max(s.bucket.Load(), uint32(bucket)))
			return false
		}
	}
}

// rebuild replaces the shard's slots by a copy of those to keep.
func (sh *shard) rebuild(size int, keep func(*slot) bool) {
	old, slots := *sh.slots.Load(), make([]slot, size)
	sh.used = 0
	for i := range old {
		s := &old[i]
		if a := s.a.Load(); a != 0 && keep(s) {
			place(slots, a, s.b.Load(), s.cutoff.Load(), record.Bucket(s.bucket.Load()))
			sh.used++
		}
	}
	sh.slots.Store(&slots)
}

// remove takes the digest out.
func (t *table) remove(d record.Digest) {
	a, b := words(d)
	sh := t.of(d)
	before := sh.used
	sh.rebuild(len(*sh.slots.Load()), func(s *slot) bool { return s.a.Load() != a || s.b.Load() != b })
	t.count.Add(int64(sh.used - before))
}

// expire takes out all that is kept in buckets below.
func (t *table) expire(below record.Bucket) {
	for i := range t.shards {
		sh := &t.shards[i]
		size, before := len(*sh.slots.Load()), sh.used
		sh.rebuild(size, func(s *slot) bool { return record.Bucket(s.bucket.Load()) >= below })
		t.count.Add(int64(sh.used - before))
		for size > firstSlots && sh.used*4 < size {
			size /= 2
		}
		if size < len(*sh.slots.Load()) {
			sh.rebuild(size, func(*slot) bool { return true })
		}
	}
}
