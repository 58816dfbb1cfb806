package broadcast_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"veto/replication/broadcast"
	"veto/test/natsproc"
)

// events is a node that takes the events of a stream, and a client that publishes them.
type events struct {
	*testing.T
	ctx        context.Context
	node       *broadcast.Broadcast
	stream     broadcast.Stream
	js         jetstream.JetStream // sees the stream from inside
	publishMsg func(*nats.Msg)
	log        *locked

	mu   sync.Mutex
	seen []broadcast.Arrived
	came chan struct{} // told of each
}

const deadLetter = "dead.events"

func newEvents(t *testing.T, j broadcast.JetStream) *events {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	e := &events{T: t, ctx: ctx, came: make(chan struct{}, 1000), log: &locked{}}
	var err error
	e.node, err = broadcast.Start(broadcast.Config{
		NodeID: "n1", ClientAddr: "127.0.0.1:0", Random: rand.Reader,
		Authorize: func(token string) (broadcast.Grant, bool) {
			return broadcast.Grant{Name: "key_" + token, Publish: []string{broadcast.SubjectRevoke, broadcast.EventsOf("key_" + token)}, Subscribe: []string{broadcast.InboxOf("key_"+token) + ".>"}}, true
		},
		JetStream: j, Log: slog.New(slog.NewTextHandler(e.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.node.Close)
	return e
}

type locked struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// ofUser has the stream on a server of the user's, in a process of its own.
func ofUser(t *testing.T) (*events, *natsproc.Server) {
	t.Helper()
	server := natsproc.Start(t, `authorization: {token: "s3cret"}`)
	e := newEvents(t, broadcast.JetStream{})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.stream = broadcast.Stream{URL: server.URL, TokenFile: file, Name: "EVENTS", Durable: "veto", DeadLetter: deadLetter, AckWait: time.Second}
	conn, err := nats.Connect(server.URL, nats.Token("s3cret"), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	e.js, err = jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{"EVENTS": "events.>", "DEAD": deadLetter} {
		if _, err := e.js.CreateStream(e.ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	e.publishMsg = e.publisher(e.js, "events.revoke")
	return e, server
}

// ofNode has the stream on the node's own server.
func ofNode(t *testing.T) *events {
	t.Helper()
	e := newEvents(t, broadcast.JetStream{Dir: t.TempDir(), MaxBytes: 64 << 20, Stream: "EVENTS", DeadLetter: deadLetter})
	e.stream = broadcast.Stream{Name: "EVENTS", Durable: "veto", DeadLetter: deadLetter, AckWait: time.Second}
	of := func(conn *nats.Conn, err error) jetstream.JetStream {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	e.js = of(e.node.Inside())
	alice := of(nats.Connect("nats://"+e.node.ClientAddr(), nats.Token("alice"), nats.CustomInboxPrefix(broadcast.InboxOf("key_alice"))))
	e.publishMsg = e.publisher(alice, broadcast.EventsOf("key_alice"))
	return e
}

func (e *events) publisher(js jetstream.JetStream, subject string) func(*nats.Msg) {
	return func(m *nats.Msg) {
		e.Helper()
		m.Subject = subject
		if _, err := js.PublishMsg(e.ctx, m); err != nil {
			e.Fatal(err)
		}
	}
}

func (e *events) publish(body, id string) {
	e.Helper()
	m := &nats.Msg{Data: []byte(body)}
	if id != "" {
		m.Header = nats.Header{nats.MsgIdHdr: {id}}
	}
	e.publishMsg(m)
}

// both runs a test on a server of the user's and on the node's own.
func both(t *testing.T, test func(*events)) {
	t.Helper()
	t.Run("process", func(t *testing.T) { e, _ := ofUser(t); test(e) })
	t.Run("embedded", func(t *testing.T) { test(ofNode(t)) })
}

// take begins to take, until the function that it returns was called and has ended it.
func (e *events) take(f func(ctx context.Context, a broadcast.Arrived, times int) error) (end func()) {
	ctx, cancel := context.WithCancel(e.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.node.Consume(ctx, e.stream, func(ctx context.Context, a broadcast.Arrived) error {
			e.mu.Lock()
			times := 1
			for _, s := range e.seen {
				if s.Place == a.Place {
					times++
				}
			}
			e.seen = append(e.seen, a)
			e.mu.Unlock()
			e.came <- struct{}{}
			return f(ctx, a, times)
		})
	}()
	end = sync.OnceFunc(func() { cancel(); <-done })
	e.Cleanup(end)
	return end
}

func (e *events) await(n int) {
	e.Helper()
	for range n {
		select {
		case <-e.came:
		case <-e.ctx.Done():
			e.Fatalf("nothing came; %s", e.state())
		}
	}
}

// state is what tells why nothing comes, when the time of the test is over.
func (e *events) state() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 5*time.Second)
	defer cancel()
	c, err := e.js.Consumer(ctx, e.stream.Name, e.stream.Durable)
	consumer := fmt.Sprint(err)
	if err == nil {
		i := c.CachedInfo()
		consumer = fmt.Sprintf("delivered %+v, acknowledged %+v, %d to be, %d again, %d requests wait, %d messages do", i.Delivered, i.AckFloor, i.NumAckPending, i.NumRedelivered, i.NumWaiting, i.NumPending)
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return fmt.Sprintf("%d have come; %+v\nconsumer: %s\n%s\n%s", len(e.seen), e.node.Stats(), consumer, e.log, stacks)
}

// settled waits until the consumer has the given number of messages acknowledged.
func (e *events) settled(floor uint64) *jetstream.ConsumerInfo {
	e.Helper()
	for {
		c, err := e.js.Consumer(e.ctx, e.stream.Name, e.stream.Durable)
		if err == nil {
			info, err := c.Info(e.ctx)
			if err == nil && info.AckFloor.Stream >= floor && info.NumAckPending == 0 {
				return info
			}
		}
		select {
		case <-e.ctx.Done():
			e.Fatalf("not acknowledged up to %d: %v", floor, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// P14
func TestEventsAreTaken(t *testing.T) {
	both(t, func(e *events) {
		for i := range 100 {
			e.publish(fmt.Sprint("body ", i), fmt.Sprint("id-", i))
		}
		e.take(func(context.Context, broadcast.Arrived, int) error { return nil })
		e.await(100)
		e.settled(100)
		e.mu.Lock()
		defer e.mu.Unlock()
		places := map[string]bool{}
		for _, a := range e.seen {
			if string(a.Body) != "body "+strings.TrimPrefix(a.MessageID, "id-") || !strings.HasPrefix(a.Place, "EVENTS/") || places[a.Place] {
				e.Errorf("%+v %s", a, a.Body)
			}
			places[a.Place] = true
		}
		if got := e.node.Stats().Taken; got != 100 {
			e.Errorf("%d are counted", got)
		}
	})
}

// P14
func TestNotAcknowledgedBeforeItIsDone(t *testing.T) {
	both(t, func(e *events) {
		e.stream.AckWait = time.Minute
		committed := make(chan struct{})
		e.publish("x", "")
		e.take(func(context.Context, broadcast.Arrived, int) error { <-committed; return nil })
		e.await(1)
		c, err := e.js.Consumer(e.ctx, "EVENTS", "veto")
		if err != nil {
			e.Fatal(err)
		}
		if info, err := c.Info(e.ctx); err != nil || info.NumAckPending != 1 || info.AckFloor.Stream != 0 {
			e.Errorf("%+v %v", info, err)
		}
		close(committed)
		e.settled(1)
	})
}

// P14: what was taken, and not acknowledged, comes again with the same name: to the next node, or
// when the server is back.
func TestLostBeforeItIsAcknowledged(t *testing.T) {
	t.Run("node", func(t *testing.T) {
		e, _ := ofUser(t)
		e.publish("x", "id")
		var end func()
		gone := make(chan struct{})
		end = e.take(func(ctx context.Context, _ broadcast.Arrived, _ int) error {
			<-ctx.Done() // it is done, and nobody hears of it
			close(gone)
			return nil
		})
		e.await(1)
		end()
		<-gone
		e.take(func(context.Context, broadcast.Arrived, int) error { return nil })
		e.await(1)
		e.settled(1)
		e.same("id", 2)
	})
	t.Run("server", func(t *testing.T) {
		e, server := ofUser(t)
		e.publish("x", "id")
		e.take(func(_ context.Context, _ broadcast.Arrived, times int) error {
			if times == 1 {
				server.Kill()
			}
			return nil
		})
		e.await(1)
		e.says("taken and not acknowledged") // and is not later, when the server is back
		server.Run()
		e.await(1)
		e.settled(1)
		e.same("id", 2)
	})
}

// says waits until the node has said this in its log.
func (e *events) says(what string) {
	e.Helper()
	for !strings.Contains(e.log.String(), what) {
		select {
		case <-e.ctx.Done():
			e.Fatalf("nobody said %q; %s", what, e.state())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (e *events) same(id string, times int) {
	e.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) != times {
		e.Errorf("taken %d times", len(e.seen))
	}
	for _, a := range e.seen {
		if a.MessageID != id || a.Place != e.seen[0].Place {
			e.Errorf("%+v", a)
		}
	}
}

// P15
func TestDeadLetters(t *testing.T) {
	both(t, func(e *events) {
		e.publish("bad", "id")
		e.publish("good", "")
		e.take(func(_ context.Context, a broadcast.Arrived, _ int) error {
			if string(a.Body) == "bad" {
				return fmt.Errorf("taking it: %w", &broadcast.Refused{Code: "invalid", Detail: "this is\nno request"})
			}
			return nil
		})
		e.await(2)
		e.settled(2)
		name := "DEAD"
		if e.stream.URL == "" {
			name = "EVENTS_DEAD"
		}
		letters, err := e.js.Stream(e.ctx, name)
		if err != nil {
			e.Fatal(err)
		}
		letter, err := letters.GetMsg(e.ctx, 1)
		if err != nil {
			e.Fatal(err)
		}
		h := letter.Header
		if string(letter.Data) != "bad" || h.Get("Veto-Code") != "invalid" || h.Get("Veto-Reason") != "this is no request" || h.Get("Veto-Event") != "EVENTS/1" || h.Get("Veto-Subject") == "" {
			e.Errorf("%s %v", letter.Data, h)
		}
		if s := e.node.Stats(); s.Taken != 1 || s.Buried != 1 {
			e.Errorf("%+v", s)
		}
	})
}

// P15: a letter that nobody keeps is no letter.
func TestDeadLetterIsKeptFirst(t *testing.T) {
	e, _ := ofUser(t)
	e.stream.DeadLetter = "nowhere"
	e.publish("bad", "")
	e.take(func(context.Context, broadcast.Arrived, int) error { return &broadcast.Refused{Code: "invalid"} })
	e.await(2)
	if _, err := e.js.CreateStream(e.ctx, jetstream.StreamConfig{Name: "NOWHERE", Subjects: []string{"nowhere"}}); err != nil {
		t.Fatal(err)
	}
	e.settled(1)
	if info, err := e.js.Stream(e.ctx, "NOWHERE"); err != nil || info.CachedInfo().State.Msgs != 1 {
		t.Errorf("%v", err)
	}
}

// P14
func TestLaterComesAgain(t *testing.T) {
	both(t, func(e *events) {
		e.publish("x", "")
		e.take(func(_ context.Context, _ broadcast.Arrived, times int) error {
			if times < 3 {
				return &broadcast.Later{Err: errors.New("no quorum")}
			}
			return nil
		})
		e.await(3)
		e.settled(1)
		if s := e.node.Stats(); s.Taken != 1 || s.Buried != 0 {
			e.Errorf("%+v", s)
		}
	})
}

// P14: a consumer that would lose events is not used.
func TestConsumerThatWouldLoseEvents(t *testing.T) {
	e, _ := ofUser(t)
	if _, err := e.js.CreateConsumer(e.ctx, "EVENTS", jetstream.ConsumerConfig{Durable: "veto", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3}); err != nil {
		t.Fatal(err)
	}
	e.publish("x", "")
	e.take(func(context.Context, broadcast.Arrived, int) error { return nil })
	for !strings.Contains(e.log.String(), "deliver without a bound") {
		select {
		case <-e.came:
			t.Fatal("it is used")
		case <-e.ctx.Done():
			t.Fatal("nobody said why")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := e.js.DeleteConsumer(e.ctx, "EVENTS", "veto"); err != nil { // then it makes its own
		t.Fatal(err)
	}
	e.await(1)
	info := e.settled(1)
	if info.Config.MaxDeliver != -1 || info.Config.AckPolicy != jetstream.AckExplicitPolicy || info.Config.MaxAckPending != 256 {
		t.Errorf("%+v", info.Config)
	}
}

// Nobody but the node itself reaches what JetStream can do, and each publishes in its own name.
func TestPublishersStayApart(t *testing.T) {
	e := ofNode(t)
	bad := make(chan error, 10)
	c, err := connectWith(e.node, "bob", bad)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, subject := range []string{broadcast.EventsOf("key_alice"), broadcast.SubjectEvents, "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.CONSUMER.DELETE.EVENTS.veto", "$JS.ACK.EVENTS.veto.1.1.1.1.1"} {
		if err := errors.Join(c.Publish(subject, []byte("x")), c.Flush()); err != nil {
			t.Fatal(err)
		}
		if err := <-bad; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", subject, err)
		}
	}
	// An event may hold a token. It reaches the node, and nobody who may hear answers.
	heard, err := c.SubscribeSync(broadcast.InboxOf("key_bob") + ".>")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	e.publish("with a token", "")
	e.take(func(context.Context, broadcast.Arrived, int) error { return nil })
	e.await(1)
	e.settled(1)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := heard.NextMsg(10 * time.Millisecond)
		if err != nil {
			break
		}
		if strings.Contains(string(m.Data), "with a token") {
			t.Error("an event was heard by another client")
		}
	}
}
