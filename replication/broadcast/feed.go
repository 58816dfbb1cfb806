package broadcast

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"veto/record"
)

// revoked is a message of the feed veto.revoked.<target>.
type revoked struct {
	ID        string          `json:"id"`
	Target    record.Target   `json:"target"`
	Issuer    string          `json:"issuer,omitempty"`
	Value     string          `json:"value,omitempty"`
	NotBefore time.Time       `json:"not_before,omitzero"`
	Reason    string          `json:"reason,omitempty"`
	At        time.Time       `json:"at"`
	KeptUntil time.Time       `json:"kept_until,omitzero"`
	Revision  record.Revision `json:"revision"`
	// Previous is the revision of the message before this one on the feed. A subscriber
	// that has not seen it has missed something.
	Previous record.Revision `json:"previous_revision"`
}

// keyChanged is a message of the feed veto.key.<action>.
type keyChanged struct {
	record.APIKey
	Previous record.Revision `json:"previous_revision"`
}

// Revoked tells other systems of a committed revocation. Previous is the revision of the
// feed's message before. It does not block.
func (b *Broadcast) Revoked(id string, r record.Revocation, previous record.Revision) {
	b.toPublic("veto.revoked."+r.Target.String(), r.Revision, id, revoked{
		ID: id, Target: r.Target, Issuer: r.Issuer, Value: r.Value, NotBefore: r.NotBefore,
		Reason: r.Reason, At: r.At, KeptUntil: r.KeptUntil, Revision: r.Revision, Previous: previous,
	})
}

// Key tells other systems of a committed change of an API key: created, updated or deleted.
func (b *Broadcast) Key(action string, k record.APIKey, previous record.Revision) {
	b.toPublic("veto.key."+action, k.Revision, k.ID, keyChanged{k, previous})
}

func (b *Broadcast) toPublic(subject string, r record.Revision, id string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		b.log.Error("a message of the feed cannot be written", "subject", subject, "error", err)
		return
	}
	m := nats.NewMsg(subject)
	m.Header.Set(nats.MsgIdHdr, strconv.FormatUint(uint64(r), 10)+"-"+id)
	m.Data = data
	select {
	case b.queue <- m:
	default:
		b.counts.dropped.Add(1)
	}
}

// publish empties the queue until Close, and then once more.
func (b *Broadcast) publish() {
	send := func(m *nats.Msg) {
		if err := b.public.PublishMsg(m); err != nil {
			b.counts.dropped.Add(1)
		}
	}
	for {
		select {
		case m := <-b.queue:
			send(m)
		case <-b.stop:
			for {
				select {
				case m := <-b.queue:
					send(m)
				default:
					_ = b.public.FlushTimeout(time.Second) // best effort, as all of the feed
					return
				}
			}
		}
	}
}
