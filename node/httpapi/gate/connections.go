package gate

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
)

// Listener bounds the connections that are open at once. One above is closed: left in the kernel's
// queue, it would wait for an answer, and those behind it, too.
type Listener struct {
	net.Listener
	most int64
	open atomic.Int64
	shut atomic.Uint64
	full atomic.Bool // whether it was said already
	log  *slog.Logger
}

// Bound bounds the connections of the listener, which the new one owns.
func Bound(l net.Listener, most int, log *slog.Logger) *Listener {
	return &Listener{Listener: l, most: int64(most), log: log}
}

// Accept gives the next connection for which there is room.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // servers look at what it is
		}
		if n := l.open.Add(1); n <= l.most {
			if n < l.most/2 {
				l.full.Store(false)
			}
			return &bounded{Conn: c, of: l}, nil
		}
		l.open.Add(-1)
		l.shut.Add(1)
		_ = c.Close() // there is no room for it
		if !l.full.Swap(true) {
			l.log.Warn("connections are closed, as more are open already than may be", "address", l.Addr().String(), "most", l.most)
		}
	}
}

// Open is how many connections are open now.
func (l *Listener) Open() int64 { return l.open.Load() }

// Refused is how many were closed because there was no room.
func (l *Listener) Refused() uint64 { return l.shut.Load() }

type bounded struct {
	net.Conn
	of   *Listener
	once sync.Once
}

func (b *bounded) Close() error {
	b.once.Do(func() { b.of.open.Add(-1) })
	return b.Conn.Close() //nolint:wrapcheck // a connection's errors are its reader's
}
