package consensus

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stream lets Raft talk over the node-to-node listener. It resolves ids to the addresses that
// gossip knows now, and remembers which id an address was resolved from, so that the dial
// can demand that very node's certificate.
type stream struct {
	net.Listener
	peers   Dialer
	resolve func(id string) (string, bool)
	ids     sync.Map // raft.ServerAddress -> raft.ServerID
}

// ServerAddr is called by Raft before each dial.
func (s *stream) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	addr, ok := s.resolve(string(id))
	if !ok {
		return "", fmt.Errorf("gossip knows no address of node %s", id)
	}
	s.ids.Store(raft.ServerAddress(addr), id)
	return raft.ServerAddress(addr), nil
}

// Dial connects to the node that the address was resolved from. Where gossip knew none, Raft
// falls back on the address in its configuration, and any node of the cluster may answer.
func (s *stream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	want := ""
	if id, ok := s.ids.Load(addr); ok {
		want = string(id.(raft.ServerID))
	}
	return s.peers.DialRaft(string(addr), want, timeout)
}
