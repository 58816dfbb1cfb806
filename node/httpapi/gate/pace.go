package gate

import (
	"context"
	"time"
)

// Pace holds up what has time, part by part, while goroutines wait for a processor: so what is asked in between
// goes first. The runtime has no priorities; but who wakes late sees that others do, too. Nil holds up nothing.
type Pace struct {
	// Calm is how late a timer may be on a node that has processors to spare, Step how long it is set for.
	Calm, Step time.Duration
	Now        func() time.Time
	After      func(time.Duration) <-chan time.Time
}

// Yield returns once a timer is not late, or the context has ended, or as much time has passed as a part is held up
// at most: so all goes on, if slowly, however much else there is.
func (p *Pace) Yield(ctx context.Context, most time.Duration) {
	if p == nil {
		return
	}
	began := p.Now()
	for {
		due := p.Now().Add(p.Step)
		select {
		case <-ctx.Done():
			return
		case <-p.After(p.Step):
		}
		if now := p.Now(); now.Sub(due) <= p.Calm || now.Sub(began) >= most {
			return
		}
	}
}
