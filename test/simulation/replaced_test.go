package simulation

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"veto/record"
)

// S4: a node whose log had another past than the state that it was sent goes on, though nothing can be committed without it.
func TestNodeWhoseLogWasReplacedGoesOn(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPlan(1)
		p.timing, p.peppers, p.clocks, p.stale = raftTiming(300*time.Millisecond, 1, 1), false, false, false
		s := newSimulation(t, p, newTally(), dir)
		for i := range nodes {
			s.start(i)
		}
		s.prepare()
		deposed := s.leader()
		heal := s.cutting(func(from, to int) bool { return from == deposed || to == deposed })
		for n := range 60 {
			go s.commits(deposed, fmt.Sprint("lost-", n))
		}
		leader := s.waitForLeader(deposed)
		for n := range 3 {
			if !s.commits(leader, fmt.Sprint("kept-", n)) {
				t.Error("nothing is committed by the rest")
			}
		}
		s.pause(3 * time.Second) // until the log is cut
		heal()
		s.waitFor("a state is sent", func() bool { return s.seen("Installed remote snapshot") > 0 })
		s.pause(3 * time.Second)
		if sent := s.seen("Installed remote snapshot"); sent > 5 {
			s.wrong("a state was sent %d times", sent)
		} else {
			for i := range nodes {
				if i != deposed && i != leader {
					s.stopNode(i)
				}
			}
			s.waitFor("a change is committed", func() bool { return s.commits(leader, "needs-both") })
		}
		s.end()
		for _, p := range s.problems {
			t.Error(p)
		}
	})
}

// commits tells whether the node could bring a consumer into the log.
func (s *simulation) commits(i int, name string) (done bool) {
	client{s, -1, nil}.with(i, 5*time.Second, func(ctx context.Context, n *incarnation) {
		_, err := n.replica.Propose(ctx, record.Command{Body: record.PutConsumer{Consumer: record.Consumer{ID: name, Name: name}}})
		done = err == nil
	})
	return done
}

// waitForLeader waits until another node than the one leads.
func (s *simulation) waitForLeader(but int) (leader int) {
	s.waitFor("another leads", func() bool {
		for i := range voters {
			if n := s.net.whoIs(i); i != but && n != nil && n.replica.Leads() {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

func (s *simulation) waitFor(what string, ok func() bool) {
	for until := time.Now().Add(settleIn); time.Now().Before(until); s.pause(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	s.wrong("never: %s", what)
}

// seen is how often nodes logged it.
func (s *simulation) seen(event string) int {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	return s.tally.events[event]
}
