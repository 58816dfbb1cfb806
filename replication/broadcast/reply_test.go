package broadcast_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"veto/record"
	"veto/replication/broadcast"
)

// victims listen where somebody else might have answers go.
type victims struct {
	*testing.T
	heard map[string]*nats.Subscription
	conns []*nats.Conn
}

// listen has clients of two grants hear the feeds, and an inbox whose whole name others know.
func listen(t *testing.T, n *broadcast.Broadcast) *victims {
	t.Helper()
	v := &victims{T: t, heard: map[string]*nats.Subscription{}}
	for _, token := range []string{"alice", "carol"} {
		c, err := connect(n, token, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		v.conns = append(v.conns, c)
		for _, subject := range []string{"veto.revoked.>", broadcast.InboxOf("key_"+token) + ".known"} {
			s, err := c.SubscribeSync(subject)
			if err = errors.Join(err, c.Flush()); err != nil {
				t.Fatal(err)
			}
			v.heard[token+" hears "+subject] = s
		}
	}
	return v
}

// hear fails if anything came before what each asks now is answered.
func (v *victims) hear() {
	v.Helper()
	for _, c := range v.conns {
		if _, err := c.Request(broadcast.SubjectRevoke, []byte("mine"), 10*time.Second); err != nil {
			v.Fatal(err)
		}
	}
	for who, s := range v.heard {
		for n, _, _ := s.Pending(); n > 0; n-- {
			m, err := s.NextMsg(time.Second)
			if err != nil {
				v.Fatal(err)
			}
			v.Errorf("%s: %s on %s", who, m.Data, m.Subject)
		}
	}
}

// answer has requests answered, and says of each that it has come. When stop returns, all are.
func answer(t *testing.T, b *broadcast.Broadcast, begun chan<- struct{}) (stop func()) {
	t.Helper()
	stop, err := b.Answer(func(context.Context, broadcast.Request) []byte {
		begun <- struct{}{}
		return []byte(`{"seq":100}`) // to a stream that is to be purged it means: up to there
	})
	if err != nil {
		t.Fatal(err)
	}
	return stop
}

// P13: whatever subject a client names for the answer, nobody else hears it: not on the feeds, and not in an inbox.
func TestAnswersGoToNobodyElse(t *testing.T) {
	n := asked(t, nil)
	begun := make(chan struct{}, 100)
	stop := answer(t, n, begun)
	v := listen(t, n)
	v.hear()
	for len(begun) > 0 {
		<-begun
	}
	bob, err := connect(n, "bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bob.Close)
	for _, reply := range []string{
		"veto.revoked.jti", broadcast.InboxOf("key_alice") + ".known", broadcast.InboxOf("key_carol") + ".known",
	} {
		if err := errors.Join(bob.PublishRequest(broadcast.SubjectRevoke, reply, nil), bob.Flush()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-begun:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody is asked")
		}
	}
	stop() // all is answered
	defer answer(t, n, begun)()
	v.hear()
}

// P13, P16: an answer is no event in another's name, and no word to the stream.
func TestAnswersAreNoEvents(t *testing.T) {
	e := ofNode(t)
	e.stream.AckWait = time.Minute
	begun := make(chan struct{}, 100)
	stop := answer(t, e.node, begun)
	e.publish("first", "")
	taken := make(chan struct{})
	e.take(func(ctx context.Context, _ broadcast.Arrived, _ int) error {
		select {
		case <-taken:
		case <-ctx.Done():
		}
		return nil
	})
	e.await(1)
	bob, err := nats.Connect("nats://"+e.node.ClientAddr(), nats.Token("bob"), nats.CustomInboxPrefix(broadcast.InboxOf("key_bob")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bob.Close)
	const mine = "veto.events.key_bob"
	replies := []string{
		broadcast.EventsOf("key_alice"), "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.CONSUMER.DELETE.EVENTS.veto", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.veto",
	}
	for _, reply := range replies {
		if err := errors.Join(bob.PublishRequest(broadcast.SubjectRevoke, reply, nil), bob.PublishRequest(mine, reply, []byte("an event"))); err != nil {
			t.Fatal(err)
		}
		select {
		case <-begun:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody is asked")
		}
	}
	stop()
	defer answer(t, e.node, begun)()
	for _, subject := range []string{broadcast.SubjectRevoke, mine} { // what is asked now is answered after all that
		if _, err := bob.Request(subject, nil, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	e.publish("last", "")
	stream, err := e.js.Stream(e.ctx, "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(e.ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	if s := info.State.Subjects; info.State.FirstSeq != 1 || s[broadcast.EventsOf("key_alice")] != 2 || s[mine] != uint64(len(replies)+1) {
		t.Errorf("%+v", info.State)
	}
	c, err := e.js.Consumer(e.ctx, "EVENTS", "veto")
	if err != nil {
		t.Fatal(err)
	}
	if i := c.CachedInfo(); i.AckFloor.Stream != 0 {
		t.Errorf("%+v", i)
	}
	close(taken)
	e.settled(info.State.LastSeq)
}

// Clients of several grants share a node's feed as one group.
func TestFeedIsSharedByAGroup(t *testing.T) {
	n := asked(t, nil)
	heard := make(chan string, 1000)
	for i := range 4 {
		c, err := connect(n, []string{"alice", "carol"}[i%2], nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		_, err = c.QueueSubscribe("veto.revoked.*", "group", func(m *nats.Msg) { heard <- m.Header.Get(nats.MsgIdHdr) })
		if err = errors.Join(err, c.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	const events = 50
	for i := range events {
		n.Tell("cluster", slices.Values(facts(record.Revision(i+8))))
	}
	seen := map[string]bool{}
	for len(seen) < events {
		select {
		case id := <-heard:
			if seen[id] {
				t.Errorf("%s came twice", id)
			}
			seen[id] = true
		case <-time.After(10 * time.Second):
			t.Fatalf("%d came", len(seen))
		}
	}
}
