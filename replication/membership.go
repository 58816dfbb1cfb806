package replication

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"veto/record"
	"veto/replication/consensus"
	"veto/replication/roster"
)

// The states of a member, as gossip has them.
const (
	stateAlive = "alive"
	stateLeft  = "left"
)

// How long a node may be dead before autopilot may remove it.
const (
	deadVoterLimit   = 24 * time.Hour
	deadReplicaLimit = time.Hour
)

// reconcile brings the configuration in the log in step with what gossip says. It adds whom
// gossip found and who proves to be of this cluster, follows changed addresses, and removes
// who left. Who merely failed is left to autopilot. Called by the leader, one at a time.
func (r *Replica) reconcile(ctx context.Context) {
	for _, m := range r.roster.Members() {
		if m.ID == r.config.ID || ctx.Err() != nil {
			continue
		}
		servers, basedOn := r.node().Servers()
		if err := r.reconcileOne(ctx, m, servers, basedOn); err != nil && ctx.Err() == nil {
			r.config.Log.Warn("membership was not brought in step; the leader tries again", "node", m.ID, "error", err)
		}
	}
}

func (r *Replica) reconcileOne(ctx context.Context, m roster.Member, servers []consensus.Server, basedOn uint64) error {
	at := slices.IndexFunc(servers, func(s consensus.Server) bool { return s.ID == m.ID })
	switch {
	case m.State == stateLeft && at >= 0:
		r.config.Log.Info("removing a node that left", "node", m.ID)
		return r.node().Remove(m.ID, basedOn)
	case m.State != stateAlive, at >= 0 && servers[at].Address == m.PeerAddr:
		return nil
	}
	if !r.belongs(ctx, m) {
		return nil
	}
	for _, s := range servers {
		if s.Address == m.PeerAddr && s.ID != m.ID {
			r.config.Log.Info("removing a node whose address another has now", "node", s.ID, "by", m.ID)
			return r.node().Remove(s.ID, basedOn)
		}
	}
	r.config.Log.Info("adding a node", "node", m.ID, "address", m.PeerAddr, "role", m.Role)
	return r.node().AddReplica(m.ID, m.PeerAddr, basedOn)
}

// belongs asks the node itself, over a connection that proves its id with the cluster's
// certificate: gossip alone is not believed (P9).
func (r *Replica) belongs(ctx context.Context, m roster.Member) bool {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	s, err := call[struct{}, nodeState](ctx, r.peers, m.PeerAddr, m.ID, pathState, struct{}{})
	if err != nil {
		r.config.Log.Debug("a node that gossip found does not answer yet", "node", m.ID, "error", err)
		return false
	}
	if s.ClusterID != "" && s.ClusterID != r.view.ClusterID() {
		r.config.Log.Warn("a node of another cluster was found and is not added; check its --join and its data directory", "node", m.ID)
		return false
	}
	if s.level() < r.view.Level() {
		r.config.Log.Warn("a node was found whose version is too old for this cluster, and is not added; start a newer one on it", "node", m.ID, "version", s.Version)
		return false
	}
	return s.ID == m.ID
}

// meet keeps the roster and the broadcast in step with each other, and founds the cluster
// when the expected voters have met. It runs on every node until ctx ends.
func (r *Replica) meet(ctx context.Context) {
	every(ctx, time.Second, nil, func(ctx context.Context) {
		r.tellRoster()
		r.routes()
		if !r.node().Founded() {
			r.bootstrap(ctx)
		}
	})
}

func (r *Replica) tellRoster() {
	me := r.roster.Self()
	founded, cluster := r.node().Founded(), r.view.ClusterID()
	if cluster == "" {
		cluster = me.ClusterID // what the node knew when it started: the state may have lost it, and get it again
	}
	if me.Founded == founded && me.ClusterID == cluster {
		return
	}
	me.Founded, me.ClusterID = founded, cluster
	if err := r.roster.Update(me); err != nil {
		r.config.Log.Warn("gossip did not take this node's news; it tries again", "error", err)
	}
}

// routes are to all who have not left: whom gossip takes for dead is perhaps only cut off, and is to
// be told as soon as it can be reached, which may be long before gossip hears of it.
func (r *Replica) routes() {
	var routes []string
	for _, m := range r.roster.Members() {
		if m.ID != r.config.ID && m.State != stateLeft && m.RouteAddr != "" {
			routes = append(routes, m.RouteAddr)
		}
	}
	slices.Sort(routes)
	if err := r.broadcast.SetRoutes(routes); err != nil {
		r.config.Log.Warn("the routes for notices were not set; it tries again", "error", err)
	}
}

// bootstrap makes the first configuration if this node may: alone, or once as many voters as
// expected have met, all expect the same, and every one of them says itself that it is new.
// If one is part of a cluster, this node waits to be added to that one.
func (r *Replica) bootstrap(ctx context.Context) {
	if r.config.Role != record.NodeVoter {
		return
	}
	self := consensus.Server{ID: r.config.ID, Address: r.config.Address, Voter: true}
	if r.config.Expect <= 1 {
		if !r.config.Joins {
			r.bootstrapWith([]consensus.Server{self})
		}
		return
	}
	voters := []consensus.Server{self}
	for _, m := range r.roster.Members() {
		if m.ID == r.config.ID || m.State != stateAlive || m.Role != string(record.NodeVoter) {
			continue
		}
		if m.Founded || m.Expect != r.config.Expect {
			return
		}
		voters = append(voters, consensus.Server{ID: m.ID, Address: m.PeerAddr, Voter: true})
	}
	if len(voters) != r.config.Expect {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	isNew := r.ask(voters, func(s consensus.Server, _ string) bool {
		if s.ID == r.config.ID {
			return true
		}
		got, err := call[struct{}, nodeState](ctx, r.peers, s.Address, s.ID, pathState, struct{}{})
		return err == nil && !got.Founded && got.Expect == r.config.Expect
	})
	if slices.Contains(isNew, false) {
		return
	}
	r.bootstrapWith(voters)
}

func (r *Replica) bootstrapWith(voters []consensus.Server) {
	slices.SortFunc(voters, func(a, b consensus.Server) int { return cmp.Compare(a.ID, b.ID) })
	if err := r.node().Bootstrap(voters); err != nil {
		r.config.Log.Warn("the cluster was not founded; this node tries again", "error", err)
	}
}

// survey tells autopilot what gossip and the nodes themselves say. Used by the pilot of one
// term, so it counts anew how long a node has been dead.
type survey struct {
	replica *Replica

	mu   sync.Mutex
	dead map[string]time.Time // since when
}

// Known includes nodes that gossip has forgotten but the log has not, as failed in time.
func (s *survey) Known() []consensus.Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	var known []consensus.Known
	for _, n := range s.replica.nodes() {
		k := consensus.Known{
			ID: n.ID, Address: n.Address, Version: n.Version,
			Replica: s.isReplica(n.ID), Alive: n.State == stateAlive, Left: n.State == stateLeft,
		}
		if k.Alive {
			delete(s.dead, n.ID)
		} else if _, ok := s.dead[n.ID]; !ok {
			s.dead[n.ID] = s.replica.config.Now()
		}
		k.Failed = !k.Alive && s.deadTooLong(n)
		known = append(known, k)
	}
	return known
}

func (s *survey) deadTooLong(n record.NodeStatus) bool {
	limit := deadVoterLimit
	if n.Role == record.NodeReplica {
		limit = deadReplicaLimit
	}
	return s.replica.config.Now().Sub(s.dead[n.ID]) > limit
}

func (s *survey) isReplica(id string) bool {
	for _, m := range s.replica.roster.Members() {
		if m.ID == id {
			return m.Role == string(record.NodeReplica)
		}
	}
	return false
}

// Health asks the servers how far they are.
func (s *survey) Health(ctx context.Context, servers []consensus.Known) map[string]consensus.Health {
	list := make([]consensus.Server, len(servers))
	for i, k := range servers {
		list[i] = consensus.Server{ID: k.ID, Address: k.Address}
	}
	var mu sync.Mutex
	health := map[string]consensus.Health{}
	s.replica.ask(list, func(srv consensus.Server, addr string) bool {
		state, err := s.replica.stateOf(ctx, srv.ID, addr)
		if err != nil {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		health[srv.ID] = consensus.Health{
			LastContact: time.Duration(state.ContactMillis) * time.Millisecond,
			Term:        state.Term, Index: state.LastIndex,
		}
		return true
	})
	return health
}
