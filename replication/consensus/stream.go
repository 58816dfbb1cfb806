package consensus

import (
	"fmt"
	"net"
	"strings"
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
	return s.peers.DialRaft(at, id, timeout)
}
