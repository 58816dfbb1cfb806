package index

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"veto/record"
	"veto/replication/settled"
)

// class holds the revocations of one class of names: in a filter, which rules most of what is asked
// out at once, and behind it in a table or, when they are too many, on disk alone.
type class struct {
	number   record.Class
	exactMax int
	shown    atomic.Pointer[shown]
	// inUse are the buckets in which there may be revocations, latest first. One is here before
	// anything of it is found.
	inUse atomic.Pointer[[]record.Bucket]

	// mu is held by the writer while it changes anything, and by the builder when it begins or
	// ends. Readers do not need it.
	mu      sync.Mutex
	buckets map[record.Bucket]bool
	next    *filter // being built; what is added goes into it, too
}

// shown is what readers look in.
type shown struct {
	filter *filter
	exact  *table // nil if the disk settles what the filter does not rule out
	// answers are the disk's; nil with a table. They stay the same for as long as there is none.
	answers *settled.Answers
}

// newClass has room for about so many revocations.
func newClass(number record.Class, live, exactMax int) *class {
	c := &class{number: number, exactMax: exactMax, buckets: map[record.Bucket]bool{}}
	s := &shown{}
	if live <= exactMax {
		s.exact = newTable(live)
	} else {
		s.answers = new(settled.Answers)
	}
	s.filter = newFilter(s.room(live))
	c.shown.Store(s)
	c.inUse.Store(new([]record.Bucket))
	return c
}

// room is how many a new filter should have room for, when there are so many. Beside a table a
// filter is small, and has more.
func (s *shown) room(live int) int {
	if s.exact != nil {
		return 2 * live
	}
	return live + live/spare
}

// use notes that there are revocations in the bucket. Called with the lock held.
func (c *class) use(b record.Bucket) {
	if !c.buckets[b] {
		c.buckets[b] = true
		c.publish()
	}
}

func (c *class) publish() {
	all := slices.SortedFunc(maps.Keys(c.buckets), func(a, b record.Bucket) int { return cmp.Compare(b, a) })
	c.inUse.Store(&all)
}

func (c *class) add(k key, cutoff int64, b record.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.use(b)
	s := c.shown.Load()
	if s.exact != nil {
		s.exact.add(k, newRule(b, cutoff)) // before the filter: what says maybe must be settled right
	} else {
		s.answers.Forget(settledKey(k))
	}
	c.eachFilter(func(f *filter) {
		if f.add(k) {
			f.tally(b, 1)
		}
	})
	c.bound()
}

// bound drops the table when it has become too big: all that is in it is on disk. Called with the
// lock held.
func (c *class) bound() {
	if s := c.shown.Load(); s.exact != nil && s.exact.count.Load() > int64(c.exactMax) {
		c.shown.Store(&shown{filter: s.filter, answers: new(settled.Answers)})
	}
}

// lift takes one rule of the key away, after it has gone from the disk; with it go all others,
// in the same command.
func (c *class) lift(k key, b record.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eachFilter(func(f *filter) { f.forget(b, 1) })
	if s := c.shown.Load(); s.exact != nil {
		s.exact.remove(k)
	} else {
		s.answers.Forget(settledKey(k))
	}
}

// expire takes away what is kept in buckets below.
func (c *class) expire(below record.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.buckets, func(b record.Bucket, _ bool) bool { return b < below })
	c.publish()
	c.eachFilter(func(f *filter) { f.expire(below) })
	if s := c.shown.Load(); s.exact != nil {
		s.exact.expire(below)
	} else {
		s.answers.ForgetAll()
	}
}

// eachFilter goes through the filter that is shown and the one that is being built.
func (c *class) eachFilter(do func(*filter)) {
	do(c.shown.Load().filter)
	if c.next != nil {
		do(c.next)
	}
}

// due tells whether a filter should be built, and is not.
func (c *class) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next == nil && c.shown.Load().filter.worn()
}

// begin starts the building of a filter: from now on it is given what is added, and what was added
// before is on disk, in the buckets.
func (c *class) begin() (*filter, []record.Bucket) {
	f := newFilter(c.shown.Load().room(c.size()))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = f
	return f, *c.inUse.Load()
}

// counted adds to the tally of the filter that is being built.
func (c *class) counted(f *filter, b record.Bucket, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.tally(b, n)
	if !c.buckets[b] {
		f.forget(b, n) // it has expired meanwhile
	}
}

// end shows the filter in place of what was shown, or drops it.
func (c *class) end(f *filter, complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if complete {
		now := *c.shown.Load()
		now.filter = f
		c.shown.Store(&now)
	}
	c.next = nil
}

// size is about how many revocations there are.
func (c *class) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.shown.Load()
	if s.exact != nil {
		return int(s.exact.count.Load())
	}
	return s.filter.kept
}

// bytes is what the class takes of memory.
func (c *class) bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if s := c.shown.Load(); s.exact != nil {
		n = s.exact.bytes()
	} else {
		n = settled.Bytes()
	}
	c.eachFilter(func(f *filter) { n += f.bytes() })
	return n
}
