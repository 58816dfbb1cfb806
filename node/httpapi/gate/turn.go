package gate

import (
	"context"
	"io"
	"net/http"
	"time"
)

// Work is what a turn is for: what is Prompt goes before what is not, and what Writes takes time beyond its turn.
type Work struct{ Prompt, Writes bool }

// Turn is one goroutine's of Turns, again and again. Nil need not be waited for.
type Turn struct {
	of     *Turns
	work   Work
	caller string
	held   bool
	began  time.Time
}

// Turn makes one that is not taken yet.
func (t *Turns) Turn(w Work) *Turn {
	if t == nil {
		return nil
	}
	return &Turn{of: t, work: w}
}

// For says whose it is, as soon as that is known.
func (t *Turn) For(caller string) {
	if t != nil {
		t.caller = caller
	}
}

// Take waits until it is this one's turn, but not beyond the context's end: then there is none, and it gives its error.
// Whoever has it leaves it before anything that blocks.
func (t *Turn) Take(ctx context.Context) error {
	if t == nil || t.held {
		return nil
	}
	if err := ctx.Err(); err != nil || !t.of.crowded() {
		return err //nolint:wrapcheck // it is the caller's
	}
	if !t.work.Prompt {
		select {
		case t.of.patient <- struct{}{}:
			defer func() { <-t.of.patient }()
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // it is the caller's
		}
	}
	select {
	case rested := <-t.of.free:
		if wait := rested.Sub(t.of.config.Now()); wait > 0 {
			select {
			case <-t.of.config.After(wait):
			case <-ctx.Done():
				t.of.free <- rested
				return ctx.Err() //nolint:wrapcheck // it is the caller's
			}
		}
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // it is the caller's
	}
	t.held, t.began = true, t.of.config.Now()
	return nil
}

// TakeWithin is Take for as long as the limit at most, and tells whether it is this one's turn. It is not, at once, if as many of
// the caller's wait already as may: others would wait behind them all.
func (t *Turn) TakeWithin(ctx context.Context, limit time.Duration) bool {
	if t == nil || !t.of.crowded() {
		return true
	}
	if !t.work.Prompt {
		if !t.of.waiting.Take(t.caller) {
			return false
		}
		defer t.of.waiting.Leave(t.caller)
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := t.Take(within)
	if err != nil && ctx.Err() == nil {
		t.of.refused.Add(1)
	}
	return err == nil
}

// Leave gives the turn to others, if it is held.
func (t *Turn) Leave() {
	if t == nil || !t.held {
		return
	}
	t.held = false
	now := t.of.config.Now()
	took := now.Sub(t.began)
	if t.work.Writes {
		took *= writeTurns
	}
	t.of.free <- now.Add(min(time.Duration(float64(took)*t.of.Rest()), restLimit))
}

// Share takes the turn, and if it is held and has been long enough, leaves it first for others.
func (t *Turn) Share(ctx context.Context) error {
	if t != nil && t.held && t.of.config.Now().Sub(t.began) >= t.of.config.Slice {
		t.Leave()
	}
	return t.Take(ctx)
}

type turnInContext struct{}

// WithTurn is a context of who has the turn.
func WithTurn(ctx context.Context, t *Turn) context.Context {
	return context.WithValue(ctx, turnInContext{}, t)
}

// TurnOf is the context's turn, and nil if it has none.
func TurnOf(ctx context.Context) *Turn {
	t, _ := ctx.Value(turnInContext{}).(*Turn)
	return t
}

// Answer is w for who has the turn: it leaves it before it writes, as a reader may be slow.
func (t *Turn) Answer(w http.ResponseWriter) http.ResponseWriter {
	if t == nil {
		return w
	}
	return answer{w, t}
}

type answer struct {
	http.ResponseWriter
	turn *Turn
}

func (a answer) Write(b []byte) (int, error) {
	a.turn.Leave()
	return a.ResponseWriter.Write(b) //nolint:wrapcheck // who writes looks at what it is
}

// Unwrap is for http.ResponseController.
func (a answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Paced is w for who writes a stream: each part of it is made in a turn, and written outside of it.
func (t *Turn) Paced(ctx context.Context, w io.Writer) io.Writer {
	if t == nil {
		return w
	}
	return paced{w, ctx, t}
}

type paced struct {
	io.Writer
	ctx  context.Context
	turn *Turn
}

func (p paced) Write(b []byte) (int, error) {
	p.turn.Leave()
	n, err := p.Writer.Write(b)
	if err != nil {
		return n, err //nolint:wrapcheck // who writes looks at what it is
	}
	return n, p.turn.Take(p.ctx)
}
