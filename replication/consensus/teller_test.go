package consensus

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// three are voters whose leader speaks to idle followers as seldom as this says.
func three(t *testing.T, every time.Duration) (leader *member, followers []*member) {
	t.Helper()
	var servers []Server
	var all []*member
	for _, id := range []string{"a", "b", "c"} {
		m := start(t, id, t.TempDir(), "127.0.0.1:0", Timing{CommitTimeout: every})
		t.Cleanup(func() { m.stop(t) })
		all, servers = append(all, m), append(servers, Server{ID: id, Address: m.address, Voter: true})
	}
	for _, m := range all {
		if err := m.Bootstrap(servers); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "one leads", func() bool {
		leader, followers = nil, nil
		for _, m := range all {
			if m.IsLeader() {
				leader = m
			} else {
				followers = append(followers, m)
			}
		}
		return leader != nil && len(followers) == 2
	})
	return leader, followers
}

// C13
func TestFollowersAreTold(t *testing.T) {
	leader, followers := three(t, time.Hour)
	for range 20 {
		leader.propose(t, 1)
		for _, f := range followers {
			until(t, "a follower applies what was committed", func() bool {
				return f.journal.store.Applied().Index >= leader.journal.store.Applied().Index
			})
		}
	}
}

// C13
func TestWhatIsToldBindsNobodyElse(t *testing.T) {
	leader, followers := three(t, 0)
	leader.propose(t, 3)
	f := followers[0]
	at := leader.journal.store.Applied()
	until(t, "the follower has it", func() bool { return f.journal.store.Applied().Index == at.Index })
	to := raft.Server{ID: raft.ServerID(f.id), Address: raft.ServerAddress(f.address)}
	term := leader.Term()
	for what, told := range map[string]committed{
		"an entry that it lacks":   {index: at.Index + 1, entryTerm: at.Term, term: term},
		"an entry of another term": {index: at.Index, entryTerm: at.Term + 1, term: term},
		"by a leader that was":     {index: at.Index, entryTerm: at.Term, term: term - 1},
		"an entry far ahead":       {index: at.Index + 1_000_000, entryTerm: at.Term, term: term},
	} {
		if got := leader.teller.send(to, told); got != lacking && got != far || f.raft.CommitIndex() != at.Index {
			t.Errorf("%s: %d, and it has committed %d, not %d", what, got, f.raft.CommitIndex(), at.Index)
		}
	}
	if got := leader.teller.send(to, committed{index: at.Index, entryTerm: at.Term, term: term}); got != heard {
		t.Errorf("what it has is refused: %d", got)
	}
	leader.propose(t, 1)
	until(t, "the follower goes on", func() bool { return f.journal.store.Applied().Index > at.Index })
}

// C13: whoever is gone is not told for good, though there is always something to be told.
func TestRemovedServersAreNotTold(t *testing.T) {
	leader, followers := three(t, 0)
	gone := followers[0]
	id := gone.id
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the leader tries to tell it", func() bool { leader.propose(t, 1); return leader.teller.tells(id) })
	_, basedOn := leader.Servers()
	if err := leader.Remove(id, basedOn); err != nil {
		t.Fatal(err)
	}
	until(t, "it is let go", func() bool { leader.propose(t, 1); return !leader.teller.tells(id) })
}

func (t *teller) tells(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.telling[raft.ServerID(id)]
}
