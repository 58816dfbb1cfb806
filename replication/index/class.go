package index

import (
	"cmp"
	"iter"
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

	// mu is held by whoever changes anything, the writer or the builder. Readers do not need it.
	mu      sync.Mutex
	buckets map[record.Bucket]bool
	next    *shown // being built; what is added goes into it, too
	// lifted are the keys that were lifted since next was begun, and below expired all have: what the
	// builder has read of them from the disk may be older.
	lifted  map[key]bool
	expired record.Bucket
}

// shown is what readers look in.
type shown struct {
	filter *filter
	exact  *table // nil if the disk settles what the filter does not rule out
	// answers are the disk's; nil with a table. They stay the same for as long as there is none.
	answers *settled.Answers
}

// newClass is one of which there was nothing yet.
func newClass(number record.Class, exactMax int) *class {
	return classOf(number, exactMax, &shown{filter: newFilter(0), exact: newTable(0)})
}

// classOnDisk is one of which nothing was read yet, so that the disk settles what is asked, until the
// builder has read it.
func classOnDisk(number record.Class, exactMax int) *class {
	return classOf(number, exactMax, &shown{filter: unread(), answers: new(settled.Answers)})
}

func classOf(number record.Class, exactMax int, s *shown) *class {
	c := &class{number: number, exactMax: exactMax, buckets: map[record.Bucket]bool{}}
	c.shown.Store(s)
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
	all := slices.SortedFunc(maps.Keys(c.buckets), func(a, b record.Bucket) int { return cmp.Compare(b, a) })
	c.inUse.Store(&all)
}

// add takes in what the bucket has more.
func (c *class) add(more []read, b record.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.use(b)
	for s := range c.each() {
		added := 0
		for some := range slices.Chunk(more, fetchKeys) {
			s.fetch(some)
			for _, r := range some {
				added += s.add(r.key, r.rule)
			}
		}
		s.filter.tally(b, added)
	}
	c.bound()
}

// fetchKeys are so many as have room in the cache nearest to the processor.
const fetchKeys = 64

// fetch reads the memory that add will write to, and does nothing with it: of reads that do not depend on each other a
// processor waits for many at once, of such writes for one after the other.
func (s *shown) fetch(some []read) {
	for i := range some {
		if s.exact != nil {
			s.exact.fetch(some[i].key)
		}
		s.filter.fetch(some[i].key)
	}
}

// add takes in one rule of the key, and gives how many names there are more by the filter, none or one.
func (s *shown) add(k key, r rule) int {
	if s.exact != nil {
		s.exact.add(k, r) // before the filter: what says maybe must be settled right
	} else if s.answers != nil {
		s.answers.Forget(settledKey(k))
	}
	if s.filter.add(k) {
		return 1
	}
	return 0
}

// lift takes all rules of the key away, of which one is in the bucket.
func (s *shown) lift(k key, b record.Bucket) {
	s.filter.forget(b, 1)
	if s.exact != nil {
		s.exact.remove(k)
	} else if s.answers != nil {
		s.answers.Forget(settledKey(k))
	}
}

func (s *shown) expire(below record.Bucket) {
	s.filter.expire(below)
	if s.exact != nil {
		s.exact.expire(below)
	} else if s.answers != nil {
		s.answers.ForgetAll()
	}
}

// bound drops a table that has become too big: all that is in it is on disk. Called with the lock held.
func (c *class) bound() {
	if s := c.shown.Load(); s.over(c.exactMax) {
		c.shown.Store(&shown{filter: s.filter, answers: new(settled.Answers)})
	}
	if c.next != nil && c.next.over(c.exactMax) {
		c.next.exact = nil
	}
}

func (s *shown) over(exactMax int) bool {
	return s.exact != nil && s.exact.count.Load() > int64(exactMax)
}

// lift takes one rule of the key away, after it has gone from the disk; with it go all others,
// in the same command.
func (c *class) lift(k key, b record.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.each() {
		s.lift(k, b)
	}
	if c.next != nil {
		c.lifted[k] = true
	}
}

// expire takes away what is kept in buckets below.
func (c *class) expire(below record.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.buckets, func(b record.Bucket, _ bool) bool { return b < below })
	c.publish()
	for s := range c.each() {
		s.expire(below)
	}
	c.expired = max(c.expired, below)
}

// each goes through what is shown and what is being built, which has no answers.
func (c *class) each() iter.Seq[*shown] {
	return func(yield func(*shown) bool) {
		if yield(c.shown.Load()) && c.next != nil {
			yield(c.next)
		}
	}
}

// due tells whether a filter should be built, and is not.
func (c *class) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next == nil && c.shown.Load().filter.worn()
}

// begin starts the building of a filter for about so many, and of a table, if there should be one and is
// not: from now on they are given what is added, and what was added before is on disk, in the buckets, and in the table
// that there was, if there was one.
func (c *class) begin(live int) ([]record.Bucket, *table) {
	next, room := new(shown), live+live/spare
	exact := c.shown.Load().exact != nil
	if !exact && live <= c.exactMax {
		next.exact, exact = newTable(live), true
	}
	if exact {
		room = 2 * live // beside a table a filter is small
	}
	next.filter = newFilter(room)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next, c.lifted, c.expired = next, map[key]bool{}, 0
	return *c.inUse.Load(), c.shown.Load().exact
}

// take adds what was there before to what is being built.
func (c *class) take(read []read) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for some := range slices.Chunk(read, fetchKeys) {
		c.next.fetch(some)
		for _, r := range some {
			if b := r.rule.bucket(); b >= c.expired && !c.lifted[r.key] {
				c.next.filter.tally(b, c.next.add(r.key, r.rule))
			}
		}
	}
	c.bound()
}

// end shows what was built, or drops it.
func (c *class) end(complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if complete {
		now := c.shown.Load()
		if c.next.exact == nil {
			c.next.exact, c.next.answers = now.exact, now.answers
		}
		c.shown.Store(c.next)
	}
	c.next, c.lifted = nil, nil
}

// unread tells whether nothing was read of what is on disk.
func (c *class) unread() bool { return c.shown.Load().filter.unread }

// size is about how many revocations there are; 0 while they are unread.
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
	for s := range c.each() {
		n += s.filter.bytes()
		if s.exact != nil {
			n += s.exact.bytes()
		}
		if s.answers != nil {
			n += settled.Bytes()
		}
	}
	return n
}
