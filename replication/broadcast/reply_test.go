package broadcast_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"veto/record"
	"veto/replication/broadcast"
	"veto/test/said"
)

// victims listen where somebody else might have answers go.
type victims struct {
	*testing.T
	nodes []*node
	heard map[string]*nats.Subscription
	conns []*nats.Conn
}

// listen has clients of two grants at each node hear the feeds, and an inbox whose whole name others know.
func listen(t *testing.T, nodes ...*node) *victims {
	t.Helper()
	v := &victims{T: t, nodes: nodes, heard: map[string]*nats.Subscription{}}
	for i, n := range nodes {
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
				v.heard[token+" at "+string('1'+rune(i))+" hears "+subject] = s
			}
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
	a := newAuthority(t)
	one, two := answering(t, "one", a, nil), answering(t, "two", a, nil)
	meet(t, one, two)
	begun := make(chan struct{}, 100)
	stop := answer(t, one.Broadcast, begun)
	hears(t, one, two) // and so it knows who answers
	v := listen(t, one, two)
	v.hear()
	for len(begun) > 0 {
		<-begun
	}
	for _, n := range []*node{one, two} {
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
	}
	stop() // all is answered
	defer answer(t, one.Broadcast, begun)()
	hears(t, one, two)
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

// P13: routes change, and who is cut off by that comes again, is answered, and hears the feeds, as before.
func TestClientsComeBackWhenRoutesChange(t *testing.T) {
	a := newAuthority(t)
	one, two := answering(t, "one", a, nil), answering(t, "two", a, echo("two"))
	join(t, one, two)
	hears(t, two, one)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	clients := map[*nats.Conn]*nats.Subscription{}
	names := map[*nats.Conn]string{}
	for i := range 8 {
		token := []string{"alice", "carol"}[i%2]
		c, err := nats.Connect("nats://"+one.ClientAddr(), nats.Token(token), nats.CustomInboxPrefix(broadcast.InboxOf("key_"+token)), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		if clients[c], err = c.SubscribeSync("veto.revoked.>"); err != nil {
			t.Fatal(err)
		}
		names[c] = "key_" + token
	}
	for port := range 3 {
		// Nobody is there; but routes are others than before.
		if err := one.SetRoutes([]string{two.RouteAddr(), net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1))}); err != nil {
			t.Fatal(err)
		}
		for c, feed := range clients {
			m, err := c.Request(broadcast.SubjectRevoke, nil, 200*time.Millisecond)
			for ; err != nil && ctx.Err() == nil; m, err = c.Request(broadcast.SubjectRevoke, nil, 200*time.Millisecond) {
			}
			if err != nil || string(m.Data) != "two: "+names[c]+"  " {
				t.Fatalf("%s is not answered: %v", names[c], err)
			}
			heard := func() bool { _, err := feed.NextMsg(100 * time.Millisecond); return err == nil }
			for two.Tell("cluster", facts(8)); !heard(); two.Tell("cluster", facts(8)) {
				if ctx.Err() != nil {
					t.Fatal("a feed is not heard")
				}
			}
		}
	}
}

// knocking is a client that is let in.
type knocking struct {
	server.ClientAuthentication
	registered func(*server.User)
}

func (k knocking) GetOpts() *server.ClientOpts    { return &server.ClientOpts{Token: "alice"} }
func (k knocking) GetID() uint64                  { return 1 << 60 }
func (k knocking) RegisterUser(user *server.User) { k.registered(user) }

// P13: a client is not left in an account that has gone while it was let in.
func TestRoutesChangeAsAClientIsLetIn(t *testing.T) {
	n := answering(t, "one", newAuthority(t), nil)
	var into *server.Account
	times := 0
	in := n.Admit(knocking{registered: func(u *server.User) {
		into = u.Account
		if times++; times > 2 {
			return
		}
		if err := n.SetRoutes([]string{net.JoinHostPort("127.0.0.1", strconv.Itoa(times))}); err != nil {
			t.Fatal(err)
		}
		if n.Has(into) {
			t.Error("the server keeps accounts: nothing is shown")
		}
	}})
	if !in || !n.Has(into) {
		t.Errorf("let in %t, to %s", in, into)
	}
}

// P17: other nodes know nothing of the clients of one, and do not speak of it.
func TestOtherNodesDoNotKnowTheClients(t *testing.T) {
	var log said.Output
	a := newAuthority(t)
	one := answering(t, "one", a, nil)
	two := startWith(t, "two", a.routes(t), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	join(t, one, two)
	hears(t, one, two)
	listen(t, one)
	hears(t, one, two)
	if text := log.String(); strings.Contains(text, "key_") || strings.Contains(text, "Unknown") {
		t.Error(text)
	}
}

// Clients of several grants, at several nodes, share a feed as one group.
func TestFeedIsSharedByAGroup(t *testing.T) {
	a := newAuthority(t)
	one, two := answering(t, "one", a, nil), answering(t, "two", a, nil)
	meet(t, one, two)
	heard := make(chan string, 1000)
	for _, n := range []*node{one, two} {
		for _, token := range []string{"alice", "carol"} {
			c, err := connect(n, token, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			_, err = c.QueueSubscribe("veto.revoked.*", "group", func(m *nats.Msg) { heard <- m.Header.Get(nats.MsgIdHdr) })
			if err = errors.Join(err, c.Flush()); err != nil {
				t.Fatal(err)
			}
		}
	}
	hears(t, two, one)
	limit := time.After(20 * time.Second)
	for probe := ""; probe == ""; { // the connection that tells may just be down, as routes changed
		one.Tell("cluster", facts(1))
		select {
		case probe = <-heard:
		case <-time.After(50 * time.Millisecond):
		case <-limit:
			t.Fatal("nothing is heard")
		}
	}
	const events = 50
	for i := range events {
		one.Tell("cluster", facts(record.Revision(i+8)))
	}
	seen := map[string]bool{}
	for len(seen) < events {
		select {
		case id := <-heard:
			if strings.HasSuffix(id, "/1.1") {
				continue
			}
			if seen[id] {
				t.Errorf("%s came twice", id)
			}
			seen[id] = true
		case <-time.After(10 * time.Second):
			t.Fatalf("%d came", len(seen))
		}
	}
}
