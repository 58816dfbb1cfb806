package gate

import (
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// TurnsConfig is what Turns are made of.
type TurnsConfig struct {
	// Most is how many compute at once, while questions are asked.
	Most int
	// Took is what questions have taken so far of the time of the Processors.
	Took       func() time.Duration
	Processors int
	// Calm is how late the node may see what came for it, without anybody having to make more room.
	Calm time.Duration
	// Echo makes what bytes are sent through and seen at, as a question is at a connection.
	Echo func() (out io.ReadCloser, in io.WriteCloser, err error)
	// Slice is how long a turn is of what is done in parts.
	Slice time.Duration
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Turns has what can wait compute in turns, while there are questions that cannot: few at once, and after each turn
// comes a rest, which is the longer, the later goroutines see what came for them. The runtime has no priorities, so what must not wait
// goes first because what can is not there. How late it is is measured as a question meets it, by a byte that
// the node sends itself. Nil lets all compute at once.
type Turns struct {
	config TurnsConfig
	// free holds of each turn that nobody has when it has rested.
	free chan time.Time
	// patient is held by the next of those who are not prompt.
	patient chan struct{}
	waiting *Shares // who are not prompt and have not begun
	out     io.ReadCloser
	in      io.WriteCloser
	ended   sync.WaitGroup
	refused atomic.Uint64

	mu    sync.Mutex
	rest  float64       // in turns
	busy  float64       // the part of the processors' time that questions take
	took  time.Duration // all of them, at
	at    time.Time     // this time
	sent  time.Time     // the byte that is on its way; zero if none is
	heard time.Time     // the last
}

const (
	// While questions take less of the processors' time, all compute at once.
	leastBusy = 0.01
	// A node that comes to answer nothing for a moment must not think that nobody asks: what it takes for busy is half
	// as much after this.
	busyHalves = 500 * time.Millisecond
	busyEvery  = 10 * time.Millisecond // is counted, at most
	echoEvery  = time.Millisecond      // a byte is sent, at most

	// A rest grows and shrinks by these, so that about one byte in ten is later than Calm.
	restGrows, restMore, restShrinks = 1.25, 1, 0.98
	// A rest is so many turns long at most, and at least, while questions take this part of the processors' time or more; if
	// they take less, proportionally less. So a flood finds the node prepared. No rest is longer than restLimit.
	mostRest, mostRestAt   = 20, 1. / 8
	leastRest, leastRestAt = 10, 1. / 2
	restLimit              = 20 * time.Millisecond
	// So many requests of one caller that are not prompt may wait at once: with rests of restLimit, some 1.3 s long.
	mostWaiting = 64
	// What is written takes time beyond its turn, in the log, on the disk and on other nodes. All of it is as much as so many turns.
	writeTurns = 5
)

// NewTurns makes Turns, which have a goroutine until Close.
func NewTurns(c TurnsConfig) (*Turns, error) {
	t := &Turns{config: c, free: make(chan time.Time, c.Most), patient: make(chan struct{}, 1), waiting: NewShares(mostWaiting), took: c.Took(), at: c.Now()}
	for range c.Most {
		t.free <- time.Time{}
	}
	var err error
	if t.out, t.in, err = c.Echo(); err != nil {
		return nil, err //nolint:wrapcheck // it is the caller's
	}
	t.ended.Go(t.listen)
	return t, nil
}

// Close ends the goroutine. Turns may still be taken and left.
func (t *Turns) Close() error {
	err := errors.Join(t.in.Close(), t.out.Close())
	t.ended.Wait()
	return err
}

// Rest is how many turns long the rest after one is now.
func (t *Turns) Rest() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rest
}

// Refused is how often a turn did not come in time, or too many waited for theirs.
func (t *Turns) Refused() uint64 { return t.refused.Load() + t.waiting.Refused() }

// crowded tells whether there are questions to make room for, and has it measured now and then how late they are seen.
func (t *Turns) crowded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.config.Now()
	if passed := now.Sub(t.at); passed >= busyEvery {
		took := t.config.Took()
		lately := float64(took-t.took) / float64(passed) / float64(t.config.Processors)
		t.busy = max(min(lately, 1), t.busy*math.Exp2(-float64(passed)/float64(busyHalves)))
		t.took, t.at = took, now
	}
	if t.busy < leastBusy {
		t.rest = 0
		return false
	}
	if t.sent.IsZero() && now.Sub(t.heard) >= echoEvery {
		t.sent = now
		_, _ = t.in.Write([]byte{0}) // there is room, as no other is on its way; after Close nobody is late
	}
	t.bound()
	return true
}

// listen waits for the bytes, as a connection does for a question.
func (t *Turns) listen() {
	for b := []byte{0}; ; {
		if _, err := t.out.Read(b); err != nil {
			return // as Close has it
		}
		t.mu.Lock()
		t.heard = t.config.Now()
		t.adapt(t.heard.Sub(t.sent))
		t.sent = time.Time{}
		t.mu.Unlock()
	}
}

// adapt has rests be longer if what came was seen late.
func (t *Turns) adapt(late time.Duration) {
	if late > t.config.Calm {
		t.rest = t.rest*restGrows + restMore
	} else {
		t.rest *= restShrinks
	}
	t.bound()
}

func (t *Turns) bound() {
	t.rest = max(min(t.rest, mostRest*min(t.busy/mostRestAt, 1)), leastRest*min(t.busy/leastRestAt, 1))
}
