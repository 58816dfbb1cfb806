package gate

import "sync/atomic"

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
