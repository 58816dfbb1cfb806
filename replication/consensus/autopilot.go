package consensus

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// Known is what gossip and the node itself say of a server.
type Known struct {
	ID, Address, Version string
	// Replica nodes never become voters.
	Replica bool
	// Alive, Left as gossip says. Failed: it has been dead for so long that it may be
	// removed. None of them: it is dead, and may yet come back.
	Alive, Left, Failed bool
}

// Health is what a server says of itself.
type Health struct {
	LastContact time.Duration // negative: it never heard of the leader
	Term, Index uint64
}

// Survey is how the leader learns of the servers. Both methods may block for a short while.
type Survey interface {
	Known() []Known
	// Health asks the servers; those that do not answer are left out.
	Health(ctx context.Context, servers []Known) map[string]Health
}

// Pilot promotes healthy nodes to voters and removes dead ones while its node leads.
type Pilot struct{ autopilot *autopilot.Autopilot }

// NewPilot makes a pilot that does nothing yet. MinVoters is the number of voters below which
// it removes none.
func (n *Node) NewPilot(s Survey, minVoters int, log *slog.Logger) *Pilot {
	d := &delegate{survey: s, node: n, minVoters: uint(max(minVoters, 1)), log: log}
	return &Pilot{autopilot.New(n.raft, d,
		autopilot.WithLogger(newLogger(log)), autopilot.WithPromoter(promoter{new(autopilot.StablePromoter)}),
		autopilot.WithReconcileInterval(2*time.Second), autopilot.WithUpdateInterval(2*time.Second))}
}

// Start begins; Stop ends and waits.
func (p *Pilot) Start(ctx context.Context) { p.autopilot.Start(ctx) }

// Stop ends the pilot and waits until it has.
func (p *Pilot) Stop() { <-p.autopilot.Stop() }

type delegate struct {
	survey    Survey
	node      *Node
	minVoters uint
	log       *slog.Logger
}

// AutopilotConfig removes a failed server only after another voter has taken its place or
// while enough voters remain: MinQuorum keeps it from shrinking a cluster to one node.
func (d *delegate) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		CleanupDeadServers: true, LastContactThreshold: time.Second, MaxTrailingLogs: 2000,
		MinQuorum: d.minVoters, ServerStabilizationTime: 10 * time.Second,
	}
}

func (d *delegate) NotifyState(*autopilot.State) {}

func (d *delegate) KnownServers() map[raft.ServerID]*autopilot.Server {
	leader := d.node.Leader()
	servers := map[raft.ServerID]*autopilot.Server{}
	for _, k := range d.survey.Known() {
		servers[raft.ServerID(k.ID)] = &autopilot.Server{
			ID: raft.ServerID(k.ID), Name: k.ID, Address: raft.ServerAddress(k.Address),
			NodeStatus: statusOf(k), NodeType: typeOf(k.Replica), Version: k.Version, RaftVersion: 3,
			IsLeader: k.ID == leader, Ext: k.Replica,
		}
	}
	return servers
}

func statusOf(k Known) autopilot.NodeStatus {
	switch {
	case k.Alive:
		return autopilot.NodeAlive
	case k.Left:
		return autopilot.NodeLeft
	case k.Failed:
		return autopilot.NodeFailed
	}
	return autopilot.NodeUnknown
}

func (d *delegate) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var ask []Known
	for _, s := range servers {
		ask = append(ask, Known{ID: string(s.ID), Address: string(s.Address)})
	}
	stats := map[raft.ServerID]*autopilot.ServerStats{}
	for id, h := range d.survey.Health(ctx, ask) {
		stats[raft.ServerID(id)] = &autopilot.ServerStats{
			LastContact: h.LastContact, LastTerm: h.Term, LastIndex: h.Index,
		}
	}
	return stats
}

// RemoveFailedServer must not block; the removal itself is a log entry.
func (d *delegate) RemoveFailedServer(s *autopilot.Server) {
	d.log.Warn("removing a dead node from the cluster", "node", s.ID)
	d.node.raft.RemoveServer(s.ID, 0, membershipTimeout)
}

const nodeReplica autopilot.NodeType = "replica"

func typeOf(replica bool) autopilot.NodeType {
	if replica {
		return nodeReplica
	}
	return autopilot.NodeVoter
}

// promoter promotes what autopilot's stable promoter does, except replicas, and lets nobody be
// removed who may yet come back.
type promoter struct{ *autopilot.StablePromoter }

func (promoter) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := map[raft.ServerID]autopilot.NodeType{}
	for id, server := range s.Servers {
		replica, _ := server.Server.Ext.(bool)
		types[id] = typeOf(replica)
	}
	return types
}

// FilterFailedServerRemovals leaves those that failed or left. Autopilot takes everyone who is
// not alive for failed, and for stale whom the survey did not name this time.
func (promoter) FilterFailedServerRemovals(_ *autopilot.Config, _ *autopilot.State, f *autopilot.FailedServers) *autopilot.FailedServers {
	mayComeBack := func(s *autopilot.Server) bool {
		return s.NodeStatus != autopilot.NodeFailed && s.NodeStatus != autopilot.NodeLeft
	}
	return &autopilot.FailedServers{
		FailedVoters:    slices.DeleteFunc(f.FailedVoters, mayComeBack),
		FailedNonVoters: slices.DeleteFunc(f.FailedNonVoters, mayComeBack),
	}
}

func (promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	var changes autopilot.RaftChanges
	now := time.Now()
	for id, server := range s.Servers {
		replica, _ := server.Server.Ext.(bool)
		if !replica && server.State == autopilot.RaftNonVoter && server.Health.IsStable(now, s.ServerStabilizationTime(c)) {
			changes.Promotions = append(changes.Promotions, id)
		}
	}
	return changes
}
