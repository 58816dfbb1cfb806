package broadcast_test

import (
	"context"
	"fmt"
	"testing"
	"time"

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
