package consensus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Server is one node of the configuration that Raft agreed on.
type Server struct {
	ID, Address string
	Voter       bool
}

const membershipTimeout = 10 * time.Second

// Servers is the latest configuration that this node knows, sorted by id, and its index.
// Membership changes name that index, so that one based on an older configuration fails.
func (n *Node) Servers() (list []Server, index uint64) {
	f := n.raft.GetConfiguration() // its error is always nil
	return serversOf(f.Configuration()), f.Index()
}

func serversOf(c raft.Configuration) (list []Server) {
	for _, s := range c.Servers {
		list = append(list, Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	slices.SortFunc(list, func(a, b Server) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// Promote makes a node a voter. Only the leader can. It blocks until a majority has it, as do the others.
func (n *Node) Promote(id, address string, basedOn uint64) error {
	return changeError(n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(address), basedOn, membershipTimeout).Error())
}

// Demote makes a voter a node that only follows. Only the leader can.
func (n *Node) Demote(id string, basedOn uint64) error {
	return changeError(n.raft.DemoteVoter(raft.ServerID(id), basedOn, membershipTimeout).Error())
}

// SoleVoter is the configuration of a cluster of one node, as a store keeps it.
func SoleVoter(id, address string) []byte {
	return raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(address)},
	}})
}

// ServersOf are the servers of a configuration, as a store keeps it, sorted by id. It must be one.
func ServersOf(configuration []byte) []Server {
	return serversOf(raft.DecodeConfiguration(configuration))
}

// Founded tells whether the node has ever been part of a cluster.
func (n *Node) Founded() bool { return n.raft.LastIndex() > 0 }

// Bootstrap makes the first configuration. All voters of a new cluster must call it with the same servers, and Admit once
// all have it; it admits a node that is alone. On a node that has been part of a cluster it does nothing.
func (n *Node) Bootstrap(servers []Server) error {
	if n.Founded() {
		return nil
	}
	var c raft.Configuration
	for _, s := range servers {
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address),
		})
	}
	err := n.raft.BootstrapCluster(c).Error()
	if err == raft.ErrCantBootstrap { //nolint:errorlint // Raft returns it bare
		return nil
	}
	if err == nil && len(servers) == 1 {
		n.Admit()
		n.stand()
	}
	return err
}

// decidesAlone tells whether this node is the only voter: it has nobody to hear of.
func (n *Node) decidesAlone(servers []Server) bool {
	voters := slices.DeleteFunc(servers, func(s Server) bool { return !s.Voter })
	return len(voters) == 1 && voters[0].ID == n.id
}

// stand has a node that has heard of no leader stand for election now, and not in the second or two after which a silent
// leader is held for gone: Raft looks whether it has been silent for too long when "too long" becomes less.
func (n *Node) stand() {
	c := n.raft.ReloadableConfig()
	c.HeartbeatTimeout--
	_ = n.raft.ReloadConfig(c) // refused is only what Raft cannot work with, and it worked with this
}

// AddReplica adds a node that does not vote, or changes the address of one that is there, in
// which case a voter stays a voter. Only the leader can.
func (n *Node) AddReplica(id, address string, basedOn uint64) error {
	return changeError(n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), basedOn, membershipTimeout).Error())
}

// Remove takes a node out of the configuration. Only the leader can.
func (n *Node) Remove(id string, basedOn uint64) error {
	return changeError(n.raft.RemoveServer(raft.ServerID(id), basedOn, membershipTimeout).Error())
}

// changeError is ErrNotLeader where the change was not made and may be tried again: another leads, or the
// configuration is another by now than the one that it was based on.
func changeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrLeadershipTransferInProgress),
		strings.HasPrefix(err.Error(), "configuration changed since"): // raft has no error of its own for that
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return err
}
