package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	handshakeLimit = 10 * time.Second
	maxHandshakes  = 64
)

// Mux is the listener. Connections are handed out by kind once they have proven who they are.
type Mux struct {
	identity Identity
	listener net.Listener
	log      *slog.Logger
	raft     *queue
	calls    *queue
	routes   *http.ServeMux
	server   *http.Server
	client   *callers

	slots chan struct{} // a place for each handshake under way; when all are taken, accepting waits
	stop  context.CancelFunc
	ctx   context.Context // ends at Close, and with it handshakes, handlers, dials and calls
	wg    sync.WaitGroup
	close sync.Once
}

// Listen takes the address, host:port. Nothing is answered before Serve, except that
// connections for Raft are handed to Raft's listener. The caller closes it.
func Listen(addr string, id Identity, log *slog.Logger) (*Mux, error) {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the port for other nodes: %w", err)
	}
	return newMux(listener, id, log), nil
}

func newMux(listener net.Listener, id Identity, log *slog.Logger) *Mux {
	m := &Mux{
		identity: id, listener: listener, log: log, routes: http.NewServeMux(),
		raft: newQueue(listener.Addr()), calls: newQueue(listener.Addr()),
		slots: make(chan struct{}, maxHandshakes),
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.client = newCallers(m.dial)
	m.server = m.newServer()
	m.wg.Go(m.accept)
	return m
}

// Addr is where it listens.
func (m *Mux) Addr() string { return m.listener.Addr().String() }

// Raft gives the connections that Raft of other nodes opened.
func (m *Mux) Raft() net.Listener { return m.raft }

// Serve begins to answer calls; all handlers are registered by then.
func (m *Mux) Serve() {
	m.wg.Go(func() {
		if err := m.server.Serve(m.calls); !errors.Is(err, http.ErrServerClosed) {
			m.log.Error("calls of other nodes are no longer answered", "error", err)
		}
	})
}

// DialRaft connects to the node with the id at the address, and to no other; with an empty
// id, to whatever node of the cluster is there.
func (m *Mux) DialRaft(addr, id string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(m.ctx, limit)
	defer cancel()
	return m.dial(ctx, addr, id, protocolRaft)
}

// dial ends with the context, with the mux, and after handshakeLimit: net/http takes the
// caller's end off the context that it dials with, and the other side may say nothing.
func (m *Mux) dial(ctx context.Context, addr, id, protocol string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	config := m.identity.Dialing(id)
	config.NextProtos = m.identity.offer(protocol)
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to node %q at %s: %w", id, addr, err)
	}
	if t, ok := conn.(*tls.Conn); !ok || t.ConnectionState().NegotiatedProtocol != protocol {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to node %q at %s: what listens there is not the port for other nodes", id, addr)
	}
	return conn, nil
}

func (m *Mux) accept() {
	config := m.identity.Accepting()
	config.NextProtos = []string{protocolRaft, protocolCall}
	for {
		conn, err := m.listener.Accept()
		if m.ctx.Err() != nil {
			return
		}
		if err != nil {
			m.log.Warn("a connection of another node was not accepted", "error", err)
			select { // most likely out of file descriptors: do not spin
			case <-m.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		m.slots <- struct{}{}
		m.wg.Go(func() {
			defer func() { <-m.slots }()
			m.greet(tls.Server(conn, config))
		})
	}
}

// greet does the handshake and hands the connection to whom it is for.
func (m *Mux) greet(conn *tls.Conn) {
	ctx, cancel := context.WithTimeout(m.ctx, handshakeLimit)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		m.log.Warn("refused a connection to the port for other nodes", "from", conn.RemoteAddr().String(), "error", err)
		_ = conn.Close()
		return
	}
	taken := false
	switch conn.ConnectionState().NegotiatedProtocol {
	case protocolRaft:
		taken = m.raft.put(ctx, conn)
	case protocolCall:
		taken = m.calls.put(ctx, opaque{conn})
	}
	if !taken {
		_ = conn.Close()
	}
}

// Close stops listening, ends the calls both ways and waits for all handlers; a handler that
// does not heed its context holds it up. Raft's connections are Raft's to close. Closing twice
// is harmless.
func (m *Mux) Close() error {
	var err error
	m.close.Do(func() {
		m.stop()
		// The server first: it then takes the end of its listener for what it is.
		err = errors.Join(m.server.Close(), m.listener.Close())
		_ = m.calls.Close()
		_ = m.raft.Close()
		m.wg.Wait()
		m.client.close()
	})
	return err
}

// queue is a net.Listener of connections that were accepted elsewhere.
type queue struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// put waits until someone accepts the connection; false if nobody does in time.
func (q *queue) put(ctx context.Context, c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.closed:
	case <-ctx.Done():
	}
	return false
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }
