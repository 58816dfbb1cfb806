package consensus

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// Known is what gossip and the node itself say of a server.
type Known struct {
	ID, Address, Version string
	// Replica nodes never become voters, as gossip says.
	Replica bool
	// Alive as gossip says. Failed: it has been dead for so long that it may be removed. Neither: it is
	// dead, and may yet come back.
	Alive, Failed bool
}

// Health is what a server says of itself.
type Health struct {
	LastContact time.Duration // negative: it never heard of the leader
	Term, Index uint64
}

// Survey is how the leader learns of the servers. All methods may block for a short while.
type Survey interface {
	Known() []Known
	// Replica asks a server itself, which hears first of its role, whether it is to be a replica; not ok if it does not answer.
	Replica(ctx context.Context, id, address string) (replica, ok bool)
	// Health asks the servers; those that do not answer are left out.
	Health(ctx context.Context, servers []Known) map[string]Health
}

// Pilot promotes healthy nodes to voters and removes dead ones while its node leads.
type Pilot struct{ autopilot *autopilot.Autopilot }

// Aim is what a pilot keeps to.
type Aim struct {
	// MinVoters is the number of voters below which it removes none.
	MinVoters int
	// Voters is how many there are to be; 0 is all that are no replicas.
	Voters int
	// DeadFor is how long a voter does not answer until another takes its place, if Voters is set; 1 minute
	// if 0.
	DeadFor time.Duration
}

const deadFor = time.Minute

// NewPilot makes a pilot that does nothing yet.
func (n *Node) NewPilot(s Survey, aim Aim, log *slog.Logger) *Pilot {
	aim.MinVoters = max(aim.MinVoters, 1)
	if aim.DeadFor == 0 {
		aim.DeadFor = deadFor
	}
	d := &delegate{survey: s, node: n, minVoters: uint(aim.MinVoters), log: log}
	return &Pilot{autopilot.New(n.raft, d,
		autopilot.WithLogger(newLogger(log)), autopilot.WithPromoter(promoter{new(autopilot.StablePromoter), aim, n.Servers, s}),
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
			IsLeader: k.ID == leader,
		}
	}
	return servers
}

func statusOf(k Known) autopilot.NodeStatus {
	switch {
	case k.Alive:
		return autopilot.NodeAlive
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

// promoter keeps as many voters as are wanted, of nodes that are no replicas, and lets nobody be
// removed who may yet come back.
type promoter struct {
	*autopilot.StablePromoter
	aim     Aim
	servers func() ([]Server, uint64)
	survey  Survey
}

func (promoter) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := map[raft.ServerID]autopilot.NodeType{}
	for id, server := range s.Servers {
		types[id] = server.Server.NodeType
	}
	return types
}

// FilterFailedServerRemovals leaves those that failed. Autopilot takes everyone who is
// not alive for failed, and for stale whom the survey did not name this time.
func (promoter) FilterFailedServerRemovals(_ *autopilot.Config, _ *autopilot.State, f *autopilot.FailedServers) *autopilot.FailedServers {
	mayComeBack := func(s *autopilot.Server) bool { return s.NodeStatus != autopilot.NodeFailed }
	return &autopilot.FailedServers{
		FailedVoters:    slices.DeleteFunc(f.FailedVoters, mayComeBack),
		FailedNonVoters: slices.DeleteFunc(f.FailedNonVoters, mayComeBack),
	}
}

// CalculatePromotionsAndDemotions names one node at most: what is next is decided by the configuration that
// comes of it.
func (p promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	if !p.current(s) {
		return autopilot.RaftChanges{}
	}
	now := time.Now()
	var voters, standby []*autopilot.ServerState
	inService := 0
	for _, id := range slices.Sorted(maps.Keys(s.Servers)) {
		server := s.Servers[id]
		switch {
		case server.HasVotingRights():
			voters = append(voters, server)
			if server.Health.Healthy || now.Sub(server.Health.StableSince) < p.aim.DeadFor {
				inService++
			}
		case server.Server.NodeType == autopilot.NodeVoter && server.Health.IsStable(now, s.ServerStabilizationTime(c)):
			standby = append(standby, server)
		}
	}
	if p.aim.Voters == 0 || inService < p.aim.Voters {
		for _, one := range standby {
			if replica, ok := p.says(one); ok && !replica {
				return autopilot.RaftChanges{Promotions: []raft.ServerID{one.Server.ID}}
			}
		}
	}
	if out := p.surplus(voters, now); out != "" {
		return autopilot.RaftChanges{Demotions: []raft.ServerID{out}}
	}
	return autopilot.RaftChanges{}
}

// says is what a server itself wants to be: the state is some seconds old, and an operator may have given it another
// role since.
func (p promoter) says(s *autopilot.ServerState) (replica, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	return p.survey.Replica(ctx, string(s.Server.ID), string(s.Server.Address))
}

// askFor bounds a question to one server.
const askFor = time.Second

// current tells whether the voters are still those of the state, which may have been taken before the last
// change.
func (p promoter) current(s *autopilot.State) bool {
	now, _ := p.servers()
	return !slices.ContainsFunc(now, func(is Server) bool {
		was, ok := s.Servers[raft.ServerID(is.ID)]
		return ok && was.HasVotingRights() != is.Voter
	})
}

// surplus is a voter that is to be none, first who does not answer, if a majority of those that are left
// answers; empty if there is none. The leader is never one.
func (p promoter) surplus(voters []*autopilot.ServerState, now time.Time) raft.ServerID {
	var out *autopilot.ServerState
	outReplica := false
	healthy := 0
	for _, v := range voters {
		if v.Health.Healthy {
			healthy++
		}
		dead := !v.Health.Healthy && now.Sub(v.Health.StableSince) >= p.aim.DeadFor
		tooMany := p.aim.Voters > 0 && len(voters) > p.aim.Voters
		if v.State == autopilot.RaftLeader {
			continue
		}
		replica := false
		if v.Server.NodeType == nodeReplica {
			replica, _ = p.says(v)
		}
		if !tooMany && !replica {
			continue
		}
		if tooMany && !dead && !v.Health.Healthy {
			continue // it may be back in a moment
		}
		if out == nil || dead || out.Health.Healthy && !outReplica {
			out, outReplica = v, replica
		}
	}
	if out == nil {
		return ""
	}
	if out.Health.Healthy {
		healthy--
	}
	if left := len(voters) - 1; left < 1 || healthy < left/2+1 {
		return ""
	}
	return out.Server.ID
}
