package outbox

import (
	"context"
	"slices"
	"time"

	"veto/record"
)

// A proposal costs all nodes some milliseconds of a processor, however little is in it. Those who were answered at once
// come again at once: so after a proposal of restAt or more a rest follows, until as many have come as were answered, in which
// they get into the next one. Otherwise who is back first has one for himself, for which all others wait. They are waited for
// patience times as long as the proposal took, and longestRest at most; and not at all where more waits than fits into one. Where
// only some came, they are others, who come when they will: then a rest is no longer than the proposal, the next few times.
const (
	restAt      = 4
	patience    = 4
	longestRest = 25 * time.Millisecond
	fewTimes    = 16
)

// deliver proposes what is pending, until ctx ends.
func (o *Outbox) deliver(ctx context.Context) {
	short := 0 // how many rests are
	for pause := firstPause; ctx.Err() == nil; {
		batch, ok := o.oldest()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-o.wake:
			}
			continue
		}
		began := time.Now()
		result, err := o.config.Deliver(ctx, batch)
		if err == nil {
			pause = firstPause
			o.delivered(batch, result)
			if len(batch.Items) >= restAt {
				short = o.rest(ctx, time.Since(began), short)
			}
			continue
		}
		if ctx.Err() == nil {
			o.config.Log.Warn("revocations that this node took are not in the log yet; it tries again", "pending", o.Pending(), "error", err)
			o.TellAgain()
		}
		wait(ctx, pause)
		pause = min(2*pause, longestPause)
	}
}

// rest waits until nobody is away who was answered by a proposal that took so long, or more waits than fits in one. Who is
// not back when it is over is not waited for again. It is given how many rests are to be short, and tells how many are then.
func (o *Outbox) rest(ctx context.Context, took time.Duration, short int) int {
	if short == 0 {
		took *= patience
	}
	over := time.After(min(took, longestRest))
	for o.isAwaiting() {
		select {
		case <-ctx.Done():
			return 0
		case <-over:
			o.mu.Lock()
			defer o.mu.Unlock()
			o.away = 0
			if short == 0 && len(o.pending) > 0 {
				return fewTimes
			}
			return max(0, short-1)
		case <-o.wake:
		}
	}
	return max(0, short-1)
}

func (o *Outbox) isAwaiting() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.away > 0 && fits(o.pending) == len(o.pending)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// oldest are the items to propose next.
func (o *Outbox) oldest() (record.Deliver, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	some := slices.Clone(o.pending[:fits(o.pending)])
	return record.Deliver{Outbox: o.config.ID, First: o.first(), Items: some}, len(some) > 0
}

// fits is how many of the items fit in one proposal.
func fits(items []record.Taken) (n int) {
	for size := 0; n < len(items) && n < record.MaxRevocations && size < record.MaxDeliver; n++ {
		size += items[n].Weight()
	}
	return n
}

// first is the number of the oldest pending item; called with the lock held.
func (o *Outbox) first() uint64 { return o.next - uint64(len(o.pending)) }

// delivered takes down what the log made of a proposal. What it had before is decided when this
// node applies it: only there is seen what became of it.
func (o *Outbox) delivered(d record.Deliver, r record.Result) {
	through := d.First + uint64(len(d.Items)) - 1
	o.decide(record.Delivered{Before: r.Before, Through: through, Refused: r.Refused, Kept: r.Kept}, r.Revision)
	o.drop(through)
	if err := o.config.Disk.Remove(through); err != nil {
		o.config.Log.Error("what was delivered is still in the outbox; it is passed over when it is proposed again", "error", err)
	}
}

// Delivered is called when this node has applied what an outbox brought, in the order of the
// log. It does not block.
func (o *Outbox) Delivered(d record.Delivered, r record.Revision) {
	if d.Outbox == o.config.ID {
		o.decide(d, r)
		o.drop(d.Through)
	}
}

// Restored is called when this node was given a state instead of the entries that lead to it.
func (o *Outbox) Restored(d record.Delivered, r record.Revision) {
	if d.Outbox != o.config.ID {
		return
	}
	o.mu.Lock()
	for number, t := range o.tickets {
		if number <= d.Through {
			o.settle(t, Outcome{Revision: r, Unsure: true})
		}
	}
	o.mu.Unlock()
	o.drop(d.Through)
}

// decide settles the tickets of what was delivered now.
func (o *Outbox) decide(d record.Delivered, r record.Revision) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for number := d.Before + 1; number <= d.Through; number++ {
		t, ok := o.tickets[number]
		if !ok {
			continue
		}
		out := Outcome{Revision: r}
		if n := int(number - d.Before - 1); n < len(d.Kept) {
			out.Kept = d.Kept[n]
		}
		if i := slices.IndexFunc(d.Refused, func(f record.Refusal) bool { return f.Number == number }); i >= 0 {
			out.Rejection = &d.Refused[i].Rejection
		}
		o.settle(t, out)
	}
}

// settle is called with the lock held.
func (o *Outbox) settle(t *Ticket, out Outcome) {
	t.outcome = out
	close(t.decided)
	o.away++
	delete(o.tickets, t.Number)
}

// drop forgets what is pending through the number.
func (o *Outbox) drop(through uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if first := o.first(); through >= first {
		o.pending = slices.Clone(o.pending[min(through-first+1, uint64(len(o.pending))):])
	}
}

// TellAgain tells of all that is pending, as much at a time as fits in one notice. It may wait for one
// write to the disk.
func (o *Outbox) TellAgain() {
	o.told.Lock()
	defer o.told.Unlock()
	o.mu.Lock()
	first, pending := o.first(), slices.Clone(o.pending)
	o.mu.Unlock()
	for len(pending) > 0 {
		n := fits(pending)
		o.config.Kept(first, pending[:n])
		first, pending = first+uint64(n), pending[n:]
	}
}
