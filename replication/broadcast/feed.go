package broadcast

import (
	"encoding/json"
	"iter"
	"time"

	"github.com/nats-io/nats.go"

	"veto/record/event"
)

// told is one event on its way to other systems. It is written down only when it is sent, so that
// whoever tells of a change does not wait for that.
type told struct {
	cluster string
	fact    event.Fact
}

// Tell tells this node's clients what happened in the cluster, in that order. It does not block. What does
// not get there is missed: subscribers see that by the sequence, and ask a node for it.
func (b *Broadcast) Tell(cluster string, facts iter.Seq[event.Fact]) {
	heard, first, last := false, true, event.Fact{}
	for f := range facts {
		if first || !f.IsLike(&last) {
			heard, first, last = b.heard(f.Topic()), false, f
		}
		if !heard {
			continue
		}
		select {
		case b.queue <- told{cluster, f}:
		default:
			b.counts.dropped.Add(1)
		}
	}
}

func (b *Broadcast) send(t told) {
	e, err := t.fact.Event(t.cluster)
	if err != nil {
		b.log.Error("an event cannot be written", "event", t.fact.ID.String(), "error", err)
		return
	}
	m := nats.NewMsg(t.fact.Topic())
	m.Header.Set(nats.MsgIdHdr, e.Source+"/"+e.ID)
	m.Header.Set("Content-Type", event.ContentType)
	if m.Data, err = json.Marshal(e); err == nil {
		err = b.conn.PublishMsg(m)
	}
	if err != nil {
		b.counts.dropped.Add(1)
	}
}

// heard tells whether anyone listens at this node: to write an event down costs more than to apply what it tells of.
func (b *Broadcast) heard(subject string) bool { return b.gate.node.SubscriptionInterest(subject) }

// publish empties the queue until Close, and then once more.
func (b *Broadcast) publish() {
	for {
		select {
		case t := <-b.queue:
			b.send(t)
		case <-b.stop:
			for {
				select {
				case t := <-b.queue:
					b.send(t)
				default:
					_ = b.conn.FlushTimeout(time.Second) // best effort, as all of the feed
					return
				}
			}
		}
	}
}
