package simulation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"veto/node/intake"
	"veto/record"
	"veto/record/event"
	"veto/test/history"
)

// messages are those of a stream of JetStream, as replication/broadcast gives them to nodes: each comes until it was
// taken, and again if that is lost; to whatever node.
type messages struct {
	mu  sync.Mutex
	all []*message
}

// message asks for a revocation.
type message struct {
	place string
	body  []byte
	one   *credential

	mu    sync.Mutex
	begun int64 // when it first came, by the history's clock
	tries uint64
	open  int // tries that have not ended well
	taken bool
}

const takeFor = 3 * time.Second

func (c client) newMessage() *message {
	n := c.made.Add(1)
	one := c.newToken(c.id)
	one.mu.Lock()
	one.stuck, one.name = true, *one.jti() // its owner knows once it was taken
	one.mu.Unlock()
	text := fmt.Sprintf(`{"target":"jti","issuer":%q,"value":%q}`, issuer, one.name.Value)
	if c.random.IntN(2) == 0 {
		text = fmt.Sprintf(`{"specversion":"1.0","id":"m%d","source":"test","type":"gone","data":%s}`, n, text)
	}
	m := &message{place: fmt.Sprint("events/", n), body: []byte(text), one: one}
	c.messages.mu.Lock()
	defer c.messages.mu.Unlock()
	c.messages.all = append(c.messages.all, m)
	return m
}

// deliver brings a message to a node: a new one, or one that came before.
func (c client) deliver(node int) {
	c.messages.mu.Lock()
	all := c.messages.all
	c.messages.mu.Unlock()
	if len(all) == 0 || c.random.IntN(3) == 0 {
		c.take(node, c.newMessage())
		return
	}
	m := all[len(all)-1-c.random.IntN(min(len(all), 8))]
	c.take(node, m)
	m.mu.Lock()
	taken := m.taken
	m.mu.Unlock()
	if taken && m.one.owner == c.id && !c.plan.clocks && c.random.IntN(2) == 0 {
		c.toggle(node, m.one)
	}
}

// take has a node take the message, as Node.takeEvent does, and tells whether it did.
func (c client) take(node int, m *message) (taken bool) {
	c.touch(m.one)
	c.with(node, takeFor+time.Second, func(ctx context.Context, n *incarnation) {
		m.mu.Lock()
		if m.begun == 0 {
			m.begun = c.order()
		}
		m.tries++
		begun, tries := m.begun, m.tries
		m.mu.Unlock()
		if _, err := n.intake.Authority(adminKey); err != nil {
			return // the node does not know of the key yet
		}
		if !c.tries(ctx, n, m) {
			return
		}
		err := n.intake.TakeEvent(ctx, intake.Event{Key: adminKey, Place: m.place, Body: m.body}, takeFor)
		if n.dead.Load() {
			return
		}
		if err != nil {
			c.tally.saw("take an event", "later")
			if code, detail, final := intake.Final(err, tries); final {
				c.wrong("event %s could be done, and is put aside: %s, %s", m.place, code, detail)
			}
			return
		}
		c.tally.saw("take an event", "done")
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open--
		if taken = true; !m.taken {
			m.taken = true
			c.known(m.one, n.number, begun, 0, m.open == 0)
		}
	})
	return taken
}

// tries notes a try, which may leave the revocation in the node's outbox, and have it denied until it is in the log, however it
// ends: so what is tried elsewhere as well is not lifted. A node that knows that it was taken leaves nothing.
func (c client) tries(ctx context.Context, n *incarnation, m *message) bool {
	latest := record.Revision(c.latest.Load())
	m.mu.Lock()
	taken := m.taken
	m.open++
	m.mu.Unlock()
	return !taken || n.view.AwaitRevision(ctx, latest) == nil
}

// known notes that a credential was revoked, by the log, since it was first asked for, and whether it may be lifted.
func (c client) known(one *credential, node int, begun int64, r record.Revision, alone bool) {
	q := history.Question{Credential: one.number, Do: history.Revoke, Node: node}
	c.note(q, history.Answer{}, begun)
	one.mu.Lock()
	one.stuck, one.revoked = !alone, true
	one.mu.Unlock()
	c.promised(one, q, history.Answer{Revision: r})
}

// endMessages has each message taken, once all is mended.
func (s *simulation) endMessages() {
	c := client{s, -1, s.random}
	for _, m := range s.messages.all {
		for until := time.Now().Add(settleIn); !c.take(s.random.IntN(nodes), m); s.pause(100 * time.Millisecond) {
			if time.Now().After(until) {
				s.wrong("event %s is not taken in %s, though all is mended", m.place, settleIn)
				return
			}
		}
	}
}

// happening is an event as other systems are told of it, but for the record.
type happening struct {
	ID       event.ID
	Sequence uint64
	Previous record.Revision
	Type     event.Type
	Key      string
	Digest   record.Digest
}

func happeningOf(f *event.Fact) happening {
	return happening{f.ID, f.Sequence, f.Previous, f.Type(), f.Item.Key, f.Item.Ref.Digest}
}

// heard is what subscribers of the feeds were told, whoever led.
type heard struct {
	mu  sync.Mutex
	all map[event.ID]happening
}

func (s *simulation) hear(all []happening) {
	s.heard.mu.Lock()
	defer s.heard.mu.Unlock()
	for _, h := range all {
		if was, ok := s.heard.all[h.ID]; ok && was != h {
			s.wrong("subscribers were told %+v and %+v", was, h)
		}
		s.heard.all[h.ID] = h
	}
}
