package limiter_test

import (
	"testing"
	"time"

	"veto/record/limit"
	"veto/validate"
	"veto/validate/limiter"
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
	// Each time a third of a tenth is lost at most, and half as much that was used ahead not counted.
	if n := s.allowed(); n > quota+5*quota/60+quota/20+3 || n < quota-5*quota/30 || s.usage.Used < quota {
		t.Errorf("%d were let through, %d taken of %d", n, s.usage.Used, quota)
	}
	t.Logf("%d of %d", s.allowed(), quota)
}

// G4: about what ten seconds need is drawn at once.
func TestDrawsAreRare(t *testing.T) {
	s := newSim(1, perDay(1_000_000))
	s.loads(100)
	s.run(time.Minute)
	if s.draws > 12 {
		t.Errorf("in a minute it was drawn %d times", s.draws)
	}
	l := newLimiter(1) // whose key is hardly used
	code(t, l, key("key_1", 1, perDay(1000)), 1, start, validate.OK)
	l.Drawn(drawOne(t, l, start, 1)[0], []limit.Drawn{{Used: 1}})
	drawOne(t, l, start.Add(10*time.Second), 0)
}

// G4: a node holds no more of a quota than its part of what is left, however much is asked for.
func TestHoldsNoMoreThanAPart(t *testing.T) {
	s := newSim(3, perDay(6000))
	s.loads(150)
	for range 10 {
		s.run(time.Second)
		left := int64(6000) - int64(s.usage.Used)
		if held := int64(s.usage.Used) - int64(s.allowed()); held > (left+500)/10 {
			t.Errorf("%d are drawn and not used, and %d are left", held, left)
		}
	}
}

// G4: nodes that are cut off use up a twentieth, all of them together.
func TestCutOffUsesAhead(t *testing.T) {
	s := newSim(3, perDay(6000))
	for _, n := range s.nodes {
		n.cut = true
	}
	s.loads(100)
	s.run(20 * time.Second)
	if n := s.allowed(); n != 300 {
		t.Errorf("%d of 6000 were let through though nothing was drawn", n)
	}
}

// drawOne makes a round, and expects so many draws.
func drawOne(t *testing.T, l *limiter.Limiter, now time.Time, want int) (all []limiter.Drawing) {
	t.Helper()
	l.Begin(now, false)
	if all = l.Draws(now, false); len(all) != want {
		t.Fatalf("%d draws at %s: %+v", len(all), now.Sub(start), all)
	}
	return all
}

// G4, G6
func TestWhatDoesNotGoBackGoesLater(t *testing.T) {
	l, now := newLimiter(1), start
	code(t, l, key("key_1", 1, perDay(1000)), 1, now, validate.OK)
	l.Drawn(drawOne(t, l, now, 1)[0], []limit.Drawn{{Granted: 20, Used: 21}})
	for now = now.Add(30 * time.Second); now.Before(start.Add(5 * time.Minute)); now = now.Add(10 * time.Second) {
		d := drawOne(t, l, now, 1)[0]
		if d.Draws[0].Back != 20 {
			t.Fatalf("%+v goes back at %s", d.Draws[0], now.Sub(start))
		}
		l.NotDrawn(d)
	}
	l.Drawn(drawOne(t, l, now, 1)[0], []limit.Drawn{{Used: 1}})
	for range 2 {
		now = now.Add(30 * time.Second)
		drawOne(t, l, now, 0)
	}
	if n := l.Stats().Keys; n != 0 {
		t.Errorf("%d keys are counted after a rest", n)
	}
}

// G4: what was drawn of a day is not used on the next.
func TestDrawingOverMidnight(t *testing.T) {
	midnight := start.Truncate(24 * time.Hour).Add(24 * time.Hour)
	day := limit.Usage{Window: midnight.Unix()}
	for name, over := range map[string]func(*limiter.Limiter, limiter.Drawing){
		"done":     func(l *limiter.Limiter, d limiter.Drawing) { l.Drawn(d, []limit.Drawn{{Granted: 500, Used: 1000}}) },
		"not done": func(l *limiter.Limiter, d limiter.Drawing) { d.Draws[0].Back = 500; l.NotDrawn(d) },
	} {
		l := limiter.New(limiter.Config{Now: start, Usage: func(string) limit.Usage { return day }})
		l.SetNodes(1)
		k := key("key_1", 1, perDay(1000))
		code(t, l, k, 1, midnight.Add(-time.Second), validate.OK)
		d := drawOne(t, l, midnight.Add(-time.Second), 1)[0]
		code(t, l, k, 1, midnight, validate.OK)
		over(l, d)
		if use, _ := l.Look(k, 1, midnight); use.Quota.Remaining != 999 {
			t.Errorf("%s: %+v", name, use.Quota)
		}
	}
}

// G4: others may give back what they had drawn: so it is tried again, but not all the time.
func TestExhaustedIsTriedAgain(t *testing.T) {
	l := limiter.New(limiter.Config{Now: start, Usage: func(string) limit.Usage {
		return limit.Usage{Window: start.Truncate(24 * time.Hour).Unix(), Used: 1000}
	}})
	l.SetNodes(1)
	k, tried := key("key_1", 1, perDay(1000)), 0
	for i := range 60 {
		now := start.Add(time.Duration(i) * 500 * time.Millisecond)
		code(t, l, k, 1, now, validate.QuotaExceeded)
		l.Begin(now, false)
		for _, d := range l.Draws(now, false) {
			l.Drawn(d, []limit.Drawn{{Used: 1000}})
			tried++
		}
	}
	if tried != 5 {
		t.Errorf("in 30 s it was tried %d times", tried)
	}
}
