package replication

import (
	"context"
	"errors"
	"time"

	"veto/record"
	"veto/replication/machine"
	"veto/replication/outbox"
	"veto/replication/peer"
	"veto/replication/store"
)

// deliverLimit bounds one proposal of the outbox; it is then tried again.
const deliverLimit = 5 * time.Second

// Revoke takes a revocation: it is durable and enforced here, and on its way to the other nodes,
// before the log is asked (P7), and answered when the log has it, or, if that takes longer than
// the wait, as pending. It needs no leader. What the state here does not admit, and what depends
// on the order of changes, is for the log alone to say: then it takes a leader, and without one
// is *record.Unavailable. The errors are those of Propose.
func (r *Replica) Revoke(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error) {
	ctx, end := r.step(ctx, "revoke", "")
	defer end()
	t.Trace = peer.TraceOf(ctx)
	t.At = r.config.Now().UTC().Truncate(time.Millisecond)
	t.From = r.origin(t.By, t.From)
	result, done, err := r.admits.Admit(r.applier.store, t, t.At)
	var rejected *record.Rejection
	switch {
	case errors.As(err, &rejected), errors.Is(err, machine.ErrOrder):
		return r.revokeInOrder(ctx, t, wait)
	case err != nil:
		return record.Accepted{}, err
	case done:
		return record.Accepted{Revision: result.Revision}, nil
	}
	_, taken := r.step(ctx, "outbox", "")
	box, ticket, err := r.boxes.Take(ctx, t)
	taken()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return record.Accepted{}, record.ErrOutcomeUnknown
	}
	if err != nil {
		return record.Accepted{}, err
	}
	return r.decided(ctx, t, record.Accepted{Outbox: box, Number: ticket.Number}, ticket, wait)
}

// decided waits for what the log makes of the item. Whoever does not wait is not refused: it is
// on its way.
func (r *Replica) decided(ctx context.Context, t record.Taken, a record.Accepted, ticket *outbox.Ticket, wait time.Duration) (record.Accepted, error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-ticket.Decided:
	case <-timeout.C:
		return a, nil
	case <-ctx.Done():
		return a, nil
	}
	out := ticket.Outcome()
	if out.Rejection == nil && out.Unsure {
		if hit, there := r.index.Revoked(r.view.Digest(t.Revocation.Name), record.NoIssuedAt); !there || hit.Unkept {
			out.Rejection = record.Conflict("the revocation was refused, or lifted since; look at what is there, and revoke again if need be")
		}
	}
	if out.Rejection != nil {
		return record.Accepted{}, out.Rejection
	}
	a.Revision, a.Kept = out.Revision, out.Kept
	return a, nil
}

func (r *Replica) revokeInOrder(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	result, err := r.Propose(ctx, record.Command{By: t.By, From: t.From, Request: t.Request, Body: record.Revoke{Revocations: []record.Revocation{t.Revocation}}})
	a := record.Accepted{Revision: result.Revision}
	if len(result.Kept) > 0 {
		a.Kept = result.Kept[0]
	}
	return a, err
}

// openOutbox goes on with what this node had taken when it stopped.
func (r *Replica) openOutbox(disk *store.Outbox) error {
	former, err := disk.Former()
	if err != nil {
		return err
	}
	c := outbox.BoxesConfig{
		Current: disk, Fresh: func() (outbox.Place, error) { return disk.Fresh(r.config.Random) },
		Passed: func(id record.OutboxID) (uint64, error) { return machine.DeliveredThrough(r.applier.store, id) },
		Ready:  r.horizon.readied, Coming: r.coming, Kept: r.taken, Deliver: r.deliver, Log: r.config.Log,
	}
	for _, f := range former {
		c.Former = append(c.Former, f)
	}
	r.boxes, err = outbox.OpenBoxes(c)
	return err
}

// taken enforces what an outbox keeps, and tells the other nodes.
func (r *Replica) taken(id record.OutboxID, first uint64, items []record.Taken) {
	r.tell(r.noticeOf(id, first, items))
}

// coming does so while the outbox is still writing, which takes as long as the word's way.
func (r *Replica) coming(id record.OutboxID, first uint64, items []record.Taken) {
	n := r.noticeOf(id, first, items)
	n.Unkept = true
	r.tell(n)
}

func (r *Replica) tell(n record.Notice) {
	r.notices.Notice(n)
	r.index.Taken(n)
}

func (r *Replica) noticeOf(id record.OutboxID, first uint64, items []record.Taken) record.Notice {
	n := record.Notice{
		Cluster: r.view.ClusterID(), Outbox: id, First: first, Node: r.config.ID,
		Revocations: make([]record.Revocation, len(items)), Trace: traceOf(items),
	}
	for i := range items {
		n.Revocations[i] = items[i].Revocation
		n.Revocations[i].At, n.Revocations[i].By = items[i].At, items[i].By
		if items[i].Request.Key != "" && n.Requests == nil {
			n.Requests = make([]record.Request, len(items))
		}
		if n.Requests != nil {
			n.Requests[i] = items[i].Request
		}
	}
	return n
}

// traceOf is the trace of the first item that has one: the others go with it.
func traceOf(items []record.Taken) string {
	for i := range items {
		if items[i].Trace != "" {
			return items[i].Trace
		}
	}
	return ""
}

func (r *Replica) deliver(ctx context.Context, d record.Deliver) (record.Result, error) {
	select {
	case <-r.opened:
	case <-ctx.Done():
		return record.Result{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, deliverLimit)
	defer cancel()
	if carried := traceOf(d.Items); carried != "" {
		var end func()
		ctx, end = r.step(ctx, "deliver", carried)
		defer end()
	}
	result, err := r.tryUntilLeader(ctx, record.Command{Body: d})
	if err == nil && result.Rejection != nil {
		err = result.Rejection
	}
	return result, err
}

// Pending is how many revocations this node has taken that the log does not have.
func (r *Replica) Pending() int { return r.boxes.Pending() }

// Refused is how many revocations this node had no room for.
func (r *Replica) Refused() uint64 { return r.boxes.Refused() }

// adoptEvery is how often a node looks for what others have taken and not brought into the log. What
// it sees for the second time it brings itself.
const adoptEvery = 5 * time.Second

// adopt proposes what other nodes told this one that they had taken, and the log still lacks: they may
// be gone, or reach this node and no leader. They propose it as well, and with the same numbers: so it
// is done once, whoever is first. Seen has, for each outbox, the number that was lacking before.
func (r *Replica) adopt(ctx context.Context, seen map[record.OutboxID]uint64) map[record.OutboxID]uint64 {
	lacking := map[record.OutboxID]uint64{}
	for _, d := range r.index.Undelivered() {
		if r.boxes.Has(d.Outbox) {
			continue
		}
		lacking[d.Outbox] = d.First
		if seen[d.Outbox] != d.First { // the first number is 1
			continue
		}
		if _, err := r.deliver(ctx, d); err != nil {
			if ctx.Err() == nil {
				r.config.Log.Warn("revocations that another node took are not in the log yet; this node tries again to bring them", "revocations", len(d.Items), "error", err)
			}
			continue
		}
		r.config.Log.Info("brought revocations into the log that another node took and did not bring", "revocations", len(d.Items))
	}
	return lacking
}
