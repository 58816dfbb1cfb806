package limiter_test

import (
	"fmt"
	"testing"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/replication/lease"
	"veto/validate"
	"veto/validate/limiter"
)

var start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const (
	tick    = time.Millisecond
	oneWay  = 2 * time.Millisecond // of a message
	regular = 500 * time.Millisecond
	soonest = 50 * time.Millisecond
)

// sim is a cluster in a time of its own: real limiters and a real lessor, and a network that takes
// its time and can be cut.
type sim struct {
	now     time.Time
	key     *record.APIKey
	usage   limit.Usage
	lessor  *lease.Lessor
	term    uint64
	members []string
	nodes   []*simNode
	pending []message
	draws   int
}

type message struct {
	at time.Time
	do func()
}

type simNode struct {
	id       string
	limiter  *limiter.Limiter
	cut      bool
	busy     bool
	next     time.Time
	last     time.Time
	woken    bool
	load     float64 // requests a second
	owing    float64
	allowed  int
	refused  int
	perTenth []int
}

func newSim(size int, l limit.Limits) *sim {
	l.Complete()
	s := &sim{
		now: start, lessor: lease.New(), term: 1,
		key: &record.APIKey{ID: "key_1", Consumer: "shop", Limits: &l, Revision: 5},
	}
	for i := range size {
		s.members = append(s.members, fmt.Sprintf("n%d", i))
	}
	for i := range size {
		s.nodes = append(s.nodes, &simNode{id: s.members[i], next: start.Add(time.Duration(i) * 111 * time.Millisecond)})
		s.boot(s.nodes[i])
	}
	return s
}

// boot starts a node anew.
func (s *sim) boot(n *simNode) {
	n.limiter = limiter.New(limiter.Config{Now: s.now, Usage: func(string) limit.Usage { return s.usage }})
	n.limiter.SetNodes(len(s.members))
	n.busy = false
}

func (s *sim) later(after time.Duration, do func()) {
	s.pending = append(s.pending, message{s.now.Add(after), do})
}

func (s *sim) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(tick)
		due := s.pending
		s.pending = nil
		for _, m := range due {
			if m.at.After(s.now) {
				s.pending = append(s.pending, m)
			} else {
				m.do()
			}
		}
		for _, n := range s.nodes {
			s.step(n)
		}
	}
}

func (s *sim) step(n *simNode) {
	tenth := int(s.now.Sub(start) / (100 * time.Millisecond))
	for len(n.perTenth) <= tenth {
		n.perTenth = append(n.perTenth, 0)
	}
	for n.owing += n.load * tick.Seconds(); n.owing >= 1; n.owing-- {
		if _, code := n.limiter.Take(s.key, 1, s.now); code == validate.OK {
			n.allowed++
			n.perTenth[tenth]++
		} else {
			n.refused++
		}
	}
	select {
	case <-n.limiter.Wake():
		n.woken = true
	default:
	}
	switch {
	case n.busy:
	case !s.now.Before(n.next):
		n.next, n.woken = s.now.Add(regular), false
		s.round(n, false)
	case n.woken && s.now.Sub(n.last) >= soonest:
		n.woken = false
		s.round(n, true)
	}
}

// round is what a node does: its report, and what it draws.
func (s *sim) round(n *simNode, urgent bool) {
	n.last = s.now
	for _, r := range n.limiter.Begin(s.now, urgent) {
		if n.cut {
			continue
		}
		n.busy = true
		at := n.limiter
		s.later(oneWay, func() {
			r.Report.Term = s.term
			s.lessor.Lead(s.term, s.now)
			a := s.lessor.Grant(n.id, r.Report, s.members, s.now)
			s.later(oneWay, func() {
				n.busy = false
				if !n.cut && at == n.limiter {
					n.limiter.Granted(r, a, s.now)
				}
			})
		})
	}
	for _, d := range n.limiter.Draws(s.now, false) {
		if n.cut {
			n.limiter.NotDrawn(d)
			continue
		}
		s.later(oneWay, func() { n.limiter.Drawn(d, s.draw(d)) })
	}
}

func (s *sim) draw(d limiter.Drawing) (all []limit.Drawn) {
	for _, one := range d.Draws {
		s.draws++
		var drawn limit.Drawn
		s.usage, drawn = s.usage.Apply(one, s.key.Limits.Quota.Requests)
		all = append(all, drawn)
	}
	return all
}

func (s *sim) loads(all ...float64) {
	for i, n := range s.nodes {
		n.load = all[i%len(all)]
	}
}

func (s *sim) allowed() (sum int) {
	for _, n := range s.nodes {
		sum += n.allowed
	}
	return sum
}

// most is the most that was allowed in any stretch of so many tenths of a second.
func (s *sim) most(tenths int) (most int) {
	for from := 0; from+tenths <= len(s.nodes[0].perTenth); from++ {
		sum := 0
		for _, n := range s.nodes {
			for _, count := range n.perTenth[from : from+tenths] {
				sum += count
			}
		}
		most = max(most, sum)
	}
	return most
}

// G2
func TestClusterKeepsItsRate(t *testing.T) {
	const rate = 100
	limits := limit.Limits{Rate: limit.Rate{Requests: rate, Seconds: 1}, Burst: 20}
	cases := []struct {
		name  string
		size  int
		phase []func(*sim)
		floor float64 // of the limit that is let through at least, over all
	}{
		{"alone", 1, []func(*sim){func(s *sim) { s.loads(400) }}, 0.99},
		{"even", 3, []func(*sim){func(s *sim) { s.loads(200) }}, 0.95},
		{"even, just enough", 3, []func(*sim){func(s *sim) { s.loads(40) }}, 0.9},
		{"skewed", 3, []func(*sim){func(s *sim) { s.loads(900, 5, 5) }}, 0.95},
		{"on one only", 5, []func(*sim){func(s *sim) { s.loads(400, 0, 0, 0, 0) }}, 0.9},
		{"switching", 3, []func(*sim){
			func(s *sim) { s.loads(500, 0, 0) },
			func(s *sim) { s.loads(0, 500, 0) },
			func(s *sim) { s.loads(0, 0, 500) },
			func(s *sim) { s.loads(100, 100, 100) },
			func(s *sim) { s.loads(1000, 10, 1) },
		}, 0.92},
		{"the leader changes", 3, []func(*sim){
			func(s *sim) { s.loads(200, 100, 0) },
			func(s *sim) { s.term, s.lessor = 2, lease.New() },
			func(s *sim) { s.loads(0, 100, 200) },
			func(s *sim) { s.term, s.lessor = 3, lease.New() },
		}, 0.9},
		{"one is cut off, and comes back", 3, []func(*sim){
			func(s *sim) { s.loads(200, 200, 200) },
			func(s *sim) { s.nodes[1].cut = true },
			func(s *sim) { s.nodes[1].cut = false },
		}, 0.9},
		{"one restarts", 3, []func(*sim){
			func(s *sim) { s.loads(200, 200, 200) },
			func(s *sim) { s.boot(s.nodes[1]) },
		}, 0.9},
		{"all are cut off", 3, []func(*sim){
			func(s *sim) { s.loads(200, 200, 200) },
			func(s *sim) {
				for _, n := range s.nodes {
					n.cut = true
				}
			},
		}, 0},
		{"nine nodes", 9, []func(*sim){func(s *sim) { s.loads(100, 1, 30) }}, 0.9},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(c.size, limits)
			for _, phase := range c.phase {
				phase(s)
				s.run(15 * time.Second)
			}
			whole := s.now.Sub(start).Seconds()
			if least := c.floor * rate * whole; float64(s.allowed()) < least {
				t.Errorf("%d were let through in %.0f s, of at least %.0f", s.allowed(), whole, least)
			}
			for _, tenths := range []int{10, 100} {
				if most, bound := s.most(tenths), rate*tenths/10+int(limits.Burst)+c.size; most > bound {
					t.Errorf("%d were let through in %d tenths of a second, of at most %d", most, tenths, bound)
				}
			}
			t.Logf("%.1f %% of the limit, %d at most in 1 s", 100*float64(s.allowed())/(rate*whole), s.most(10))
		})
	}
}

// G2: who stays far below the limit is not refused, wherever it asks.
func TestLittleLoadIsNotRefused(t *testing.T) {
	s := newSim(3, perSecond(100, 100))
	s.run(10 * time.Second) // so long a leader has been there
	for i := range 60 {
		s.loads(0)
		s.nodes[i*i%3].load = 1000 // ten at once
		s.run(10 * time.Millisecond)
		s.loads(0)
		s.run(time.Duration(100+i*37%1900) * time.Millisecond)
	}
	for i, n := range s.nodes {
		if n.refused > 0 {
			t.Errorf("node %d refused %d and let %d through", i, n.refused, n.allowed)
		}
	}
}

// G2: after a rest, a node that is asked alone soon has its half of the burst, and what goes with the share.
func TestBurstComesWithTheShare(t *testing.T) {
	s := newSim(3, perSecond(10, 500))
	s.loads(1, 0, 0)
	s.run(2 * time.Second)
	s.loads(0)
	s.run(100 * time.Second)
	before := s.allowed()
	s.loads(5000, 0, 0)
	s.run(500 * time.Millisecond)
	if n := s.allowed() - before; n < 320 || n > 505+3 {
		t.Errorf("%d were let through at once, of a burst of 500", n)
	}
}
