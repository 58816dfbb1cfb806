package gate_test

import (
	"context"
	"testing"
	"time"

	"veto/node/httpapi/gate"
)

// G6
func TestWhatHasTimeYields(t *testing.T) {
	now := time.Unix(1000, 0)
	const most = 100 * time.Millisecond
	late := time.Duration(0)
	p := &gate.Pace{
		Calm: time.Millisecond, Step: 2 * time.Millisecond,
		Now: func() time.Time { return now },
		After: func(d time.Duration) <-chan time.Time {
			now = now.Add(d + late)
			c := make(chan time.Time, 1)
			c <- now
			return c
		},
	}
	yields := func(ctx context.Context) (held time.Duration) {
		began := now
		p.Yield(ctx, most)
		return now.Sub(began)
	}
	if got := yields(t.Context()); got != p.Step {
		t.Errorf("a node at rest holds up a part for %s", got)
	}
	late = 8 * time.Millisecond
	if got := yields(t.Context()); got != most {
		t.Errorf("a busy node holds up a part for %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.After = func(time.Duration) <-chan time.Time { return nil }
	p.Yield(ctx, most) // or it never ends
	(*gate.Pace)(nil).Yield(t.Context(), most)
}
