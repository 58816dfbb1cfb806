package simulation

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"veto/record"
	"veto/record/event"
	"veto/replication/peer"
	"veto/replication/roster"
)

// peers, members and words are what a node has instead of peer.Mux, roster.Roster and
// broadcast.Broadcast.
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

// members knows of the others what gossip would: who was reached lately, and what it said of itself.
type members struct {
	changed chan struct{}

	mu   sync.Mutex
	deaf bool // it hears of nobody new
	self roster.Member
	seen map[int]sighting
}

type sighting struct {
	at time.Time
	roster.Member
}

const (
	gossipEvery = 500 * time.Millisecond
	deadAfter   = 5 * time.Second
)

func newMembers(self roster.Member) *members {
	return &members{changed: make(chan struct{}, 1), self: self, seen: map[int]sighting{}}
}

func (m *members) Members() []roster.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := []roster.Member{m.self}
	for i := range nodes {
		if s, ok := m.seen[i]; ok {
			s.State = "alive"
			if time.Since(s.at) > deadAfter {
				s.State = "dead"
			}
			all = append(all, s.Member)
		}
	}
	return all
}

func (m *members) Self() roster.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.self
}

func (m *members) Change(f func(self *roster.Member)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.self)
	return nil
}

func (m *members) Leave(time.Duration) error { return nil }

func (m *members) Changed() <-chan struct{} { return m.changed }

func (m *members) hearNobody(deaf bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deaf = deaf
}

// meet hears of those that can be reached, until the node ends.
func (m *members) meet(n *incarnation, w *network) {
	tick := time.NewTicker(gossipEvery)
	defer tick.Stop()
	for n.ended.Err() == nil {
		for i := range nodes {
			other := w.whoIs(i)
			if i == n.number || other == nil || w.link(i, n.number).isCut() || w.link(n.number, i).isCut() {
				continue
			}
			if _, ok := w.link(i, n.number).passes(); !ok {
				continue
			}
			said := other.members.Self()
			m.mu.Lock()
			before, known := m.seen[i]
			if m.deaf && !known {
				m.mu.Unlock()
				continue
			}
			m.seen[i] = sighting{time.Now(), said}
			m.mu.Unlock()
			if !known || before.Member != said || time.Since(before.at) > deadAfter {
				select {
				case m.changed <- struct{}{}:
				default:
				}
			}
		}
		select {
		case <-n.ended.Done():
		case <-tick.C:
		}
	}
}

// words brings notices and beacons to the others.
type words struct {
	node *incarnation
	net  *network
}

func (b words) Notice(n record.Notice) {
	unkept := n.Unkept // it goes by the subject, as in broadcast
	word(b.net, b.node, n, func(to *incarnation, n record.Notice) {
		n.Unkept = unkept
		to.view.Notice(n)
	})
}

func (b words) Beacon(n record.Beacon) {
	word(b.net, b.node, n, func(to *incarnation, n record.Beacon) { to.view.Beacon(n) })
}

func (words) Tell(string, []event.Fact) {}
func (words) SetRoutes([]string) error  { return nil }
func (words) Disconnect(string)         {}
