package broadcast

import (
	"github.com/nats-io/nats.go"
)

// MaxTaking is how many events of a stream are taken at once.
const MaxTaking = maxTaking

// Unsent is a Broadcast with the same clients, whose queue has so much room, and nobody who empties it.
func (b *Broadcast) Unsent(room int) *Broadcast {
	return &Broadcast{queue: make(chan told, room), gate: b.gate}
}

// Inside is a connection to the node's account, where its stream is.
func (b *Broadcast) Inside() (*nats.Conn, error) { return b.dial() }

// Queued is how much is in the queue.
func (b *Broadcast) Queued() int { return len(b.queue) }

// Dropped is how much was.
func (b *Broadcast) Dropped() uint64 { return b.counts.dropped.Load() }
