package index

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"veto/record"
)

// MaxNotices bounds the revocations in the overlay that other nodes told of.
const MaxNotices = 65536

// overlay holds what notices told before the log does.
type overlay struct {
	count   atomic.Int64 // of hints; readers look no further while it is zero
	early   *xsync.Map[record.Digest, []hint]
	dropped atomic.Uint64

	mu      sync.Mutex // held by all who change it
	sources map[source]*told
	waiters map[chan struct{}]position
}

// source is where hints come from: an outbox, or, if it is zero, the log.
type source = record.OutboxID

// position is where in its source a hint stands: the number of the item in an outbox, or, in the
// log, the revision and the name's digest.
type position struct {
	source source
	number uint64
	digest record.Digest
}

// told is what is known of one source.
type told struct {
	passed uint64 // the log has everything up to this number
	hints  map[position]record.Digest
	// unkept are the hints that may never have been taken, and whether they were here when it was
	// looked the last time.
	unkept map[position]bool
}

// hint is one early revocation. The hints of a digest are never changed, but replaced; the one
// with the greatest cut-off comes first.
type hint struct {
	position
	cutoff     int64
	revocation *record.Revocation
	node       string // whose outbox it is from
	request    record.Request
	unkept     bool
}

func (h *hint) hit() Hit {
	if h.source == (source{}) || h.unkept {
		return Hit{By: ByNotice, Notice: h.revocation, Unkept: h.unkept}
	}
	return Hit{By: ByNotice, Notice: h.revocation, Node: h.node, Taken: record.Accepted{Outbox: h.source, Number: h.number}}
}

// has tells whether there is a hint that was taken.
func (t *told) has(p position) bool {
	_, here := t.hints[p]
	_, unkept := t.unkept[p]
	return here && !unkept
}

func newOverlay() *overlay {
	return &overlay{
		early: xsync.NewMap[record.Digest, []hint](), sources: map[source]*told{}, waiters: map[chan struct{}]position{},
	}
}

// find gives the hint that denies most.
func (o *overlay) find(d record.Digest) (hint, bool) {
	if o.count.Load() == 0 {
		return hint{}, false
	}
	all, ok := o.early.Load(d)
	if !ok {
		return hint{}, false
	}
	return all[0], true
}

func (o *overlay) of(s source) *told {
	t, ok := o.sources[s]
	if !ok {
		t = &told{hints: map[position]record.Digest{}, unkept: map[position]bool{}}
		o.sources[s] = t
	}
	return t
}

// add takes one hint, unless the log has passed it, it is here, or there is no room. There
// always is for what this node itself has taken: its outbox is bounded. What may never have been taken
// gives way to whatever has its number.
func (o *overlay) add(d record.Digest, h hint, own bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.of(h.source)
	was, here := t.hints[h.position]
	_, unkept := t.unkept[h.position]
	switch {
	case h.number <= t.passed, here && !unkept, unkept && h.unkept && was == d:
		return
	case !own && !here && o.count.Load() >= MaxNotices:
		o.dropped.Add(1)
		return
	}
	t.hints[h.position] = d
	old, _ := o.early.Load(d)
	all := append(without(old, h.position), h)
	slices.SortStableFunc(all, func(a, b hint) int { return cmp.Compare(b.cutoff, a.cutoff) })
	o.early.Store(d, all)
	if !here || was != d {
		o.count.Add(1)
	}
	if here && was != d {
		o.drop(was, h.position)
	}
	if h.unkept {
		t.unkept[h.position] = false
		return
	}
	delete(t.unkept, h.position)
	o.wake(func(p position) bool { return p == h.position })
}

// without is a copy of the hints that has none of the position.
func without(all []hint, p position) []hint {
	return slices.DeleteFunc(slices.Clone(all), func(h hint) bool { return h.position == p })
}

// pass drops what the log has brought of the source.
func (o *overlay) pass(s source, through uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.of(s)
	if through <= t.passed {
		return
	}
	t.passed = through
	for p := range t.hints {
		if p.number <= through {
			o.forget(t, p)
		}
	}
	o.wake(func(p position) bool { return p.source == s && p.number <= through })
}

// forget takes away what its source told of the position; called with the lock held.
func (o *overlay) forget(t *told, p position) {
	d := t.hints[p]
	delete(t.hints, p)
	delete(t.unkept, p)
	o.drop(d, p)
}

// drop takes one hint away; called with the lock held.
func (o *overlay) drop(d record.Digest, p position) {
	old, _ := o.early.Load(d)
	all := without(old, p)
	if len(all) == 0 {
		o.early.Delete(d)
	} else {
		o.early.Store(d, all)
	}
	o.count.Add(-1)
}

// wake ends the waits for places that are in force now; called with the lock held.
func (o *overlay) wake(now func(position) bool) {
	for c, p := range o.waiters {
		if now(p) {
			close(c)
			delete(o.waiters, c)
		}
	}
}

// await blocks until what stands at the position is in force here, early or by the log; otherwise
// it returns the context's error.
func (o *overlay) await(ctx context.Context, p position) error {
	o.mu.Lock()
	t := o.of(p.source)
	if t.has(p) || p.number <= t.passed {
		o.mu.Unlock()
		return nil
	}
	c := make(chan struct{})
	o.waiters[c] = p
	o.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.waiters, c)
		return ctx.Err()
	}
}

// Notice takes an early word. It is ignored if it is of another cluster or not well formed. It
// may be called from anywhere.
func (x *Index) Notice(n record.Notice) { x.notice(n, false) }

// Taken is Notice for what this node itself has taken: it is enforced here whatever else is in
// the overlay.
func (x *Index) Taken(n record.Notice) { x.notice(n, true) }

func (x *Index) notice(n record.Notice, own bool) {
	t := x.tables.Load()
	if n.Cluster == "" || n.Cluster != t.cluster || len(n.Revocations) > record.MaxRevocations {
		return
	}
	for i := range n.Revocations {
		r := &n.Revocations[i]
		if r.Check() != nil {
			continue
		}
		d := t.key.Digest(r.Name)
		h := hint{position: position{number: uint64(n.Revision), digest: d}, cutoff: r.Cutoff(), revocation: r}
		if n.Outbox != (record.OutboxID{}) {
			h.position, h.node = position{source: n.Outbox, number: n.First + uint64(i)}, n.Node
			h.request, h.unkept = n.Request(i), n.Unkept
		}
		use(x.used, d)
		x.overlay.add(d, h, own)
	}
}

// DropUnkept drops the hints of what nobody said was taken that were here at the last call.
func (x *Index) DropUnkept() { x.overlay.dropUnkept() }

func (o *overlay) dropUnkept() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.sources {
		for p, seen := range t.unkept {
			if t.unkept[p] = true; seen {
				o.forget(t, p)
			}
		}
	}
}

// AwaitTaken blocks until an item of an outbox is in force here, early or by the log; otherwise
// it returns the context's error.
func (x *Index) AwaitTaken(ctx context.Context, outbox record.OutboxID, number uint64) error {
	return x.overlay.await(ctx, position{source: outbox, number: number})
}

// maxUndelivered bounds the items that are given of one outbox at a time, and record.MaxDeliver their weight.
const maxUndelivered = 256

// Undelivered is what outboxes have told of and the log does not have: of each from the item on that
// the log lacks first, if that is here, up to the first that is not. The records are the caller's.
func (x *Index) Undelivered() []record.Deliver { return x.overlay.undelivered() }

func (o *overlay) undelivered() []record.Deliver {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []record.Deliver
	for s, t := range o.sources {
		if s == (source{}) {
			continue
		}
		d := record.Deliver{Outbox: s, First: t.passed + 1}
		size := 0
		for p := (position{source: s, number: d.First}); len(d.Items) < maxUndelivered && size < record.MaxDeliver; p.number++ {
			if !t.has(p) {
				break
			}
			digest := t.hints[p]
			hints, _ := o.early.Load(digest)
			h := hints[slices.IndexFunc(hints, func(h hint) bool { return h.position == p })]
			item := record.Taken{Revocation: *h.revocation, By: h.revocation.By, At: h.revocation.At, Request: h.request, From: record.Origin{Node: h.node}}
			item.Revocation.By, item.Revocation.At = "", time.Time{}
			d.Items, size = append(d.Items, item), size+item.Weight()
		}
		if len(d.Items) > 0 {
			all = append(all, d)
		}
	}
	return all
}
