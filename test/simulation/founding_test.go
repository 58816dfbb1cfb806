package simulation

import (
	"testing"
	"testing/synctest"

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
		s.net.whoIs(late).members.hearNobody(true)
		for i := range nodes {
			if i != late {
				s.start(i)
			}
		}
		s.pause(foundIn / 2)
		if at := s.leader(); at >= 0 {
			t.Errorf("%s leads without who is late", nodeID(at))
		}
		s.net.whoIs(late).members.hearNobody(false)
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
		for i := range nodes {
			s.stopNode(i)
		}
		s.wg.Wait()
		for _, p := range s.problems {
			t.Error(p)
		}
	})
}
