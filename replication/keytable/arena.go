package keytable

import "sync/atomic"

// chunkSize is how much is had from the runtime at once: more is lost at the end of the last chunk,
// and whoever keeps a text of a key keeps its chunk.
const chunkSize = 1 << 18

// ref is where a form is: the number of a chunk and how often that was given before, and the offset. The
// zero ref is nowhere. No two forms have the same in any time that a reader needs.
type ref uint64

const (
	offsetBits = 18
	numberBits = 20 // of chunks: 256 GiB
	timesBits  = 12
	refBits    = offsetBits + numberBits + timesBits
)

func (r ref) offset() int    { return int(r & (1<<offsetBits - 1)) }
func (r ref) number() int    { return int(r >> offsetBits & (1<<numberBits - 1)) }
func (r ref) times() uint16  { return uint16(r >> (offsetBits + numberBits) & (1<<timesBits - 1)) }
func (r ref) next(n int) ref { return r + ref(n) }

// arena keeps forms, one after the other in chunks, which the collector need not look into. One
// goroutine writes. What is written never changes, and a chunk that is dropped is used by those who
// have it still: so a reader sees a form whole, or learns that it is gone.
type arena struct {
	chunks atomic.Pointer[[]atomic.Pointer[chunk]]

	// The writer's own.
	open   *chunk
	times  []uint16 // that each number was given
	free   []int    // numbers
	sparse []*chunk // of which less lives than should
}

type chunk struct {
	first ref // of what is in it
	bytes []byte

	// The writer's own.
	used, live int
}

func newArena() *arena {
	a := &arena{}
	a.chunks.Store(new([]atomic.Pointer[chunk]))
	return a
}

// at gives what begins there; nil if it is gone.
func (a *arena) at(r ref) form {
	all := *a.chunks.Load()
	if r.number() >= len(all) {
		return nil
	}
	c := all[r.number()].Load()
	if c == nil || c.first.times() != r.times() {
		return nil
	}
	return form(c.bytes[r.offset():])
}

// add copies a form. It may be read from anywhere once the ref is given.
func (a *arena) add(f form) ref {
	c := a.open
	if c == nil || len(c.bytes)-c.used < len(f) {
		c = a.grow(max(chunkSize, len(f)))
	}
	at := c.first.next(c.used)
	copy(c.bytes[c.used:], f)
	c.used += len(f)
	c.live += len(f)
	return at
}

// grow opens another chunk, and closes the one before.
func (a *arena) grow(size int) *chunk {
	before := a.open
	if len(a.free) == 0 {
		shown := *a.chunks.Load()
		all := make([]atomic.Pointer[chunk], max(2*len(shown), 4))
		for i := range shown {
			all[i].Store(shown[i].Load())
		}
		for i := len(all) - 1; i >= len(shown); i-- {
			a.free = append(a.free, i)
		}
		a.times = append(a.times, make([]uint16, len(all)-len(shown))...)
		a.chunks.Store(&all)
	}
	number := a.free[len(a.free)-1]
	a.free = a.free[:len(a.free)-1]
	a.times[number] = a.times[number]%(1<<timesBits-1) + 1 // never zero
	a.open = &chunk{first: ref(a.times[number])<<(offsetBits+numberBits) | ref(number)<<offsetBits, bytes: make([]byte, size)}
	(*a.chunks.Load())[number].Store(a.open)
	if before != nil {
		a.weigh(before)
	}
	return a.open
}

// drop notes that the form is not needed any more.
func (a *arena) drop(r ref) {
	c := (*a.chunks.Load())[r.number()].Load()
	c.live -= a.at(r).size()
	a.weigh(c)
}

// weigh finds a chunk sparse of which a quarter is dead.
func (a *arena) weigh(c *chunk) {
	if c != a.open && c.live < c.used/4*3 {
		a.sparse = append(a.sparse, c)
	}
}

// compact gives back the sparse chunks. What lives in them is moved as the function says.
func (a *arena) compact(move func(at ref, f form)) {
	for len(a.sparse) > 0 {
		last := len(a.sparse) - 1
		c := a.sparse[last]
		a.sparse = a.sparse[:last]
		shown := &(*a.chunks.Load())[c.first.number()]
		if shown.Load() != c {
			continue // it was found sparse twice
		}
		for at := 0; at < c.used; {
			f := form(c.bytes[at:])
			move(c.first.next(at), f[:f.size()])
			at += f.size()
		}
		(*a.chunks.Load())[c.first.number()].Store(nil)
		a.free = append(a.free, c.first.number())
	}
	a.sparse = nil
}
