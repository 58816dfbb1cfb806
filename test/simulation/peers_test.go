package simulation

import (
	"context"
	"fmt"
	"iter"
	"net"
	"sync"
	"time"

	"veto/record"
	"veto/record/event"
	"veto/replication/peer"
)

// peers and words are what a node has instead of peer.Mux and notices.Notices.
type peers struct {
	node *incarnation
	net  *network

	mu       sync.Mutex
	handlers map[string]peer.Handler
	serving  bool
	conns    []*conn
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPeers(n *incarnation, w *network) *peers {
	return &peers{node: n, net: w, handlers: map[string]peer.Handler{}, accepted: make(chan net.Conn, 64), closed: make(chan struct{})}
}

func (p *peers) Handle(path string, h peer.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[path] = h
}

func (p *peers) Serve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving = true
}

func (p *peers) answer(ctx context.Context, from, path string, body []byte) ([]byte, error) {
	p.mu.Lock()
	h, serving := p.handlers[path], p.serving
	p.mu.Unlock()
	if h == nil || !serving {
		return nil, fmt.Errorf("nothing answers %s", path)
	}
	return h(ctx, from, body)
}

func (p *peers) Call(ctx context.Context, _, id, path string, body []byte) ([]byte, error) {
	return p.net.call(ctx, p.node, id, path, body)
}

func (p *peers) DialRaft(_, id string, limit time.Duration) (net.Conn, error) {
	return p.net.dial(p.node, id, limit)
}

func (p *peers) Raft() net.Listener { return p }

func (p *peers) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *peers) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *peers) Addr() net.Addr { return address(nodeID(p.node.number)) }

// accepts takes a connection of another node, if anyone listens.
func (p *peers) accepts(c *conn) bool {
	select {
	case <-p.closed:
		return false
	default:
	}
	select {
	case p.accepted <- c:
		p.keep(c)
		return true
	default:
		return false
	}
}

func (p *peers) keep(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
}

// sever breaks all connections.
func (p *peers) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close() // it never fails
	}
	p.conns = nil
}

// words brings notices and beacons to the others.
type words struct {
	node *incarnation
	net  *network
}

func (b words) Notice(n record.Notice) {
	word(b.net, b.node, n, func(to *incarnation, n record.Notice) { to.view.Notice(n) })
}

func (b words) Beacon(n record.Beacon) {
	word(b.net, b.node, n, func(to *incarnation, n record.Beacon) { to.view.Beacon(n) })
}

func (words) To(map[string]string) {}

// others are what a node has instead of broadcast.Broadcast.
type others struct{ node *incarnation }

// Tell tells subscribers at the node.
func (o others) Tell(_ string, facts iter.Seq[event.Fact]) {
	var all []happening
	for f := range facts {
		all = append(all, happeningOf(&f))
	}
	if !o.node.dead.Load() {
		o.node.hear(all)
	}
}

func (others) Disconnect(string) {}
