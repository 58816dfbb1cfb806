package gate

import (
	"sync"
	"sync/atomic"
)

// Places bounds how much of one kind is done at once. Nil bounds nothing. It may be used from anywhere.
type Places struct {
	room    chan struct{} // a place for each that is under way
	refused atomic.Uint64
}

// NewPlaces makes so many places.
func NewPlaces(most int) *Places { return &Places{room: make(chan struct{}, most)} }

// Take takes a place, which the caller leaves, if one is free. It does not wait for one.
func (p *Places) Take() bool {
	if p == nil {
		return true
	}
	select {
	case p.room <- struct{}{}:
		return true
	default:
		p.refused.Add(1)
		return false
	}
}

// Leave gives back a place that was taken.
func (p *Places) Leave() {
	if p != nil {
		<-p.room
	}
}

// Taken is how many places are taken now.
func (p *Places) Taken() int { return len(p.room) }

// Refused is how often there was none.
func (p *Places) Refused() uint64 { return p.refused.Load() }

// Shares bounds how many of the places of one kind each caller has at once. Nil bounds nothing. It may be used
// from anywhere, and remembers only callers who have one.
type Shares struct {
	most    int
	refused atomic.Uint64

	mu    sync.Mutex
	taken map[string]int
}

// NewShares gives each caller so many at most.
func NewShares(most int) *Shares { return &Shares{most: most, taken: map[string]int{}} }

// Take takes one, which the caller leaves, if the caller has room for it.
func (s *Shares) Take(caller string) bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[caller] >= s.most {
		s.refused.Add(1)
		return false
	}
	s.taken[caller]++
	return true
}

// Leave gives back one that was taken.
func (s *Shares) Leave(caller string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[caller]--; s.taken[caller] == 0 {
		delete(s.taken, caller)
	}
}

// Refused is how often a caller had no room.
func (s *Shares) Refused() uint64 { return s.refused.Load() }
