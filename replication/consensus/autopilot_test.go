package consensus

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// gossip is a Survey that says of every node what the test says.
type gossip struct {
	members []*member
	dead    *member
	failed  atomic.Bool // whether the dead node has been dead for long enough
	asked   atomic.Int64
}

func (g *gossip) Known() []Known {
	g.asked.Add(1)
	var known []Known
	for _, m := range g.members {
		known = append(known, Known{
			ID: m.id, Address: m.address, Alive: m != g.dead, Failed: m == g.dead && g.failed.Load(),
		})
	}
	return known
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
		p := leader.NewPilot(g, minVoters, slog.New(slog.DiscardHandler))
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
