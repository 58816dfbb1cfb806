package index

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"veto/record"
)

// class holds the revocations of one class of names: in a table, exactly, or, when they are many,
// in a filter, of which the disk settles what is not a no.
type class struct {
	number record.Class
	shown  atomic.Pointer[shown]
	// inUse are the buckets in which there may be revocations, latest first. One is here before
	// anything of it is found.
	inUse atomic.Pointer[[]record.Bucket]

	// mu is held by the writer while it changes anything, and by the builder when it begins or
	// ends. Readers do not need it.
	mu      sync.Mutex
	buckets map[record.Bucket]bool
	next    *filter // being built; what is added goes into it, too
}

// shown is what readers look in: one of both.
type shown struct {
	exact  *table
	filter *filter
}

func newClass(number record.Class, s shown) *class {
	c := &class{number: number, buckets: map[record.Bucket]bool{}}
	c.shown.Store(&s)
	c.inUse.Store(new([]record.Bucket))
	return c
}

// use notes that there are revocations in the bucket. Called with the lock held.
func (c *class) use(b record.Bucket) {
	if !c.buckets[b] {
		c.buckets[b] = true
		c.publish()
	}
}

func (c *class) publish() {
	all := slices.SortedFunc(maps.Keys(c.buckets), func(a, b record.Bucket) int {
		if a > b {
			return -1
		}
		return 1
	})
	c.inUse.Store(&all)
}

func (c *class) add(k key, cutoff int64, b record.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.use(b)
	c.eachFilter(func(f *filter) {
		if f.add(k) {
			f.tally(b, 1)
		}
	})
	if s := c.shown.Load(); s.exact != nil {
		s.exact.add(k, newRule(b, cutoff))
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
	}
}

// eachFilter goes through the filter that is shown and the one that is being built.
func (c *class) eachFilter(do func(*filter)) {
	if s := c.shown.Load(); s.filter != nil {
		do(s.filter)
	}
	if c.next != nil {
		do(c.next)
	}
}

// due tells whether a filter should be built, and is not.
func (c *class) due(exactMax int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next == nil && c.worn(exactMax)
}

// worn tells whether the table has become too big, or the filter is worn. Called with the lock
// held.
func (c *class) worn(exactMax int) bool {
	s := c.shown.Load()
	if s.exact != nil {
		return s.exact.count.Load() > int64(exactMax)
	}
	return s.filter.worn()
}

// begin starts the building of a filter: from now on it is given what is added, and what was added
// before is on disk, in the buckets.
func (c *class) begin() (*filter, []record.Bucket) {
	live := c.size()
	f := newFilter(live + live/spare)
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
		c.shown.Store(&shown{filter: f})
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
	}
	c.eachFilter(func(f *filter) { n += f.bytes() })
	return n
}
