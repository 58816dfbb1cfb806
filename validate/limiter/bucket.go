package limiter

import "time"

// bucket is what this node may let through at once of one key's rate. It fills as the node's part
// of the rate allows, and holds as much as its part of the burst. The zero bucket is of a key that
// has no rate.
type bucket struct {
	rate float64 // a second
	room float64
	left float64 // below zero while what cost more than the room is paid off
	at   int64   // up to when it is filled, in nanoseconds since the limiter's start, as all times here
}

// fill fills it up to a time. Readings of the clock may come in another order than they were taken.
func (b *bucket) fill(at int64) {
	if at > b.at {
		b.left = min(b.left+b.rate*time.Duration(at-b.at).Seconds(), b.room)
		b.at = at
	}
}

// resize gives it another part of the rate and of the burst. It keeps what is in it, as far as there
// is room: what one node's share grows by another's has shrunk by, with what was in its bucket. If
// it is full, what it grows by is full.
func (b *bucket) resize(rate, room float64, full bool) {
	if full || b.room == 0 { // there was no bucket
		b.left += max(room-b.room, 0)
	}
	b.rate, b.room, b.left = rate, room, min(b.left, room)
}

// wait is how long it takes until it has so much. What costs more than it holds is let through when
// it is full, and paid off before anything else is.
func (b *bucket) wait(cost float64) time.Duration {
	missing := min(cost, b.room) - b.left
	if missing <= 0 || b.room == 0 {
		return 0
	}
	return max(time.Duration(min(missing/b.rate, longest.Seconds())*float64(time.Second)), 1)
}

// longest is how long anybody is told to wait.
const longest = 1000 * 24 * time.Hour
