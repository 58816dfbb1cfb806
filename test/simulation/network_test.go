package simulation

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"veto/record"
	"veto/replication/peer"
)

// network is between the nodes. What crosses a link is late, by what the seed says for that link and that
// message; on the way of notices, beacons and packets of gossip it may be lost, doubled and overtaken as well.
type network struct {
	nodes int

	mu    sync.Mutex
	links [][]*link      // from, to
	at    []*incarnation // nil while a node is down
}

// link is one direction between two nodes.
type link struct {
	mu     sync.Mutex
	random *rand.Rand
	weather
}

// weather is what a link does at a time.
type weather struct {
	cut   bool
	muted bool    // for notices, beacons and packets
	loss  float64 // of messages; on connections that delays what is sent
	twice float64 // of notices, beacons and packets
	slow  time.Duration
}

const (
	usual     = 3 * time.Millisecond
	resend    = 200 * time.Millisecond
	dialLimit = 10 * time.Second
)

func newNetwork(seed uint64, nodes int) *network {
	w := &network{nodes: nodes, at: make([]*incarnation, nodes)}
	for from := range nodes {
		w.links = append(w.links, nil)
		for to := range nodes {
			w.links[from] = append(w.links[from], &link{random: rand.New(rand.NewPCG(seed, uint64(100+from*nodes+to)))})
		}
	}
	return w
}

// change changes the weather of the links that f names.
func (w *network) change(f func(from, to int) bool, to func(*weather)) {
	for i := range w.nodes {
		for j := range w.nodes {
			if i != j && f(i, j) {
				l := w.links[i][j]
				l.mu.Lock()
				to(&l.weather)
				l.mu.Unlock()
			}
		}
	}
}

func (w *network) link(from, to int) *link { return w.links[from][to] }

func (w *network) whoIs(i int) *incarnation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[i]
}

func (w *network) put(i int, n *incarnation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[i] = n
}

// passes tells how long what is sent now takes, and whether it gets there at all.
func (l *link) passes() (late time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	late = time.Duration(l.random.Int64N(int64(usual)))
	if l.slow > 0 {
		late += time.Duration(l.random.Int64N(int64(l.slow)))
	}
	return late, !l.cut && l.random.Float64() >= l.loss
}

// copies tells how long each copy of a message takes that is sent at most once, but may come twice.
func (l *link) copies() (late []time.Duration) {
	first, ok := l.passes()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || l.muted {
		return nil
	}
	if l.random.Float64() < l.twice {
		return []time.Duration{first, 6 * first}
	}
	return []time.Duration{first}
}

// isCut tells whether nothing passes.
func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// surely is how long it takes until what is sent again and again gets there; false if the context ends
// first.
func (l *link) surely(ctx context.Context) bool {
	for again := resend; ; again = min(2*again, 2*time.Second) {
		late, ok := l.passes()
		if !ok {
			late = again
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(late):
		}
		if ok {
			return true
		}
	}
}

// word sends a notice or a beacon to all others, as a connection would: at most once, but that it may also come
// twice, and one before the other.
func word[T any](w *network, from *incarnation, v T, hear func(*incarnation, T)) {
	b, err := record.Encode(v)
	if err != nil || from.dead.Load() {
		return
	}
	for to := range w.nodes {
		n := w.whoIs(to)
		if to == from.number || n == nil {
			continue
		}
		l := w.link(from.number, to)
		for _, late := range l.copies() {
			time.AfterFunc(late, func() {
				var got T
				if l.isCut() || n.dead.Load() || record.Decode(b, &got) != nil {
					return
				}
				hear(n, got)
			})
		}
	}
}

var errNobody = errors.New("nobody answers there")

// call brings a call to a node and the answer back. It is sent at most once: what is not answered may have
// been done.
func (w *network) call(ctx context.Context, from *incarnation, id, path string, body []byte) ([]byte, error) {
	to := numberOfNode(id)
	if from.dead.Load() || to < 0 {
		return nil, &peer.CallError{Err: net.ErrClosed}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(from.ended, cancel)()
	dial, stop := context.WithTimeout(ctx, dialLimit)
	defer stop()
	if !w.link(from.number, to).surely(dial) || !w.link(to, from.number).surely(dial) {
		return nil, &peer.CallError{Err: context.Cause(dial)}
	}
	n := w.whoIs(to)
	if n == nil || n.dead.Load() {
		return nil, &peer.CallError{Err: errNobody}
	}
	if !w.link(from.number, to).surely(ctx) {
		return nil, &peer.CallError{Sent: true, Err: ctx.Err()}
	}
	type reply struct {
		body []byte
		err  error
	}
	answered := make(chan reply, 1)
	if !n.begin() {
		return nil, &peer.CallError{Sent: true, Err: net.ErrClosed}
	}
	go func() {
		defer n.busy.Done()
		inside, end := context.WithCancel(ctx)
		defer end()
		defer context.AfterFunc(n.ended, end)()
		b, err := n.peers.answer(inside, nodeID(from.number), path, append([]byte(nil), body...))
		answered <- reply{b, err}
	}()
	select {
	case <-ctx.Done():
		return nil, &peer.CallError{Sent: true, Err: ctx.Err()}
	case r := <-answered:
		if n.dead.Load() || !w.link(to, from.number).surely(ctx) {
			return nil, &peer.CallError{Sent: true, Err: net.ErrClosed}
		}
		if r.err != nil {
			var coded interface{ Code() string }
			remote := &peer.RemoteError{Detail: r.err.Error()}
			if errors.As(r.err, &coded) {
				remote.Code = coded.Code()
			}
			return nil, remote
		}
		return r.body, nil
	}
}
