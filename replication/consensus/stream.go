package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// stream lets Raft talk over the node-to-node listener. It resolves ids to the addresses that
// gossip knows now. Raft pools connections by address, so the id is part of it: a connection
// to one node never serves for another that has come to its address.
type stream struct {
	net.Listener
	peers   Dialer
	resolve func(id string) (string, bool)
	// admitted is false on a node that must not vote yet: who connects is turned away at once.
	admitted atomic.Bool

	mu       sync.Mutex
	accepted map[*accepted]struct{} // nil once it is closed
}

// accepted is a connection that another node opened.
type accepted struct {
	net.Conn
	of *stream
}

// Accept keeps what it gives: Raft stops reading a connection only when the other side ends it.
func (s *stream) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	for err == nil && !s.admitted.Load() {
		_ = c.Close() // the other side tries again
		c, err = s.Listener.Accept()
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // Raft looks at what it is
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted == nil {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	a := &accepted{Conn: c, of: s}
	s.accepted[a] = struct{}{}
	return a, nil
}

func (a *accepted) Close() error {
	a.of.mu.Lock()
	delete(a.of.accepted, a)
	a.of.mu.Unlock()
	return a.Conn.Close() //nolint:wrapcheck // a connection's errors are its reader's
}

// Close ends the connections that were accepted, too.
func (s *stream) Close() error {
	s.mu.Lock()
	all := s.accepted
	s.accepted = nil
	s.mu.Unlock()
	err := s.Listener.Close()
	for a := range all {
		_ = a.Conn.Close() // the other side sees that it is gone
	}
	return err
}

// ServerAddr is called by Raft before each dial. It gives id@host:port.
func (s *stream) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	addr, ok := s.resolve(string(id))
	if !ok {
		return "", fmt.Errorf("no address of node %s is known", id)
	}
	return raft.ServerAddress(string(id) + "@" + addr), nil
}

// Dial connects to the node with the id. Where none was resolved, Raft gives the bare address
// of its configuration, at which anyone may be by now: that is refused.
func (s *stream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, at, ok := strings.Cut(string(addr), "@")
	if !ok {
		return nil, fmt.Errorf("the node at %s is not known by its id yet", addr)
	}
	return s.peers.DialRaft(at, id, min(timeout, dialLimit))
}

// patient goes on trying to send to a node that cannot be reached for as long as it serves: Raft would count each try that failed,
// and come again after as long a time as the node was away, up to 10 s. So long it would lack what follows when it is back.
type patient struct {
	*raft.NetworkTransport
	// serves tells whether this node leads in the term and the other is of its configuration: Raft, which knows when neither is so
	// any more, looks only when it is answered.
	serves func(id raft.ServerID, term uint64) bool
	ended  <-chan struct{}
	logger *slog.Logger
}

// AppendEntries is Raft's.
func (p patient) AppendEntries(id raft.ServerID, at raft.ServerAddress, r *raft.AppendEntriesRequest, answer *raft.AppendEntriesResponse) error {
	err := p.NetworkTransport.AppendEntries(id, at, r, answer)
	told := r.PrevLogEntry == 0 // by the tries to send entries, which meet the same as this heartbeat
	for pause := leastReach; err != nil && p.waits(pause) && p.serves(id, r.Term); pause = min(2*pause, mostReach) {
		if pause == mostReach && !told { // Raft says why only when it is answered
			p.logger.Warn("a node cannot be reached; it is tried again until it can be, or is removed", "node", id, "error", err)
			told = true
		}
		err = p.NetworkTransport.AppendEntries(id, at, r, answer)
	}
	return err //nolint:wrapcheck // Raft logs it
}

// waits tells whether another try may follow the pause.
func (p patient) waits(pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-p.ended:
		return false
	}
}

// After what pauses a node is tried again, and how long a try to connect may take: a machine that is off answers nothing. It is enough to
// connect over half the world, by four messages that take 300 ms each, though one is lost.
const (
	leastReach = 10 * time.Millisecond
	mostReach  = 500 * time.Millisecond
	dialLimit  = 3 * time.Second
)
