package record

import "time"

// OutboxID names the outbox of one node's data directory, for good. Zero names none.
type OutboxID [16]byte

// Taken is a revocation that a node took: durable there, and enforced there, before the log has
// it.
type Taken struct {
	Revocation Revocation `cbor:"1,keyasint"`
	// By is the id of the API key that asked for it, Request how the request names itself.
	By      string  `cbor:"2,keyasint,omitempty"`
	Request Request `cbor:"3,keyasint,omitzero"`
	// At is when, by the clock of the node that took it.
	At time.Time `cbor:"4,keyasint,omitzero"`
	// From is the way by which it came to that node.
	From Origin `cbor:"5,keyasint,omitzero"`
	// Trace is what carries the trace of the request, if it is told of; on this node alone.
	Trace string `cbor:"-"`
}

// Weight is about how many bytes it takes in a command.
func (t *Taken) Weight() int {
	n := 256 + len(t.Revocation.Issuer) + len(t.Revocation.Value) + len(t.Revocation.Reason)
	for _, p := range t.Revocation.And {
		n += len(p.Value)
	}
	return n
}

// MaxDeliver bounds the weight of what is proposed of an outbox at a time, but for the last item.
const MaxDeliver = 256 << 10

// Deliver brings revocations from an outbox into the log. They are numbered from First on; what
// was delivered before is passed over, so that it may be proposed as often as need be. One that
// is refused keeps none of the others back. At most MaxRevocations.
type Deliver struct {
	Outbox OutboxID `cbor:"1,keyasint"`
	First  uint64   `cbor:"2,keyasint"`
	Items  []Taken  `cbor:"3,keyasint"`
}

// Refusal says why one item of a Deliver was not done, or was done and its request refused.
type Refusal struct {
	Number    uint64    `cbor:"1,keyasint"`
	Rejection Rejection `cbor:"2,keyasint"`
}

// Delivered is how far an outbox has come into the log.
type Delivered struct {
	Outbox OutboxID `cbor:"1,keyasint"`
	// Through is the number of the last item, and Before that of the last before this change.
	Through uint64 `cbor:"2,keyasint"`
	Before  uint64 `cbor:"-"`
	// Refused are those items of this change whose requests are refused, and Kept until when those are kept
	// that were, from the one after Before on.
	Refused []Refusal `cbor:"-"`
	Kept    []Kept    `cbor:"-"`
}

// Kept is until when the log keeps a revocation, in milliseconds since 1970; zero if that was not
// told.
type Kept int64

const keptUntilLifted Kept = -1

// KeptUntil is the time, in which zero is until someone lifts the revocation.
func KeptUntil(t time.Time) Kept {
	if t.IsZero() {
		return keptUntilLifted
	}
	return Kept(t.UnixMilli())
}

// Until is the time, if it was told.
func (k Kept) Until() (t time.Time, told bool) {
	if k > 0 {
		t = time.UnixMilli(int64(k)).UTC()
	}
	return t, k != 0
}

// Accepted says what became of a revocation that was taken.
type Accepted struct {
	// Revision at which the log has it; zero while it is pending.
	Revision Revision
	// Kept is until when the log keeps it, if that was told.
	Kept Kept
	// Outbox and Number say where it was taken; zero if it went to the log at once.
	Outbox OutboxID
	Number uint64
}

// Standing is a revocation as one node has it: in the log, or, while it is pending, in the outbox
// of a node.
type Standing struct {
	Revocation Revocation
	Accepted   Accepted
	// Node is whose outbox it is in; empty if the log has it.
	Node string
}
