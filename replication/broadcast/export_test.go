package broadcast

import (
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// MaxTaking is how many events of a stream are taken at once.
const MaxTaking = maxTaking

// QueueLength is how many messages a subscription has room for.
const QueueLength = queueLength

// Unsent is a Broadcast whose queue has so much room, and nobody who empties it.
func Unsent(room int) *Broadcast {
	return &Broadcast{queue: make(chan told, room), server: new(server.Server)}
}

// Mumble sends the other nodes what is no notice.
func (b *Broadcast) Mumble() error { return b.nodes.Publish(subjectNotice, []byte("?")) }

// Inside is a connection to the public account, where the node's stream is.
func (b *Broadcast) Inside() (*nats.Conn, error) { return b.dial(userPublic, b.gate.secret) }

// Queued is how much is in the queue.
func (b *Broadcast) Queued() int { return len(b.queue) }

// Dropped is how much was.
func (b *Broadcast) Dropped() uint64 { return b.counts.dropped.Load() }

// Admit is what the server asks for each client that connects.
func (b *Broadcast) Admit(c server.ClientAuthentication) bool { return b.gate.Check(c) }

// Has tells whether the account is one of the server's.
func (b *Broadcast) Has(a *server.Account) bool {
	now, err := b.server.LookupAccount(a.Name)
	return err == nil && now == a
}
