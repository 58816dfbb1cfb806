package broadcast_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"veto/record"
	"veto/replication/broadcast"
)

// P18: whoever tells does not wait for whoever sends, and what there is no room for is counted.
func TestFullFeedDrops(t *testing.T) {
	b := broadcast.Unsent(5)
	told := 0
	for range 9 {
		all := facts(7)
		b.Tell("c", all)
		told += len(all)
	}
	if b.Queued() != 5 || b.Dropped() != uint64(told-5) {
		t.Errorf("of %d, %d are queued and %d dropped", told, b.Queued(), b.Dropped())
	}
}

// P18: a node that does not come to its notices has as many as there is room for, hears all else meanwhile, and the next
// ones afterwards.
func TestNodeThatIsBehindHasRoom(t *testing.T) {
	nodes := together(t, "one", "two")
	one, two := nodes[0], nodes[1]
	sent := uint64(0)
	for two.Stats().Slow == 0 {
		if sent > 3*broadcast.QueueLength {
			t.Fatalf("%d are sent, nobody takes them in, and none is dropped", sent)
		}
		for range 1000 {
			sent++
			one.Notice(record.Notice{First: sent})
		}
		hearsMark(t, one, two, fmt.Sprint(sent))
	}
	more := uint64(5000)
	for range more {
		sent++
		one.Notice(record.Notice{First: sent})
	}
	hearsMark(t, one, two, fmt.Sprint(sent))
	got, last := 0, record.Notice{First: sent + 1}
	limit := time.After(time.Minute)
	for n := (record.Notice{}); n.First != last.First; {
		select {
		case n = <-two.notices:
			got++
		case <-time.After(100 * time.Millisecond):
			one.Notice(last)
		case <-limit:
			t.Fatal("it hears no more notices")
		}
	}
	if most := broadcast.QueueLength + cap(two.notices) + 3; got > most || got < broadcast.QueueLength {
		t.Errorf("of %d it has had %d, and there is room for %d", sent, got, most)
	}
}

// P18: of more events than are taken at once the others stay in the stream, and come when there is room.
func TestStreamWaitsForRoom(t *testing.T) {
	both(t, func(e *events) {
		held := make(chan struct{})
		const most = broadcast.MaxTaking
		for i := range most + 20 {
			e.publish(fmt.Sprint(i), "")
		}
		end := e.take(func(ctx context.Context, _ broadcast.Arrived, _ int) error {
			select {
			case <-held:
			case <-ctx.Done():
			}
			return nil
		})
		e.await(most)
		select {
		case <-e.came:
			t.Error("one more is taken than there is room for")
			e.came <- struct{}{}
		case <-time.After(300 * time.Millisecond): // there is nothing to wait for
		}
		close(held)
		e.await(20)
		e.settled(most + 20)
		end()
	})
}

// P18: the node starts with whatever room its streams are given now, and nothing that they hold is dropped for it.
func TestStreamsGetAnotherRoom(t *testing.T) {
	dir := t.TempDir()
	for n, j := range []broadcast.JetStream{
		{MaxBytes: 64 << 20}, {MaxBytes: 64 << 20, DeadLetter: deadLetter}, {MaxBytes: 64 << 20}, {MaxBytes: 1 << 20, DeadLetter: deadLetter}, {MaxBytes: 2 << 20},
	} {
		j.Dir, j.Stream = dir, "EVENTS"
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			e := newEvents(t, j)
			inside, err := e.node.Inside()
			if err != nil {
				t.Fatal(err)
			}
			defer inside.Close()
			js, err := jetstream.New(inside)
			if err != nil {
				t.Fatal(err)
			}
			stream, err := js.Stream(e.ctx, "EVENTS")
			if err != nil {
				t.Fatal(err)
			}
			if n >= 3 {
				if held := stream.CachedInfo().State.Msgs; held != 9 {
					t.Errorf("%d are left of 9", held)
				}
				return
			}
			for range 3 {
				if _, err := js.Publish(e.ctx, broadcast.EventsOf("key_a"), make([]byte, 500<<10)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
