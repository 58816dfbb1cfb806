package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	handshakeLimit = 10 * time.Second
	maxHandshakes  = 64
)

// Mux is the listener. Connections are handed out by kind once they have proven who they are.
type Mux struct {
	identity atomic.Pointer[Identity] // each connection keeps the one that it was made with
	listener net.Listener
	log      *slog.Logger
	raft     *queue
	notices  *queue
	calls    *queue
	routes   *http.ServeMux
	server   *http.Server
	client   *callers

	slots chan struct{} // a place for each handshake under way; when all are taken, accepting waits
	stop  context.CancelFunc
	ctx   context.Context // ends at Close, and with it handshakes, handlers, dials and calls
	wg    sync.WaitGroup
	close sync.Once

	refused refusals

	mu    sync.Mutex
	conns map[*conn]struct{} // that are open, both ways
}

// Listen takes the address, host:port. Calls are not answered before Serve. The caller closes it.
func Listen(addr string, id Identity, log *slog.Logger) (*Mux, error) {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the port for nodes: %w", err)
	}
	return newMux(listener, id, log), nil
}

func newMux(listener net.Listener, id Identity, log *slog.Logger) *Mux {
	m := &Mux{
		listener: listener, conns: map[*conn]struct{}{}, log: log, routes: http.NewServeMux(),
		raft: newQueue(listener.Addr()), notices: newQueue(listener.Addr()), calls: newQueue(listener.Addr()),
		slots: make(chan struct{}, maxHandshakes),
	}
	m.refused.last = map[string]time.Time{}
	m.identity.Store(&id)
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
	return m.dialBound(ctx, addr, id, protocolRaft)
}

// AcceptNotices waits for a connection on which another node tells what it has to tell, and says which node that is. It
// ends with the context, or with net.ErrClosed.
func (m *Mux) AcceptNotices(ctx context.Context) (c net.Conn, from string, err error) {
	accepted, err := m.notices.next(ctx)
	if err != nil {
		return nil, "", err
	}
	return accepted, accepted.peer, nil
}

// DialNotices connects to the node with the id at the address, and to no other, to tell it what there is to be told.
func (m *Mux) DialNotices(ctx context.Context, addr, id string) (net.Conn, error) {
	return m.dialBound(ctx, addr, id, protocolNotices)
}

func (m *Mux) dialBound(ctx context.Context, addr, id, protocol string) (net.Conn, error) {
	c, err := m.dial(ctx, addr, id, protocol)
	if err != nil {
		return nil, err
	}
	return boundConn{c}, nil
}

// dial ends with the context, with the mux, and after handshakeLimit: net/http takes the
// caller's end off the context that it dials with, and the other side may say nothing.
func (m *Mux) dial(ctx context.Context, addr, id, protocol string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	identity := m.identity.Load()
	config := identity.Dialing(id)
	own := identity.cluster()
	config.NextProtos = offer(protocol, own)
	dialed, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to node %q at %s: %w", id, addr, heard(err))
	}
	t, ok := dialed.(*tls.Conn)
	if ok && t.ConnectionState().NegotiatedProtocol == protocol {
		return m.keep(t, identity, own, ""), nil
	}
	_ = dialed.Close()
	if ok && t.ConnectionState().NegotiatedProtocol == protocolRefused {
		return nil, &RefusedError{Cluster: true, Err: fmt.Errorf("connect to node %q at %s: it is of another cluster", id, addr)}
	}
	return nil, fmt.Errorf("connect to node %q at %s: what listens there is not the port for nodes", id, addr)
}

// conn is a connection that has proven who is on the other side. It hides from net/http that it is TLS: with
// a protocol that it does not know, that would close it.
type conn struct {
	net.Conn
	mux      *Mux
	identity *Identity // by which both sides judged each other
	peer     string    // the other node's id
	said     string    // of which cluster this node said to be, if it connected
	theirs   string    // of which the other did, if that connected
}

// boundConn is a connection that was opened to stay. It ends when this node is of a cluster and was of none when it connected:
// the other may be of another one, and would go on to hear it.
type boundConn struct{ *conn }

func (b boundConn) Write(p []byte) (int, error) {
	if b.identity.cluster() != b.said {
		return 0, errors.Join(net.ErrClosed, b.Close())
	}
	return b.conn.Write(p)
}

// Read refuses what comes from another cluster's node on a connection from when this one was of none: of two clusters
// that want an empty node it takes part in that of which it has the state, and in no other.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, heard(err)
	}
	if err := c.identity.sameCluster(c.theirs); err != nil {
		c.mux.refuse(c, err)
		return 0, err
	}
	return n, nil
}

// refuse says whom it refuses and why: of one that tries again and again once in refusedEvery.
func (m *Mux) refuse(c net.Conn, why error) {
	_ = c.Close()
	from, id := c.RemoteAddr().String(), ""
	about := []any{"from", from, "error", why}
	var failed *tls.CertificateVerificationError
	if errors.As(why, &failed) && len(failed.UnverifiedCertificates) > 0 {
		id = fmt.Sprintf("%.63s", nodeID(failed.UnverifiedCertificates[0]))
		about = append(about, "shows_certificate_of", id)
	}
	host, _, _ := net.SplitHostPort(from)
	if m.refused.says(strings.Join([]string{host, id, reason(why)}, " "), time.Now()) {
		m.log.Warn("refused a connection to the port for nodes", about...)
	}
}

func (m *Mux) keep(t *tls.Conn, identity *Identity, said, theirs string) *conn {
	if t.ConnectionState().NegotiatedProtocol == protocolNotices {
		hasten(t.NetConn())
	}
	c := &conn{Conn: t, mux: m, identity: identity, peer: nodeID(t.ConnectionState().PeerCertificates[0]), said: said, theirs: theirs}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns[c] = struct{}{}
	return c
}

// Close ends the connection.
func (c *conn) Close() error {
	c.mux.mu.Lock()
	delete(c.mux.conns, c)
	c.mux.mu.Unlock()
	return c.Conn.Close()
}

// outlived tells whether the node has another identity by now.
func (c *conn) outlived() bool { return c.identity != c.mux.identity.Load() }

// Renew gives the node another certificate, or other authorities to believe. What connects from now on goes
// by these. Calls that are under way end by themselves; what is left after the grace of what was connected
// before is cut off, so that nobody stays who would not be let in. It does not block.
func (m *Mux) Renew(id Identity, grace time.Duration) {
	m.identity.Store(&id)
	m.client.renew()
	m.wg.Go(func() {
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(grace):
		}
		var old []net.Conn
		m.mu.Lock()
		for c := range m.conns {
			if c.outlived() {
				old = append(old, c)
			}
		}
		m.mu.Unlock()
		for _, c := range old {
			_ = c.Close() // whoever uses it connects again
		}
	})
}

func (m *Mux) accept() {
	for {
		accepted, err := m.listener.Accept()
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
			m.greet(accepted)
		})
	}
}

// greet does the handshake and hands the connection to whom it is for.
func (m *Mux) greet(accepted net.Conn) {
	identity := m.identity.Load()
	config := identity.Accepting()
	config.NextProtos = []string{protocolRaft, protocolNotices, protocolCall}
	theirs := ""
	var other error
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		theirs = clusterOf(hello)
		if other = identity.sameCluster(theirs); other == nil {
			return nil, nil
		}
		refusing := identity.Accepting()
		refusing.NextProtos = []string{protocolRefused} // of a node that does not know it the handshake fails
		return refusing, nil
	}
	t := tls.Server(accepted, config)
	ctx, cancel := context.WithTimeout(m.ctx, handshakeLimit)
	defer cancel()
	err := t.HandshakeContext(ctx)
	if other != nil {
		err = other
	}
	if err != nil {
		m.refuse(t, err)
		return
	}
	taken, c := false, m.keep(t, identity, "", theirs)
	switch t.ConnectionState().NegotiatedProtocol {
	case protocolRaft:
		taken = m.raft.put(ctx, c)
	case protocolNotices:
		taken = m.notices.put(ctx, c)
	case protocolCall:
		taken = m.calls.put(ctx, c)
	}
	if !taken {
		_ = c.Close()
	}
}

// Close stops listening, ends the calls both ways and waits for all handlers; a handler that
// does not heed its context holds it up. The connections of Raft and of notices are for who has them to close.
// Closing twice is harmless.
func (m *Mux) Close() error {
	var err error
	m.close.Do(func() {
		m.stop()
		// The server first: it then takes the end of its listener for what it is.
		err = errors.Join(m.server.Close(), m.listener.Close())
		_ = m.calls.Close()
		_ = m.raft.Close()
		_ = m.notices.Close()
		m.wg.Wait()
		m.client.renew()
	})
	return err
}

// queue is a net.Listener of connections that were accepted elsewhere.
type queue struct {
	addr   net.Addr
	conns  chan *conn
	closed chan struct{}
	once   sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan *conn), closed: make(chan struct{})}
}

// put waits until someone accepts the connection; false if nobody does in time.
func (q *queue) put(ctx context.Context, c *conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.closed:
	case <-ctx.Done():
	}
	return false
}

func (q *queue) Accept() (net.Conn, error) {
	c, err := q.next(context.Background())
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (q *queue) next(ctx context.Context) (*conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }
