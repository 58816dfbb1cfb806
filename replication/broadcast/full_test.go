package broadcast_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"veto/replication/broadcast"
)

// P18: whoever tells does not wait for whoever sends, and what there is no room for is counted.
func TestFullFeedDrops(t *testing.T) {
	n := start(t, slog.New(slog.DiscardHandler))
	c, err := connect(n, goodToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.SubscribeSync("veto.revoked.>")
	if err = errors.Join(err, c.Flush()); err != nil {
		t.Fatal(err)
	}
	b := n.Unsent(5)
	told := 0
	for range 9 {
		all := facts(7)
		b.Tell("c", slices.Values(all))
		told += len(all)
	}
	if b.Queued() != 5 || b.Dropped() != uint64(told-5) {
		t.Errorf("of %d, %d are queued and %d dropped", told, b.Queued(), b.Dropped())
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
