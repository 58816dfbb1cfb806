package simulation

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn is one end of a connection for Raft. What is written arrives in its order, later, and not while
// the link is cut; the network breaks it when a node falls.
type conn struct {
	local, remote int
	in, out       *pipe
}

// pipe is one direction of a connection.
type pipe struct {
	link *link

	mu       sync.Mutex
	parts    []part
	last     time.Time // when the last part arrives
	gone     bool      // nobody reads any more
	deadline time.Time
	wake     chan struct{} // holds one when something has changed
}

type part struct {
	at   time.Time
	data []byte
	end  bool
}

func newPipe(l *link) *pipe { return &pipe{link: l, wake: make(chan struct{}, 1)} }

// connect gives both ends.
func (w *network) connect(from, to int) (near, far *conn) {
	there, back := newPipe(w.link(from, to)), newPipe(w.link(to, from))
	return &conn{from, to, back, there}, &conn{to, from, there, back}
}

func (p *pipe) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pipe) send(x part) error {
	late, ok := p.link.passes()
	if !ok {
		late += resend
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return net.ErrClosed
	}
	x.at = time.Now().Add(late)
	if x.at.Before(p.last) {
		x.at = p.last
	}
	p.last = x.at
	p.parts = append(p.parts, x)
	p.signal()
	return nil
}

// next looks what there is to read, or how long to wait until it is looked at again.
func (p *pipe) next(b []byte) (n int, wait time.Duration, err error) {
	cut := p.link.isCut()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	wait = time.Hour
	switch {
	case p.gone:
		return 0, 0, net.ErrClosed
	case !p.deadline.IsZero() && !now.Before(p.deadline):
		return 0, 0, os.ErrDeadlineExceeded
	case len(p.parts) == 0:
	case p.parts[0].at.After(now):
		wait = p.parts[0].at.Sub(now)
	case cut:
		wait = resend
	case p.parts[0].end:
		return 0, 0, io.EOF
	default:
		n = copy(b, p.parts[0].data)
		if p.parts[0].data = p.parts[0].data[n:]; len(p.parts[0].data) == 0 {
			p.parts = p.parts[1:]
		}
		return n, 0, nil
	}
	if !p.deadline.IsZero() {
		wait = min(wait, p.deadline.Sub(now))
	}
	return 0, wait, nil
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, wait, err := c.in.next(b)
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		again := time.NewTimer(wait)
		select {
		case <-c.in.wake:
		case <-again.C:
		}
		again.Stop()
	}
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.out.send(part{data: append([]byte(nil), b...)}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close tells the other side, when that can be reached.
func (c *conn) Close() error {
	err := c.out.send(part{end: true})
	c.in.mu.Lock()
	c.in.gone = true
	c.in.mu.Unlock()
	c.in.signal()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.deadline = t
	c.in.signal()
	return nil
}

// SetWriteDeadline does nothing: there is room for whatever is written.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c *conn) LocalAddr() net.Addr  { return address(nodeID(c.local)) }
func (c *conn) RemoteAddr() net.Addr { return address(nodeID(c.remote)) }

type address string

func (a address) Network() string { return "simulated" }
func (a address) String() string  { return string(a) }

// reach connects to a node that is up.
func (w *network) reach(from *incarnation, to int, limit time.Duration) (near, far *conn, err error) {
	ctx, cancel := context.WithTimeout(from.ended, limit)
	defer cancel()
	if to < 0 || !w.link(from.number, to).surely(ctx) || !w.link(to, from.number).surely(ctx) {
		return nil, nil, errNobody
	}
	n := w.whoIs(to)
	if n == nil || from.dead.Load() || n.dead.Load() {
		return nil, nil, errNobody
	}
	near, far = w.connect(from.number, to)
	return near, far, nil
}

// dial connects for Raft.
func (w *network) dial(from *incarnation, id string, limit time.Duration) (net.Conn, error) {
	to := numberOfNode(id)
	near, far, err := w.reach(from, to, limit)
	if err != nil {
		return nil, err
	}
	if n := w.whoIs(to); n == nil || !n.peers.accepts(far) {
		return nil, errNobody
	}
	from.peers.keep(near)
	return near, nil
}
