package simulation

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"veto/record"
)

// S2: the voters of a new cluster vote from its beginning, also one that hears late of the others: they wait for it.
func TestVotersOfANewClusterWaitForEachOther(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPlan(1)
		p.peppers, p.clocks, p.stale = false, false, false
		s := newSimulation(t, p, newTally(), dir)
		late := voters - 1
		s.start(late)
		s.net.whoIs(late).members.deaf.Store(true)
		for i := range nodes {
			if i != late {
				s.start(i)
			}
		}
		s.pause(foundIn / 4)
		s.stopNode(0) // one that is started again is as one that has only begun
		s.start(0)
		s.pause(foundIn / 4)
		if at := s.leader(); at >= 0 {
			t.Errorf("%s leads without who is late", nodeID(at))
		}
		s.net.whoIs(late).members.deaf.Store(false)
		s.prepare()
		votes := 0
		for _, n := range s.net.whoIs(0).replica.Status(t.Context()).Nodes {
			if n.Role == record.NodeVoter {
				votes++
			}
		}
		if votes != voters {
			t.Errorf("%d of %d vote as soon as the cluster is founded", votes, voters)
		}
		s.end()
		for _, p := range s.problems {
			t.Error(p)
		}
	})
}

// S3: a voter that lost its disk is demoted by the leader before it hears of anything, and votes again once it has everything.
func TestVoterThatLostItsDiskIsDemoted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPlan(1)
		p.peppers, p.clocks, p.stale = false, false, false
		s := newSimulation(t, p, newTally(), dir)
		for i := range nodes {
			s.start(i)
		}
		s.prepare()
		lost := (s.leader() + 1) % voters
		s.fall(lost)
		s.nodes[lost].disk = newDisk(func() time.Duration { return 0 })
		s.start(lost)
		// Demoted first: whoever has no log is not heard before.
		s.votesOf(lost, record.NodeReplica)
		s.votesOf(lost, record.NodeVoter)
		s.end()
		for _, p := range s.problems {
			t.Error(p)
		}
	})
}

// votesOf waits until the cluster has the node in a role.
func (s *simulation) votesOf(i int, role record.NodeRole) {
	for until := time.Now().Add(settleIn); time.Now().Before(until); s.pause(50 * time.Millisecond) {
		at := s.leader()
		if at < 0 || at == i {
			continue
		}
		for _, n := range s.net.whoIs(at).replica.Status(context.Background()).Nodes {
			if n.ID == nodeID(i) && n.Member && n.Role == role {
				return
			}
		}
	}
	s.wrong("%s has not become a %s", nodeID(i), role)
}
