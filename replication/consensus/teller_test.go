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
		if leader.teller.send(to, told) || f.raft.CommitIndex() != at.Index {
			t.Errorf("%s: it has committed %d, and not %d", what, f.raft.CommitIndex(), at.Index)
		}
	}
	if !leader.teller.send(to, committed{index: at.Index, entryTerm: at.Term, term: term}) {
		t.Error("what it has is refused")
	}
	leader.propose(t, 1)
	until(t, "the follower goes on", func() bool { return f.journal.store.Applied().Index > at.Index })
}
