package broadcast

// MaxTaking is how many events of a stream are taken at once.
const MaxTaking = maxTaking

// QueueLength is how many messages a subscription has room for.
const QueueLength = queueLength

// Unsent is a Broadcast whose queue has so much room, and nobody who empties it.
func Unsent(room int) *Broadcast { return &Broadcast{queue: make(chan told, room)} }

// Mumble sends the other nodes what is no notice.
func (b *Broadcast) Mumble() error { return b.nodes.Publish(subjectNotice, []byte("?")) }

// Queued is how much is in the queue.
func (b *Broadcast) Queued() int { return len(b.queue) }

// Dropped is how much was.
func (b *Broadcast) Dropped() uint64 { return b.counts.dropped.Load() }
