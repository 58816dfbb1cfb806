package simulation

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"veto/replication/roster"
)

// members is the node's roster, which may be kept from telling of others.
type members struct {
	*roster.Roster
	deaf atomic.Bool
}

func (m *members) Members() []roster.Member {
	if m.deaf.Load() {
		return []roster.Member{m.Self()}
	}
	return m.Roster.Members()
}

const gossipPort = 7773

func gossipAddr(i int) string { return fmt.Sprintf("10.0.0.%d:%d", i+1, gossipPort) }

func (s *simulation) startRoster(n *incarnation, self roster.Member) (err error) {
	n.gossip = &gossip{node: n, net: s.net, packets: make(chan *memberlist.Packet, 256), streams: make(chan net.Conn, 64)}
	r, err := roster.Start(roster.Config{Self: self, Bind: gossipAddr(n.number), Transport: n.gossip, Keys: [][]byte{s.gossipKey}, Log: s.log.With("node", self.ID)})
	if err == nil {
		n.members = &members{Roster: r}
	}
	return err
}

// join meets the others as node.Node does: again while one is missing.
func (n *incarnation) join() {
	var others []string
	for i := range nodes {
		if i != n.number {
			others = append(others, gossipAddr(i))
		}
	}
	for {
		known, missing := 0, false
		for _, m := range n.members.Roster.Members() {
			known++
			missing = missing || m.State == "dead"
		}
		pause := 30 * time.Second
		if met := known > 1; !met || missing || !n.view.Freshness().Ready {
			_, _ = n.members.Join(others) // whom it does not reach it meets later
			if pause = 5 * time.Second; !met {
				pause = time.Second
			}
		}
		select {
		case <-n.ended.Done():
			return
		case <-time.After(pause):
		}
	}
}

// gossip is memberlist's way to other nodes. Its packets are lost, come twice and overtake each other, as UDP's do;
// its connections are as Raft's.
type gossip struct {
	node    *incarnation
	net     *network
	packets chan *memberlist.Packet
	streams chan net.Conn

	mu    sync.Mutex
	conns []*conn
}

func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IPv4(10, 0, 0, byte(g.node.number+1)), gossipPort, nil
}

func numberAt(addr string) int {
	for i := range nodes {
		if gossipAddr(i) == addr {
			return i
		}
	}
	return -1
}

func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	now, to := time.Now(), numberAt(addr)
	if to < 0 || g.node.dead.Load() {
		return now, net.ErrClosed
	}
	l := g.net.link(g.node.number, to)
	for _, late := range l.copies() {
		packet := &memberlist.Packet{Buf: append([]byte(nil), b...), From: address(gossipAddr(g.node.number))}
		time.AfterFunc(late, func() {
			n := g.net.whoIs(to)
			if n == nil || l.isCut() {
				return
			}
			packet.Timestamp = time.Now()
			select {
			case n.gossip.packets <- packet:
			default: // as a socket whose buffer is full
			}
		})
	}
	return now, nil
}

func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

func (g *gossip) DialTimeout(addr string, limit time.Duration) (net.Conn, error) {
	to := numberAt(addr)
	near, far, err := g.net.reach(g.node, to, limit)
	if err != nil {
		return nil, err
	}
	g.keep(near)
	n := g.net.whoIs(to)
	if n == nil {
		return nil, errNobody
	}
	n.gossip.keep(far)
	select {
	case n.gossip.streams <- far:
		return near, nil
	default:
		return nil, errNobody
	}
}

func (g *gossip) StreamCh() <-chan net.Conn { return g.streams }

func (g *gossip) keep(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c)
}

// Shutdown breaks all connections: memberlist waits for none.
func (g *gossip) Shutdown() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all error
	for _, c := range g.conns {
		all = errors.Join(all, c.Close())
	}
	g.conns = nil
	return all
}

// meet waits until each node knows of all others what they say of themselves.
func (s *simulation) meet() {
	var wrong []string
	for until := time.Now().Add(settleIn); time.Now().Before(until); s.pause(200 * time.Millisecond) {
		if wrong = s.strangers(); len(wrong) == 0 {
			return
		}
	}
	s.wrong("in %s after all was mended not all have met: %s", settleIn, strings.Join(wrong, "; "))
}

// strangers are what nodes do not know of each other.
func (s *simulation) strangers() (wrong []string) {
	for i := range nodes {
		known := map[string]roster.Member{}
		for _, m := range s.net.whoIs(i).members.Members() {
			known[m.ID] = m
		}
		for j := range nodes {
			if said := s.net.whoIs(j).members.Self(); known[said.ID] != said {
				wrong = append(wrong, fmt.Sprintf("%s has %+v, who is %+v", nodeID(i), known[said.ID], said))
			}
		}
	}
	return wrong
}
