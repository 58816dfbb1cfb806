package simulation

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"veto/record"
	"veto/validate"
)

// P7: what a node answered as pending it denies when it is back and ready, though it lost with the machine
// all that it knew of the cluster, and its word does not get through to the leader.
func TestPendingDeniesOnceReady(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPlan(1)
		p.timing.SnapshotInterval, p.peppers, p.clocks, p.stale = time.Hour, false, false, false // nothing is made durable meanwhile
		s := newSimulation(t, p, newTally(), dir)
		for i := range nodes {
			s.start(i)
		}
		s.prepare()
		c := client{s, 0, s.random}
		one := c.newToken(-1)
		at := (s.leader() + 1) % voters
		ours := func(from, _ int) bool { return from == at }
		both := func(from, to int) bool { return from == at || to == at }
		s.net.change(both, func(w *weather) { w.cut = true })
		c.with(at, time.Second, func(ctx context.Context, n *incarnation) {
			a, err := n.replica.Revoke(ctx, record.Taken{Revocation: record.Revocation{Name: one.names[0]}}, 0)
			if err != nil || a.Number == 0 {
				t.Errorf("%+v %v", a, err)
			}
		})
		s.lose(at)
		s.net.change(both, func(w *weather) { w.cut = false })
		s.net.change(ours, func(w *weather) { w.slow = 3 * time.Second })
		s.start(at)
		n := s.net.whoIs(at)
		for !n.view.Freshness().Ready && time.Since(s.began) < time.Minute {
			s.pause(time.Millisecond)
		}
		if v := n.check.Validate(validate.Request{Credential: one.text}, s.now(at)); v.Code != validate.Revoked {
			t.Errorf("%s, with %d pending", v.Code, n.replica.Pending())
		}
		s.net.change(ours, func(w *weather) { *w = weather{} })
		s.end()
		for _, p := range s.problems {
			t.Error(p)
		}
	})
}
