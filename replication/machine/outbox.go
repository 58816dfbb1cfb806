package machine

import (
	"errors"
	"time"

	"veto/record"
)

func outboxKey(id record.OutboxID) []byte { return record.TableOutboxes.Key(id[:]) }

// deliver takes in what an outbox brings, from the first item on that it has not brought before.
func (x *change) deliver(b record.Deliver) error {
	if b.Outbox == (record.OutboxID{}) || b.First == 0 || len(b.Items) == 0 || len(b.Items) > record.MaxRevocations {
		return record.Invalid("an outbox delivers 1 to %d revocations, numbered from 1", record.MaxRevocations)
	}
	last, _, err := get[record.Delivered](x.state, outboxKey(b.Outbox))
	if err != nil {
		return err
	}
	now := record.Delivered{Outbox: b.Outbox, Through: last.Through, Before: last.Through}
	x.through = last.Through
	for n, item := range b.Items {
		number := b.First + uint64(n)
		if number <= last.Through {
			continue
		}
		now.Through = number
		if err := x.take(item, number); err != nil {
			return err
		}
		if through := int(number - last.Through); len(x.kept) < through { // not done now
			x.kept = append(x.kept, 0)
		}
	}
	if now.Through == now.Before {
		return nil
	}
	if err := put(x.state, outboxKey(b.Outbox), now); err != nil {
		return err
	}
	now.Refused, now.Kept = x.refused, x.kept
	x.changes = append(x.changes, record.Change{Record: &now})
	return nil
}

// DeliveredThrough is the number of the last item that the outbox has brought; 0 if none.
func DeliveredThrough(s Reader, id record.OutboxID) (uint64, error) {
	d, _, err := get[record.Delivered](s, outboxKey(id))
	return d.Through, err
}

// take adds one revocation, in the name of who asked for it. Nothing is written before it is
// certain that it is not refused.
func (x *change) take(item record.Taken, number uint64) error {
	c := record.Command{Stamp: x.stamp, By: item.By, From: item.From, Request: item.Request, Body: record.Revoke{}}
	taken := len(x.taken)
	x.by = item.By
	_, done, err := recall(x.state, c)
	var reused, rejection *record.Rejection
	if errors.As(err, &reused) { // its key was another request's by then
		err = x.anyhow(&c, reused)
	}
	if err == nil && !done {
		err = x.revoke(record.Revoke{Revocations: []record.Revocation{item.Revocation}})
	}
	if errors.As(err, &rejection) {
		x.taken = x.taken[:taken]
		x.refused = append(x.refused, record.Refusal{Number: number, Rejection: *rejection})
		return nil
	}
	if err != nil || done {
		return err
	}
	result := record.Result{Revision: x.revision, Ref: x.ref}
	x.ref = ""
	if reused != nil {
		x.refused = append(x.refused, record.Refusal{Number: number, Rejection: *record.Conflict(
			"this Idempotency-Key was used at the same time for another request, which the cluster keeps it for; what this one asks for was revoked all the same: see %s. Use a new key for each request", result.Ref)})
	}
	if err := errors.Join(x.asks(item.By), x.enter(c)); err != nil {
		return err
	}
	return remember(x.state, c, result)
}

// anyhow has a revocation be made though its Idempotency-Key is that of another request: it was answered,
// and is enforced where it was taken. Its request is not remembered. Programs of the first level refuse it.
func (x *change) anyhow(c *record.Command, refused *record.Rejection) error {
	at, err := Level(x.state)
	if err == nil && at < record.LevelKeys {
		return refused
	}
	c.Request = record.Request{}
	return err
}

// ErrOrder says that only the log can tell whether a revocation may be made: it depends on what
// comes before it.
var ErrOrder = errors.New("whether this may be revoked depends on the order of changes")

// Admit tells, from the state as it is, whether an outbox may take the revocation: nil if the
// log will not refuse it as far as anyone can tell. What came of the same request before is
// done. A *record.Rejection is what the log would say if it said so now; ErrOrder is for the keys
// of admins, of which the last must stay. Other errors are the state's.
// It may be called from anywhere, of a Machine that applies nothing: of an issuer it asks only whether that was ever trusted,
// which does not change.
func (m *Machine) Admit(s Reader, t record.Taken, now time.Time) (result record.Result, done bool, err error) {
	x := &change{machine: m, state: readOnly{s}, by: t.By, stamp: now, foremost: now}
	c := record.Command{Stamp: now, By: t.By, Request: t.Request}
	if result, done, err = recall(s, c); err != nil || done {
		return result, done, err
	}
	if err := t.Revocation.Check(); err != nil {
		return result, false, err
	}
	if t.Revocation.Target == record.TargetKey {
		k, err := x.key(t.Revocation.Value)
		if err != nil {
			return result, false, err
		}
		if isAdmin(&k) {
			return result, false, ErrOrder
		}
	}
	_, err = x.keptUntil(&t.Revocation)
	return result, false, err
}

// readOnly is a state that nothing is written to.
type readOnly struct{ Reader }

var errReadOnly = errors.New("machine: the state is only looked at")

func (readOnly) Put([]byte, []byte) error         { return errReadOnly }
func (readOnly) Delete([]byte) error              { return errReadOnly }
func (readOnly) DeleteRange([]byte, []byte) error { return errReadOnly }
