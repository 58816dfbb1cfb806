package keytable

import (
	"sync/atomic"

	"veto/record"
)

// places are what stays with a key whatever becomes of its record: its number, and its uses. One
// goroutine writes.
type places struct {
	pages atomic.Pointer[[]*[pageSize]place]
	free  []uint32
	left  []uint32 // free after Settle
}

const pageSize = 1 << 10

type place struct {
	at  atomic.Uint64 // the ref of the key's record; zero if there is none
	use record.Use
}

func newPlaces() *places {
	p := &places{}
	p.pages.Store(new([]*[pageSize]place))
	return p
}

// of is the place with the number.
func (p *places) of(number uint32) *place {
	return &(*p.pages.Load())[number/pageSize][number%pageSize]
}

// all goes through the places.
func (p *places) all(yield func(*place) bool) {
	for _, page := range *p.pages.Load() {
		for i := range page {
			if !yield(&page[i]) {
				return
			}
		}
	}
}

// take gives a place to a key.
func (p *places) take() uint32 {
	if len(p.free) == 0 {
		shown := *p.pages.Load()
		all := append(shown, new([pageSize]place)) // what was shown is not written to
		for i := pageSize - 1; i >= 0; i-- {
			p.free = append(p.free, uint32(len(shown)*pageSize+i))
		}
		p.pages.Store(&all)
	}
	last := len(p.free) - 1
	number := p.free[last]
	p.free = p.free[:last]
	p.of(number).use.Begin()
	return number
}

// drop takes the place from its key; Settle is to follow.
func (p *places) drop(number uint32) {
	p.of(number).at.Store(0)
	p.left = append(p.left, number)
}

// settle says that no key is shown any more that had a place that was dropped.
func (p *places) settle() { p.free, p.left = append(p.free, p.left...), nil }
