package settled

import (
	"sync"
	"sync/atomic"

	"veto/record"
)

// Key is what stands for a name: its two halves are spread evenly.
type Key struct{ A, B uint64 }

// Answer is what the disk said.
type Answer struct {
	// Denied tells whether a revocation denies what bears the name; the one that is kept longest
	// is in the bucket.
	Denied bool
	Bucket record.Bucket
}

const (
	shards = 64
	slots  = 256 // of each shard
)

// Answers may be used from anywhere at once.
type Answers struct{ shards [shards]shard }

type shard struct {
	mu sync.Mutex
	// changes counts the names that were forgotten. It rises with the lock held.
	changes atomic.Uint64
	slots   [slots]atomic.Pointer[kept]
}

type kept struct {
	key      Key
	issuedAt int64
	answer   Answer
}

// of is where the key belongs.
func (a *Answers) of(k Key) (*shard, *atomic.Pointer[kept]) {
	s := &a.shards[k.B%shards]
	return s, &s.slots[k.B/shards%slots]
}

// Find is what the disk said of the name and what was issued at the second, if that is known. It does
// not block and does not allocate.
func (a *Answers) Find(k Key, issuedAt int64) (Answer, bool) {
	_, slot := a.of(k)
	e := slot.Load()
	if e == nil || e.key != k || e.issuedAt != issuedAt {
		return Answer{}, false
	}
	return e.answer, true
}

// Question is one that the disk is about to be asked.
type Question struct {
	key      Key
	issuedAt int64
	changes  uint64
}

// Ask comes before the disk is asked.
func (a *Answers) Ask(k Key, issuedAt int64) Question {
	s, _ := a.of(k)
	return Question{k, issuedAt, s.changes.Load()}
}

// Keep keeps the disk's answer, unless there was a change since that it may not know of.
func (a *Answers) Keep(q Question, answer Answer) {
	s, slot := a.of(q.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes.Load() == q.changes {
		slot.Store(&kept{q.key, q.issuedAt, answer})
	}
}

// Forget comes after something of the name was changed on disk.
func (a *Answers) Forget(k Key) {
	s, slot := a.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes.Add(1)
	if e := slot.Load(); e != nil && e.key == k {
		slot.Store(nil)
	}
}

// ForgetAll comes after many names were changed on disk.
func (a *Answers) ForgetAll() {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		s.changes.Add(1)
		for n := range s.slots {
			s.slots[n].Store(nil)
		}
		s.mu.Unlock()
	}
}

// Bytes that all answers together may take of memory.
func Bytes() int {
	const pointer, entry = 8, 48
	return shards * slots * (pointer + entry)
}
