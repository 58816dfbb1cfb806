package notices

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxWaiting bounds what waits to be sent to one node, in bytes. It is as much as is told while a machine
	// stalls for a moment; what a node hears later than that, it has by the log.
	maxWaiting = 4 << 20
	// redial is how long after a connection failed the next is tried.
	redial = 250 * time.Millisecond
	// dialLimit is so short that one that began while the network was down does not wait for long after it.
	dialLimit = 3 * time.Second
	// pingEvery and silence are how soon both sides know that the other is gone.
	pingEvery = 2 * time.Second
	silence   = 3 * pingEvery
	// partBytes is how much is written at once: a node has to take so much within silence.
	partBytes = 64 << 10
)

// way leads to one other node. Its connection goes one way but for the answers to pings: so two nodes that connect with
// each other at once are not in each other's way, and who is gone is known though nothing is told.
type way struct {
	of       *Notices
	id, addr string
	ctx      context.Context
	stop     context.CancelFunc

	answered atomic.Bool // on the connection that there is

	mu      sync.Mutex
	open    bool // otherwise nothing is kept: a late notice is worth nothing
	waiting []byte
	wake    chan struct{}
}

func newWay(n *Notices, id, addr string) *way {
	w := &way{of: n, id: id, addr: addr, wake: make(chan struct{}, 1)}
	w.ctx, w.stop = context.WithCancel(n.ctx)
	return w
}

// put has the frame sent; false if there is no room. It does not block.
func (w *way) put(frame []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open {
		return true
	}
	if len(w.waiting)+len(frame) > maxWaiting {
		return false
	}
	w.waiting = append(w.waiting, frame...)
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
	return true
}

// set says whether there is a connection. What waited for another one is dropped.
func (w *way) set(open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open, w.waiting = open, nil
}

// take gives what waits, and leaves room in its place.
func (w *way) take(room []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := w.waiting
	w.waiting = room[:0]
	return waiting
}

// run keeps a connection until the way is stopped. One that was good is made anew at once, if that was not done just before: it
// may have ended as a certificate was replaced.
func (w *way) run() {
	mute := false // and it was said
	var atOnce time.Time
	for w.ctx.Err() == nil {
		pause := redial
		c, err := w.dial()
		if err == nil {
			err = w.serve(c)
		}
		switch {
		case w.ctx.Err() != nil:
			return
		case w.answered.Swap(false):
			if mute = false; time.Since(atOnce) > silence {
				pause, atOnce = 0, time.Now()
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && !mute: // of who cannot be connected with, Raft says so
			mute = true
			w.of.log.Warn("a node can be connected with, and answers no notices: it hears of revocations by the log alone", "node", w.id)
		}
		w.of.log.Debug("notices do not reach a node; it is tried again", "node", w.id, "error", err)
		select {
		case <-w.ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (w *way) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(w.ctx, dialLimit)
	defer cancel()
	return w.of.peers.DialNotices(ctx, w.addr, w.id)
}

// serve sends what there is until the connection fails, or the way is stopped.
func (w *way) serve(c net.Conn) error {
	ctx, cancel := context.WithCancelCause(w.ctx)
	context.AfterFunc(ctx, func() { _ = c.Close() })
	var answers sync.WaitGroup
	answers.Go(func() { cancel(w.awaitAnswers(c)) })
	w.set(true)
	cancel(w.send(ctx, c))
	w.set(false)
	answers.Wait()
	return context.Cause(ctx)
}

func (w *way) send(ctx context.Context, c net.Conn) error {
	pings := time.NewTicker(pingEvery)
	defer pings.Stop()
	var room []byte
	for next := ping[:]; ; { // the first asks whether it hears
		for part := range slices.Chunk(next, partBytes) {
			if err := c.SetWriteDeadline(time.Now().Add(silence)); err != nil {
				return err
			}
			if _, err := c.Write(part); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
			room = w.take(room)
			next = room
		case <-pings.C:
			next = ping[:]
		}
	}
}

// awaitAnswers reads the answers until one is missing.
func (w *way) awaitAnswers(c net.Conn) error {
	var room [64]byte
	for {
		err := c.SetReadDeadline(time.Now().Add(silence))
		if err == nil {
			_, err = c.Read(room[:])
		}
		if err != nil {
			return err
		}
		w.answered.Store(true)
	}
}
