package store

// Comparer is what orders the keys of a database.
var Comparer = comparer

// Lacks tells whether the store knows that the request is not there without a look at the disk.
func (s *Store) Lacks(key []byte) bool { return s.live.requests.lack(key) }

// RequestDays is of how many days the store keeps what it knows.
func (s *Store) RequestDays() int { return len(s.live.requests.days.Load().all) }

// What bounds the filters of requests.
const (
	FirstRequests = firstRequests
	MostDays      = mostDays
)

// Flush writes the table in memory to the disk, as happens when it is full.
func (b *Outbox) Flush() error { return b.db.Flush() }
