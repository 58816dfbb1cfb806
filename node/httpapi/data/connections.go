package data

import (
	"net"
	"sync"
	"sync/atomic"
)

// connections are those that are open, so that Close need not wait for one on which nobody
// says anything: fasthttp counts such a connection as busy until its first request.
type connections struct {
	mu     sync.Mutex
	open   map[*connection]struct{}
	closed bool
}

// connection is a connection that is among those that are open. Spoke is set once something
// was read from it.
type connection struct {
	net.Conn
	all   *connections
	spoke atomic.Bool
}

// listener puts each connection that it accepts among those that are open.
type listener struct {
	net.Listener
	all *connections
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // fasthttp looks at what it is
	}
	entry := &connection{Conn: c, all: l.all}
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	if l.all.closed {
		_ = c.Close() // it came too late
		return nil, net.ErrClosed
	}
	if l.all.open == nil {
		l.all.open = map[*connection]struct{}{}
	}
	l.all.open[entry] = struct{}{}
	return entry, nil
}

func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
	}
	return n, err //nolint:wrapcheck // a connection's errors are its reader's
}

func (c *connection) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close() //nolint:wrapcheck // as above
}

// cut closes those on which nothing was said, or all. No further one is opened.
func (o *connections) cut(all bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for c := range o.open {
		if all || !c.spoke.Load() {
			delete(o.open, c)
			_ = c.Conn.Close() // whoever is on the other end sees that it is gone
		}
	}
}
