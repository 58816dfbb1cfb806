package index

import (
	"math/bits"
	"slices"
	"sync/atomic"

	"veto/record"
)

const (
	shards     = 256
	firstSlots = 8
	// A shard is made anew when more than fullest tenths of it are used, for what lives in it and
	// as much room again as leaves it at 56 %: bigger steps would save copying and cost memory.
	fullest   = 7
	roomFor   = 25
	roomPer   = 14
	slotBytes = 24
)

// table is the exact set of one class: every rule of every digest, but those that another covers.
// One goroutine writes at a time; readers need no lock, since
// a slot's first word is written last, its words are atomic, and a shard is replaced whole when it
// has to grow.
type table struct {
	shards [shards]shard
	count  atomic.Int64 // of rules
}

type shard struct {
	slots atomic.Pointer[[]slot]
	used  int // of slots, with those of dead rules; owned by who writes, as is dead
	dead  int
}

// slot is one rule of a digest; free while a is zero.
type slot struct {
	a, b atomic.Uint64
	rule atomic.Uint64
}

// newTable has room for about so many rules.
func newTable(room int) *table {
	t := new(table)
	for i := range t.shards {
		slots := make([]slot, max(firstSlots, room/shards*roomFor/roomPer))
		t.shards[i].slots.Store(&slots)
	}
	return t
}

// start is where the search for a key begins among n slots. The first byte is the shard's.
func (k key) start(n int) int {
	i, _ := bits.Mul64(k.a<<8, uint64(n))
	return int(i)
}

func (t *table) of(k key) *shard { return &t.shards[k.shard()] }

func (k key) shard() byte { return byte(k.a >> 56) }

// sorter sorts what is to be added by shards, so that memory is read once for several. It may be used again.
type sorter struct{ out []read }

// sorted keeps the order within each shard. What it gives is valid until the next.
func (s *sorter) sorted(in []read) []read {
	if len(in) < shards {
		return in
	}
	var at [shards + 1]int
	for i := range in {
		at[int(in[i].key.shard())+1]++
	}
	for i := range shards {
		at[i+1] += at[i]
	}
	s.out = slices.Grow(s.out[:0], len(in))[:len(in)]
	for _, r := range in {
		n := &at[r.key.shard()]
		s.out[*n] = r
		*n++
	}
	return s.out
}

// find returns the latest bucket in which a rule denies what was issued at the second.
func (t *table) find(k key, issuedAt int64) (record.Bucket, bool) {
	slots := *t.of(k).slots.Load()
	best := dead
	for i := k.start(len(slots)); ; {
		s := &slots[i]
		switch s.a.Load() {
		case 0:
			return best.bucket(), best != dead
		case k.a:
			if s.b.Load() == k.b {
				if r := rule(s.rule.Load()); r > best && issuedAt <= r.cutoff() {
					best = r
				}
			}
		}
		if i++; i == len(slots) {
			i = 0
		}
	}
}

// fetch reads where add will write, or near it.
func (t *table) fetch(k key) {
	slots := *t.of(k).slots.Load()
	slots[k.start(len(slots))].a.Load()
}

// add makes sure that there is the rule, or one that covers it.
func (t *table) add(k key, r rule) {
	sh := t.of(k)
	if len(*sh.slots.Load())*fullest <= sh.used*10 {
		sh.rebuild()
	}
	if sh.place(*sh.slots.Load(), k, r) {
		t.count.Add(1)
	}
}

// place tells whether there is a rule more than before. A rule of the same digest that is covered
// now, or dead, gives its slot to the new one; with one store, so that readers see the one or the
// other.
func (sh *shard) place(slots []slot, k key, r rule) (isMore bool) {
	var same *slot
	for i := k.start(len(slots)); ; {
		s := &slots[i]
		at := s.a.Load()
		if at == 0 && same != nil {
			if isMore = rule(same.rule.Load()) == dead; isMore {
				sh.dead--
			}
			same.rule.Store(uint64(r))
			return isMore
		}
		if at == 0 {
			s.b.Store(k.b)
			s.rule.Store(uint64(r))
			s.a.Store(k.a) // last: now readers see it
			sh.used++
			return true
		}
		if at == k.a && s.b.Load() == k.b {
			old := rule(s.rule.Load())
			if old.covers(r) {
				return false
			}
			if same == nil && r.covers(old) {
				same = s
			}
		}
		if i++; i == len(slots) {
			i = 0
		}
	}
}

// rebuild replaces the shard's slots by others that hold what lives, with room for more.
func (sh *shard) rebuild() {
	old := *sh.slots.Load()
	slots := make([]slot, max(firstSlots, (sh.used-sh.dead)*roomFor/roomPer))
	sh.used, sh.dead = 0, 0
	for i := range old {
		s := &old[i]
		if a, r := s.a.Load(), rule(s.rule.Load()); a != 0 && r != dead {
			sh.place(slots, key{a, s.b.Load()}, r)
		}
	}
	sh.slots.Store(&slots)
}

// remove takes away all rules of the digest.
func (t *table) remove(k key) {
	sh := t.of(k)
	slots := *sh.slots.Load()
	for i := k.start(len(slots)); ; {
		s := &slots[i]
		at := s.a.Load()
		if at == 0 {
			return
		}
		if at == k.a && s.b.Load() == k.b && rule(s.rule.Load()) != dead {
			t.bury(sh, s)
		}
		if i++; i == len(slots) {
			i = 0
		}
	}
}

// bury leaves the slot in its place, for the sake of searches that go past it.
func (t *table) bury(sh *shard, s *slot) {
	s.rule.Store(uint64(dead))
	sh.dead++
	t.count.Add(-1)
}

// expire takes away all rules that are kept in buckets below. It stores nothing that a reader
// would have to wait for, and makes a shard anew only when it has become much too big.
func (t *table) expire(below record.Bucket) {
	for i := range t.shards {
		sh := &t.shards[i]
		slots := *sh.slots.Load()
		for n := range slots {
			s := &slots[n]
			if r := rule(s.rule.Load()); r != dead && r.bucket() < below {
				t.bury(sh, s)
			}
		}
		if len(slots) > firstSlots && (sh.used-sh.dead)*4 < len(slots) {
			sh.rebuild()
		}
	}
}

// livingIn are the rules in the slots, which may be written to meanwhile.
func livingIn(slots []slot) []read {
	some := make([]read, 0, len(slots))
	for i := range slots {
		s := &slots[i]
		if a, r := s.a.Load(), rule(s.rule.Load()); a != 0 && r != dead {
			some = append(some, read{key{a, s.b.Load()}, r})
		}
	}
	return some
}

// bytes is what the table takes of memory.
func (t *table) bytes() int {
	n := 0
	for i := range t.shards {
		n += len(*t.shards[i].slots.Load()) * slotBytes
	}
	return n
}
