package consensus

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// gossip is a Survey that says of every node what the test says.
type gossip struct {
	members []*member
	dead    *member
	told    *member     // that it is to be a replica
	heard   *member     // said to be one by gossip, and not by itself
	late    bool        // gossip has not heard of what the node was told
	failed  atomic.Bool // whether the dead node has been dead for long enough
	asked   atomic.Int64
}

func (g *gossip) Known() []Known {
	g.asked.Add(1)
	var known []Known
	for _, m := range g.members {
		known = append(known, Known{
			ID: m.id, Address: m.address, Alive: m != g.dead, Failed: m == g.dead && g.failed.Load(),
			Replica: m == g.told && !g.late || m == g.heard,
		})
	}
	return known
}

func (g *gossip) Replica(_ context.Context, id, _ string) (replica, ok bool) {
	return g.told != nil && g.told.id == id, g.dead == nil || g.dead.id != id
}

func (g *gossip) Health(_ context.Context, servers []Known) map[string]Health {
	health := map[string]Health{}
	for _, k := range servers {
		at := slices.IndexFunc(g.members, func(m *member) bool { return m.id == k.ID })
		if m := g.members[at]; m != g.dead {
			health[k.ID] = Health{LastContact: m.LastContact(), Term: m.Term(), Index: m.LastIndex()}
		}
	}
	return health
}

// C5
func TestPilotRemovesTheDeadOnly(t *testing.T) {
	g := &gossip{}
	var servers []Server
	for _, id := range []string{"a", "b", "c", "d"} {
		m := start(t, id, t.TempDir(), "127.0.0.1:0", Timing{})
		g.members = append(g.members, m)
		servers = append(servers, Server{ID: id, Address: m.address, Voter: true})
	}
	defer func() {
		for _, m := range g.members {
			if m != g.dead {
				m.stop(t)
			}
		}
	}()
	if err := g.members[0].Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	until(t, "one leads, and all have applied", func() bool {
		return slices.ContainsFunc(g.members, func(m *member) bool { return m.IsLeader() && m.Barrier(10*time.Second) == nil })
	})
	leads := slices.IndexFunc(g.members, func(m *member) bool { return m.IsLeader() })
	leader := g.members[leads]
	g.dead = g.members[(leads+1)%len(g.members)]
	g.dead.stop(t)
	voters := func() (n int) {
		now, _ := leader.Servers()
		return len(now)
	}
	pilot := func(minVoters int) (end func()) {
		p := leader.NewPilot(g, Aim{MinVoters: minVoters}, slog.New(slog.DiscardHandler))
		p.Start(t.Context())
		return p.Stop
	}
	looks := func(what string) {
		from := g.asked.Load()
		until(t, what, func() bool { return g.asked.Load() >= from+3 })
	}

	end := pilot(3)
	looks("it looks at a node that may come back")
	if n := voters(); n != 4 {
		t.Fatalf("a node that may yet come back was removed: %d voters", n)
	}
	end()
	g.failed.Store(true)
	end = pilot(4)
	looks("it looks at a dead node that it needs")
	if n := voters(); n != 4 {
		t.Fatalf("fewer voters than wanted: %d", n)
	}
	end()
	end = pilot(3)
	defer func() { end() }()
	until(t, "the dead node is removed", func() bool { return voters() == 3 })
	now, _ := leader.Servers()
	if slices.ContainsFunc(now, func(s Server) bool { return s.ID == g.dead.id }) {
		t.Errorf("%v", now)
	}
}

// piloted are three voters and d, which waits; the gossip tells of them.
type piloted struct {
	*testing.T
	*gossip
	leader, other, last *member
	fewest              int
}

func startPiloted(t *testing.T) *piloted {
	t.Helper()
	p := &piloted{T: t, gossip: &gossip{}, fewest: 4}
	for _, id := range []string{"a", "b", "c", "d"} {
		p.members = append(p.members, start(t, id, t.TempDir(), "127.0.0.1:0", Timing{}))
	}
	t.Cleanup(func() {
		for _, m := range p.members {
			if m != p.dead {
				m.stop(t)
			}
		}
	})
	servers := make([]Server, 3)
	for i := range servers {
		servers[i] = Server{ID: p.members[i].id, Address: p.members[i].address, Voter: true}
	}
	if err := p.members[0].Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	until(t, "one leads", func() bool {
		return slices.ContainsFunc(p.members, func(m *member) bool { return m.IsLeader() && m.Barrier(10*time.Second) == nil })
	})
	leads := slices.IndexFunc(p.members, func(m *member) bool { return m.IsLeader() })
	p.leader, p.other, p.last = p.members[leads], p.members[(leads+1)%3], p.members[(leads+2)%3]
	if err := p.leader.AddReplica("d", p.members[3].address, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *piloted) votes(m *member) bool {
	now, _ := p.leader.Servers()
	voters := slices.DeleteFunc(now, func(s Server) bool { return !s.Voter })
	p.fewest = min(p.fewest, len(voters))
	return slices.ContainsFunc(voters, func(s Server) bool { return s.ID == m.id })
}

// fly has a pilot fly until it is so, or, if that is nil, until it has looked around for long enough.
func (p *piloted) fly(a Aim, what string, so func() bool) {
	p.Helper()
	pilot := p.leader.NewPilot(p, a, slog.New(slog.DiscardHandler))
	pilot.Start(p.Context())
	defer pilot.Stop()
	if from := p.asked.Load(); so == nil {
		so = func() bool { return p.asked.Load() >= from+4 }
	}
	until(p.T, what, so)
}

// C12
func TestPilotKeepsTheVoters(t *testing.T) {
	p := startPiloted(t)
	d := p.members[3]
	three := Aim{Voters: 3, DeadFor: time.Second}
	p.fly(three, "it looks at one that waits", nil)
	if p.votes(d) {
		t.Fatal("there are enough, and d votes")
	}
	p.dead = p.other
	p.other.stop(t)
	p.fly(three, "the one that waits takes the dead one's place", func() bool { return p.votes(d) && !p.votes(p.other) })
	if p.fewest < 3 {
		t.Errorf("there were %d voters meanwhile", p.fewest)
	}
}

// C12
func TestPilotAsksWhomItChanges(t *testing.T) {
	p := startPiloted(t)
	p.heard = p.last
	p.fly(Aim{}, "it looks at one that gossip takes for a replica still", nil)
	if !p.votes(p.last) {
		t.Fatal("it was demoted, though it says itself that it is to vote")
	}
	p.told = p.last
	p.fly(Aim{}, "who is to be a replica is one", func() bool { return !p.votes(p.last) })
	p.heard, p.late = nil, true
	p.fly(Aim{}, "it looks at one that gossip takes for a voter still", nil)
	if p.votes(p.last) {
		t.Fatal("it was promoted, though it says itself that it is to be a replica")
	}
}

// C12
func TestNobodyIsDemotedWhoIsNeeded(t *testing.T) {
	now := time.Now()
	voter := func(id string, healthy bool, gossip autopilot.NodeType) *autopilot.ServerState {
		s := &autopilot.ServerState{State: autopilot.RaftVoter, Health: autopilot.ServerHealth{Healthy: healthy, StableSince: now.Add(-time.Hour)}}
		s.Server.ID, s.Server.NodeType = raft.ServerID(id), gossip
		return s
	}
	const stays, replica = autopilot.NodeVoter, nodeReplica
	leader := voter("a", true, replica)
	leader.State = autopilot.RaftLeader
	for name, c := range map[string]struct {
		want   int
		voters []*autopilot.ServerState
		out    raft.ServerID
	}{
		"as many as wanted":         {3, []*autopilot.ServerState{leader, voter("b", true, stays), voter("c", true, stays)}, ""},
		"one too many":              {3, []*autopilot.ServerState{leader, voter("b", true, stays), voter("c", true, stays), voter("d", true, stays)}, "d"},
		"one too many, and dead":    {3, []*autopilot.ServerState{leader, voter("b", false, stays), voter("c", true, stays), voter("d", true, stays)}, "b"},
		"to be a replica":           {0, []*autopilot.ServerState{leader, voter("b", true, replica), voter("c", true, stays)}, "b"},
		"only gossip says so":       {0, []*autopilot.ServerState{leader, voter("c", true, replica), voter("d", true, stays)}, ""},
		"needed, as another died":   {0, []*autopilot.ServerState{leader, voter("b", true, replica), voter("c", false, stays)}, ""},
		"one of two":                {0, []*autopilot.ServerState{leader, voter("b", true, replica)}, "b"},
		"the leader alone":          {0, []*autopilot.ServerState{leader}, ""},
		"too many, of which 2 died": {3, []*autopilot.ServerState{leader, voter("b", false, stays), voter("c", true, stays), voter("d", false, stays)}, "d"},
	} {
		p := promoter{aim: Aim{Voters: c.want, DeadFor: time.Minute}, survey: &gossip{told: &member{Node: &Node{id: "b"}}}}
		if out := p.surplus(c.voters, now); out != c.out {
			t.Errorf("%s: %q", name, out)
		}
	}
}
