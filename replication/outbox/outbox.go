package outbox

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"veto/record"
)

// MaxPending bounds what is taken and not delivered, in all outboxes of a node.
const MaxPending = 65536

const (
	queueLength  = 1024
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
	fullRetry    = 5 * time.Second
)

// Disk is where the outbox is kept.
type Disk interface {
	// Append keeps the items, numbered from first on. They are durable when it returns; the
	// items are the caller's.
	Append(first uint64, items []record.Taken) error
	// Remove forgets what is numbered through and below. It need not be durable.
	Remove(through uint64) error
}

// Config is what an Outbox is made of.
type Config struct {
	ID   record.OutboxID
	Disk Disk
	// Coming is told of items that are about to become durable, and may never be: then others get
	// their numbers. It is called once for each write, before it.
	Coming func(first uint64, items []record.Taken)
	// Kept is told of items that are durable, numbered from first on: once when they have just
	// become so, and again while they cannot be delivered. Calls follow one another.
	Kept func(first uint64, items []record.Taken)
	// Deliver proposes. It blocks until the log has the items, or fails; it may then be called
	// again with the same.
	Deliver func(context.Context, record.Deliver) (record.Result, error)
	Log     *slog.Logger
}

// Outbox may be used from anywhere at once.
type Outbox struct {
	config Config
	queue  chan *submission
	stop   context.CancelFunc
	wg     sync.WaitGroup

	refused atomic.Uint64

	mu      sync.Mutex
	next    uint64         // the number of the next item
	pending []record.Taken // what the log may not have, the last of which is numbered next-1
	tickets map[uint64]*Ticket
	away    int           // how many were answered more than have come since: they may come again
	wake    chan struct{} // holds one when there may be something to deliver

	// told is held while Kept is called. It is taken before mu.
	told sync.Mutex
}

type submission struct {
	item   record.Taken
	answer chan taken // holds one
}

type taken struct {
	ticket *Ticket
	err    error
}

// Ticket is the claim on what becomes of one item.
type Ticket struct {
	Number uint64
	// Decided is closed when the log has it. Outcome may be read then.
	Decided <-chan struct{}
	decided chan struct{}
	outcome Outcome
}

// Outcome is what the log made of an item.
type Outcome struct {
	Revision record.Revision
	// Kept is until when, if that was told.
	Kept record.Kept
	// Rejection, if not nil, says why it was not done.
	Rejection *record.Rejection
	// Unsure says that the log has it, and that nobody here saw what it made of it.
	Unsure bool
}

// Outcome is valid once Decided is closed.
func (t *Ticket) Outcome() Outcome { return t.outcome }

// Open goes on with what was pending, the last of which is numbered next-1. The caller closes it.
func Open(c Config, pending []record.Taken, next uint64) *Outbox {
	ctx, stop := context.WithCancel(context.Background())
	o := &Outbox{
		config: c, queue: make(chan *submission, queueLength), stop: stop,
		next: next, pending: pending, tickets: map[uint64]*Ticket{}, wake: make(chan struct{}, 1),
	}
	o.TellAgain()
	o.signal()
	o.wg.Go(func() { o.keep(ctx) })
	o.wg.Go(func() { o.deliver(ctx) })
	return o
}

// Close stops and waits. What is pending is delivered after the next Open.
func (o *Outbox) Close() {
	o.stop()
	o.wg.Wait()
}

func (o *Outbox) nextNumber() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next
}

// Pending is how many items are not delivered.
func (o *Outbox) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending)
}

// Refused is how many items there was no room for.
func (o *Outbox) Refused() uint64 { return o.refused.Load() }

// Take makes the item durable and has it told of. It blocks for one write to the disk. It fails
// with *record.Unavailable when the outbox is full; if the context ends first, the item may have
// been taken all the same.
func (o *Outbox) Take(ctx context.Context, item record.Taken) (*Ticket, error) {
	if o.Pending() >= MaxPending {
		o.refused.Add(1)
		return nil, full()
	}
	s := &submission{item: item, answer: make(chan taken, 1)}
	select {
	case o.queue <- s:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case t := <-s.answer:
		return t.ticket, t.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func full() error {
	return &record.Unavailable{
		Detail:     "this node has taken as many revocations as it can keep until the cluster has a leader again; ask another node, or wait",
		RetryAfter: fullRetry,
	}
}

// keep makes durable what comes in, until ctx ends.
func (o *Outbox) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-o.queue:
			runtime.Gosched() // who is about to send gets into the same write
			o.keepAll(o.gather(s))
		}
	}
}

// gather takes what else is in the queue, as much as fits in one proposal.
func (o *Outbox) gather(first *submission) []*submission {
	all, size := []*submission{first}, first.item.Weight()
	for len(all) < record.MaxRevocations && size < record.MaxDeliver {
		select {
		case s := <-o.queue:
			all = append(all, s)
			size += s.item.Weight()
		default:
			return all
		}
	}
	return all
}

func (o *Outbox) keepAll(all []*submission) {
	items := make([]record.Taken, len(all))
	for i, s := range all {
		items[i] = s.item
	}
	o.told.Lock()
	defer o.told.Unlock()
	o.mu.Lock()
	first := o.next
	o.mu.Unlock()
	o.config.Coming(first, items)
	if err := o.config.Disk.Append(first, items); err != nil {
		for _, s := range all {
			s.answer <- taken{err: err}
		}
		return
	}
	o.config.Kept(first, items)
	o.mu.Lock()
	o.next += uint64(len(items))
	o.away = max(0, o.away-len(items))
	o.pending = append(o.pending, items...)
	for i, s := range all {
		c := make(chan struct{})
		t := &Ticket{Number: first + uint64(i), Decided: c, decided: c}
		o.tickets[t.Number] = t
		s.answer <- taken{ticket: t}
	}
	o.mu.Unlock()
	o.signal()
}

func (o *Outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default: // it will look
	}
}
