package limiter_test

import (
	"testing"
	"time"

	"veto/validate"
)

// G4: what is used beyond the quota is at most what all nodes together may use ahead, a twentieth,
// and one request each; and under load it is used up to that.
func TestQuotaIsKept(t *testing.T) {
	const quota = 20_000
	for _, c := range []struct {
		name  string
		loads []float64
		then  func(*sim)
	}{
		{"even", []float64{1000, 1000, 1000}, nil},
		{"skewed", []float64{3000, 10, 1}, nil},
		{"on one only", []float64{2000, 0, 0}, nil},
		{"switching", []float64{2000, 0, 0}, func(s *sim) { s.loads(0, 0, 2000) }},
		{"one is cut off", []float64{1000, 1000, 1000}, func(s *sim) { s.nodes[0].cut = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(3, perDay(quota))
			s.loads(c.loads...)
			s.run(2 * time.Second)
			if c.then != nil {
				c.then(s)
			}
			s.run(58 * time.Second)
			if n := s.allowed(); n < quota*9/10 || n > quota+quota/20+3 {
				t.Errorf("%d were let through, of %d", n, quota)
			}
			t.Logf("%d of %d", s.allowed(), quota)
			use, code := s.nodes[2].limiter.Look(s.key, 1, s.now)
			if c.then == nil && c.loads[2] > 0 && (code != validate.QuotaExceeded || use.Quota.Remaining > 0) {
				t.Errorf("in the end: %s, %+v", code, use.Quota)
			}
		})
	}
}

// G4
func TestQuotaComesBack(t *testing.T) {
	s := newSim(3, perDay(100_000))
	s.loads(100, 10, 1)
	s.run(20 * time.Second)
	s.loads(0)
	s.run(time.Minute)
	if int(s.usage.Used) != s.allowed() {
		t.Errorf("%d are taken of the quota, and %d were used", s.usage.Used, s.allowed())
	}
	s.loads(100, 10, 1)
	s.run(5 * time.Second)
	for _, n := range s.nodes { // as when it is closed
		for _, d := range n.limiter.Draws(s.now, true) {
			n.limiter.Drawn(d, s.draw(d))
		}
	}
	if int(s.usage.Used) != s.allowed() {
		t.Errorf("%d are taken of the quota after the end, and %d were used", s.usage.Used, s.allowed())
	}
}

// G4
func TestNextWindow(t *testing.T) {
	s := newSim(1, perDay(100))
	s.loads(50)
	s.run(10 * time.Second)
	if n := s.allowed(); n < 90 || n > 106 {
		t.Fatalf("%d of 100 were let through", n)
	}
	was := s.allowed()
	s.now = s.now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	if use, code := s.nodes[0].limiter.Look(s.key, 1, s.now); code != validate.OK || use.Quota.Remaining != 100 || use.Quota.Reset != 24*3600 {
		t.Errorf("at midnight: %s, %+v", code, use.Quota)
	}
	s.run(10 * time.Second)
	if n := s.allowed() - was; n < 90 || n > 106 {
		t.Errorf("%d of 100 were let through on the next day", n)
	}
}

// What a killed node had drawn is not used by anyone, and nothing is used twice.
func TestKilledNodeLosesWhatItHadDrawn(t *testing.T) {
	const quota = 20_000
	s := newSim(3, perDay(quota))
	s.loads(500)
	for range 5 {
		s.run(1500 * time.Millisecond)
		s.boot(s.nodes[1])
	}
	s.run(time.Minute)
	// Each time a third of a twentieth is lost at most, and as much that was used ahead not counted.
	if n := s.allowed(); n > quota+5*quota/60+quota/20+3 || n < quota-5*quota/60 || s.usage.Used < quota {
		t.Errorf("%d were let through, %d taken of %d", n, s.usage.Used, quota)
	}
	t.Logf("%d of %d", s.allowed(), quota)
}
