package broadcast_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"veto/replication/broadcast"
)

// reading is a node that has taken one event, and reads on.
func reading(t *testing.T) (*events, func(config string)) {
	t.Helper()
	e, server := ofUser(t)
	e.publish("first", "")
	e.take(func(context.Context, broadcast.Arrived, int) error { return nil })
	e.awaitBody("first")
	e.settled(1)
	e.says("the stream of events is read")
	return e, func(config string) {
		server.Kill()
		e.says("is lost")
		server.Configure(config)
		server.Run()
	}
}

// awaitBody waits until a message has come with that body, whatever comes again before it.
func (e *events) awaitBody(body string) {
	e.Helper()
	for {
		e.await(1)
		e.mu.Lock()
		has := slices.ContainsFunc(e.seen, func(a broadcast.Arrived) bool { return string(a.Body) == body })
		e.mu.Unlock()
		if has {
			return
		}
	}
}

// forget empties the log, so that what is waited for is said anew.
func (l *locked) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// goesOn waits until one more event was taken.
func (e *events) goesOn() {
	e.Helper()
	e.publish("second", "")
	e.awaitBody("second")
}

// P19
func TestReadingGoesOnWhenTheServerIsBack(t *testing.T) {
	const token = `authorization: {token: "s3cret"}`
	t.Run("as it was", func(t *testing.T) {
		e, restart := reading(t)
		if !e.node.Stats().Reading {
			t.Error("it does not say that it reads")
		}
		e.log.forget()
		restart(token)
		e.says("the stream of events is read")
		e.goesOn()
	})
	t.Run("without the consumer", func(t *testing.T) { // nobody hears what is asked
		e, restart := reading(t)
		e.log.forget()
		restart(token)
		for err := errors.New("not yet"); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound); { // before the node is there again, as a rule
			if err = e.js.DeleteConsumer(e.ctx, "EVENTS", "veto"); e.ctx.Err() != nil {
				t.Fatal(err)
			}
		}
		e.goesOn()
		e.says("the consumer was not there")
	})
	t.Run("and lets nobody in for a while", func(t *testing.T) {
		e, restart := reading(t)
		e.log.forget()
		restart(`authorization: {token: "another"}`)
		e.says("trying again")
		if e.node.Stats().Reading {
			t.Error("it says that it reads")
		}
		if err := os.WriteFile(e.stream.TokenFile, []byte("another"), 0o600); err != nil {
			t.Fatal(err)
		}
		e.says("the stream of events is read")
		conn, err := nats.Connect(e.stream.URL, nats.Token("another"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := errors.Join(conn.Publish("events.revoke", []byte("second")), conn.Flush()); err != nil {
			t.Fatal(err)
		}
		e.awaitBody("second")
	})
}

// P19
func TestReadingGoesOnWhenSomebodyDeletes(t *testing.T) {
	t.Run("the consumer", func(t *testing.T) {
		e, _ := reading(t)
		if err := e.js.DeleteConsumer(e.ctx, "EVENTS", "veto"); err != nil {
			t.Fatal(err)
		}
		e.goesOn()
		e.says("the consumer was not there")
	})
	t.Run("the stream", func(t *testing.T) {
		e, _ := reading(t)
		if err := e.js.DeleteStream(e.ctx, "EVENTS"); err != nil {
			t.Fatal(err)
		}
		e.says("stream not found")
		if _, err := e.js.CreateStream(e.ctx, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
			t.Fatal(err)
		}
		e.goesOn()
		e.mu.Lock()
		defer e.mu.Unlock()
		if a, b := e.seen[0], e.seen[1]; a.Place != b.Place || !a.Stored.Before(b.Stored) {
			t.Errorf("the first of two streams cannot be told apart: %+v %+v", a, b)
		}
	})
}

// P15: the letters of a stream that was made anew are others than those of the one before.
func TestDeadLettersOfAStreamMadeAnew(t *testing.T) {
	e, _ := ofUser(t)
	e.take(func(context.Context, broadcast.Arrived, int) error { return &broadcast.Refused{Code: "invalid"} })
	for n := range 2 {
		e.publish("bad", "")
		e.await(1)
		e.settled(1)
		dead, err := e.js.Stream(e.ctx, "DEAD")
		if err != nil {
			t.Fatal(err)
		}
		if got := dead.CachedInfo().State.Msgs; got != uint64(n+1) {
			t.Fatalf("%d letters of %d events that were refused", got, n+1)
		}
		if err := e.js.DeleteStream(e.ctx, "EVENTS"); err != nil {
			t.Fatal(err)
		}
		if _, err := e.js.CreateStream(e.ctx, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
			t.Fatal(err)
		}
	}
}

// P19: what a publisher writes is no word of the server, and stops nobody's events.
func TestMessagesThatLookLikeTheServers(t *testing.T) {
	both(t, func(e *events) {
		for _, status := range []string{"100", "408", "409", "503"} {
			for range broadcast.MaxTaking {
				e.publishMsg(&nats.Msg{Header: nats.Header{"Status": {status}, "Description": {"Consumer Deleted"}}})
			}
		}
		e.take(func(_ context.Context, a broadcast.Arrived, _ int) error {
			if len(a.Body) == 0 {
				return &broadcast.Refused{Code: "bad_request"}
			}
			return nil
		})
		e.await(4 * broadcast.MaxTaking)
		e.publish("good", "")
		e.awaitBody("good")
		e.settled(4*broadcast.MaxTaking + 1)
		if s := e.node.Stats(); s.Buried != 4*broadcast.MaxTaking || strings.Contains(e.log.String(), "trying again") {
			t.Errorf("%+v %s", s, e.log)
		}
	})
}

// P19: a consumer that lets less be asked for at once, or for less long, is read none the less.
func TestConsumerThatAllowsLittle(t *testing.T) {
	e, _ := ofUser(t)
	if _, err := e.js.CreateConsumer(e.ctx, "EVENTS", jetstream.ConsumerConfig{
		Durable: "veto", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: -1, MaxRequestBatch: 2, MaxRequestExpires: 100 * time.Millisecond,
	}); err != nil {
		t.Fatal(err)
	}
	e.take(func(context.Context, broadcast.Arrived, int) error { return nil })
	e.says("the stream of events is read") // the first request is over
	for range 5 {
		e.publish("x", "")
	}
	e.await(5)
	e.settled(5)
}
