package notices

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"

	"veto/record"
)

// Peers connects this node with others: see peer.Mux.
type Peers interface {
	AcceptNotices(ctx context.Context) (c net.Conn, from string, err error)
	DialNotices(ctx context.Context, addr, id string) (net.Conn, error)
}

// Handlers take what other nodes tell, what one tells in its order, and what several do at once. They must not block.
type Handlers struct {
	Notice func(record.Notice)
	Beacon func(record.Beacon)
}

// Notices tells other nodes, and hears them. It may be used from anywhere at once.
type Notices struct {
	peers    Peers
	handlers Handlers
	log      *slog.Logger
	counts   counts

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex          // before that of a way
	ways  map[string]*way     // by the other node's id
	heard map[string]net.Conn // of each node the newest
}

type counts struct{ received, unsent, unread atomic.Uint64 }

// Stats are numbers for people who watch.
type Stats struct {
	// Received is what was heard. Unsent is what was not told a node, as its queue was full, or none, as it was too long; Unread
	// is what was heard and could not be read.
	Received, Unsent, Unread uint64
	// Nodes is how many this one tells, and which answer.
	Nodes int
}

// Start hears other nodes, and tells none before To. The caller closes it.
func Start(peers Peers, h Handlers, log *slog.Logger) *Notices {
	n := &Notices{peers: peers, handlers: h, log: log, ways: map[string]*way{}, heard: map[string]net.Conn{}}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.wg.Go(n.accept)
	return n
}

// To says whom to tell, by id, and at which address, host:port, each is. It may be called as often as one likes, and
// does not block.
func (n *Notices) To(nodes map[string]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.ways, func(id string, w *way) bool {
		gone := nodes[id] != w.addr
		if gone {
			w.stop()
		}
		return gone
	})
	for id, addr := range nodes {
		if n.ways[id] == nil && n.ctx.Err() == nil {
			w := newWay(n, id, addr)
			n.ways[id] = w
			n.wg.Go(w.run)
		}
	}
}

// Notice tells the other nodes. It does not wait for them, nor for the network.
func (n *Notices) Notice(v record.Notice) { n.tell(word{Notice: &v}) }

// Beacon tells the other nodes, as Notice does.
func (n *Notices) Beacon(v record.Beacon) { n.tell(word{Beacon: &v}) }

func (n *Notices) tell(w word) {
	frame, err := w.frame()
	if err != nil {
		n.counts.unsent.Add(1)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.ways {
		if !w.put(frame) {
			n.counts.unsent.Add(1)
		}
	}
}

// Stats may be called from anywhere.
func (n *Notices) Stats() Stats {
	s := Stats{Received: n.counts.received.Load(), Unsent: n.counts.unsent.Load(), Unread: n.counts.unread.Load()}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.ways {
		if w.answered.Load() {
			s.Nodes++
		}
	}
	return s
}

// Close ends all connections and waits. What is under way may be lost.
func (n *Notices) Close() {
	n.mu.Lock() // so that To begins nothing from now on
	n.stop()
	n.mu.Unlock()
	n.wg.Wait()
}
