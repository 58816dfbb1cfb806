package outbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"veto/record"
)

// sureWait is how long after OpenBoxes what comes in still waits until it is known what the log has of the outbox.
const sureWait = time.Second

// Place is where one outbox is kept.
type Place interface {
	Disk
	// ID is the outbox's name, for good.
	ID() record.OutboxID
	// Load reads what is numbered above passed, and the first number that was never given.
	Load(passed uint64) (items []record.Taken, next uint64, err error)
	// Forget forgets an outbox of which nothing is left to deliver.
	Forget() error
}

// BoxesConfig is what Boxes are made of. Coming, Kept and Deliver are as in Config.
type BoxesConfig struct {
	// Current is where this node went on taking last; Former are those from before, which it may still have
	// to deliver; Fresh makes a current one, upon which that one is a former one.
	Current Place
	Former  []Place
	Fresh   func() (Place, error)
	// Passed is the number of the last item that the log has of an outbox, as far as this node has applied it.
	Passed func(record.OutboxID) (uint64, error)
	// Ready is closed once this node has applied what was committed when it started.
	Ready   <-chan struct{}
	Coming  func(id record.OutboxID, first uint64, items []record.Taken)
	Kept    func(id record.OutboxID, first uint64, items []record.Taken)
	Deliver func(context.Context, record.Deliver) (record.Result, error)
	Log     *slog.Logger
}

// Boxes are the outboxes of one data directory: one that takes, and former ones that only deliver.
//
// A number that the log has passed is never heard of again. A data directory that was put back from an older
// copy would go on with such numbers. So none is given before this process knows that the log has not passed
// it: and where it cannot know that, as it reaches no leader, or knows that it has, it takes in an outbox of
// which nobody has heard. They may be used from anywhere; nil ones are none.
type Boxes struct {
	config BoxesConfig
	// waits ends when nobody waits any longer for what the log has: sureWait after OpenBoxes, or at Close.
	waits   context.Context
	noWaits context.CancelFunc

	// making is held while the outbox that takes is made sure of, and that takes as long as the disk. It is taken
	// before mu.
	making sync.Mutex
	closed bool // set with making held

	mu      sync.RWMutex // never held while the disk is written to; to change what it guards takes making, too
	current *Outbox
	former  []*Outbox
	sure    bool // its numbers are this process's to give
}

// OpenBoxes goes on with what was pending. The caller closes them.
func OpenBoxes(c BoxesConfig) (*Boxes, error) {
	b := &Boxes{config: c}
	b.waits, b.noWaits = context.WithTimeout(context.Background(), sureWait)
	for _, p := range c.Former {
		one, err := b.open(p)
		if err == nil && one.Pending() == 0 {
			one.Close()
			if err = p.Forget(); err == nil {
				continue
			}
		}
		if err != nil {
			b.Close()
			return nil, err
		}
		b.former = append(b.former, one)
	}
	var err error
	if b.current, err = b.open(c.Current); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Boxes) open(p Place) (*Outbox, error) {
	id := p.ID()
	passed, err := b.config.Passed(id)
	if err != nil {
		return nil, err
	}
	pending, next, err := p.Load(passed)
	if err != nil {
		return nil, err
	}
	return Open(Config{
		ID: id, Disk: p, Deliver: b.config.Deliver, Log: b.config.Log,
		Coming: func(first uint64, items []record.Taken) { b.config.Coming(id, first, items) },
		Kept:   func(first uint64, items []record.Taken) { b.config.Kept(id, first, items) },
	}, pending, next), nil
}

// all are the outboxes that there are.
func (b *Boxes) all() []*Outbox {
	if b == nil {
		return nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := append([]*Outbox(nil), b.former...)
	if b.current != nil {
		all = append(all, b.current)
	}
	return all
}

// Take is that of the outbox that takes, whose name it gives. Until this node has caught up it waits for that,
// for a second after OpenBoxes at most. That is not the caller's to shorten: a node that starts beside a leader
// would take in a fresh outbox because of one hasty request.
func (b *Boxes) Take(ctx context.Context, item record.Taken) (record.OutboxID, *Ticket, error) {
	box, err := b.taking(ctx)
	if err != nil {
		return record.OutboxID{}, nil, err
	}
	if b.Pending() >= MaxPending {
		box.refused.Add(1)
		return record.OutboxID{}, nil, full()
	}
	t, err := box.Take(ctx, item)
	return box.config.ID, t, err
}

func (b *Boxes) taking(ctx context.Context) (*Outbox, error) {
	b.mu.RLock()
	box, sure := b.current, b.sure
	b.mu.RUnlock()
	if sure {
		return box, nil
	}
	select {
	case <-b.config.Ready:
	case <-b.waits.Done():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return b.makeSure()
}

// makeSure gives the outbox that takes from now on. It blocks for one write to the disk, if it is a fresh one.
func (b *Boxes) makeSure() (*Outbox, error) {
	b.making.Lock()
	defer b.making.Unlock()
	switch {
	case b.closed:
		return nil, &record.Unavailable{Detail: "this node is stopping, and has not taken the revocation; ask another node", RetryAfter: fullRetry}
	case b.sure:
		return b.current, nil
	}
	ready := false
	select {
	case <-b.config.Ready:
		ready = true
	default:
	}
	next := b.current.nextNumber()
	passed, err := b.config.Passed(b.current.config.ID)
	if err != nil {
		return nil, err
	}
	if ready && passed < next {
		b.goOn(b.current)
		return b.current, nil
	}
	if passed >= next {
		b.config.Log.Warn("the data directory of this node was put back from an older copy: the log has numbers of its outbox that this one never gave; it takes revocations in a fresh one",
			"next", next, "passed", passed)
	} else {
		b.config.Log.Info("this node takes revocations before it knows what the log has of its outbox: in a fresh one")
	}
	place, err := b.config.Fresh()
	if err != nil {
		return nil, err
	}
	fresh, err := b.open(place)
	if err != nil {
		return nil, err
	}
	b.goOn(fresh)
	return fresh, nil
}

// goOn takes in that outbox from then on.
func (b *Boxes) goOn(in *Outbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if in != b.current {
		b.former = append(b.former, b.current)
	}
	b.current, b.sure = in, true
}

// Has tells whether the outbox is one of these.
func (b *Boxes) Has(id record.OutboxID) bool {
	for _, o := range b.all() {
		if o.config.ID == id {
			return true
		}
	}
	return false
}

// Pending is how many items are not delivered.
func (b *Boxes) Pending() (n int) {
	for _, o := range b.all() {
		n += o.Pending()
	}
	return n
}

// Refused is how many items there was no room for.
func (b *Boxes) Refused() (n uint64) {
	for _, o := range b.all() {
		n += o.Refused()
	}
	return n
}

// TellAgain tells of all that is pending.
func (b *Boxes) TellAgain() {
	for _, o := range b.all() {
		o.TellAgain()
	}
}

// Delivered is called when this node has applied what an outbox brought, in the order of the log. It does not
// wait for the disk.
func (b *Boxes) Delivered(d record.Delivered, r record.Revision) {
	for _, o := range b.all() {
		o.Delivered(d, r)
	}
}

// Restored is called when this node was given a state instead of the entries that lead to it.
func (b *Boxes) Restored(d record.Delivered, r record.Revision) {
	for _, o := range b.all() {
		o.Restored(d, r)
	}
}

// Close stops all and waits. What is pending is delivered after the next OpenBoxes; nothing writes to the disk
// any more.
func (b *Boxes) Close() {
	if b == nil {
		return
	}
	b.noWaits()
	b.making.Lock()
	b.closed = true
	b.making.Unlock()
	for _, o := range b.all() {
		o.Close()
	}
}
