package limits_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"veto/node/limits"
	"veto/record"
	"veto/record/limit"
	"veto/validate"
	"veto/validate/limiter"
)

// cluster answers as a leader would that has nobody else.
type cluster struct {
	t       *testing.T
	size    int
	mu      sync.Mutex
	busy    bool
	reports []time.Time
	usage   limit.Usage
	fails   error // of what is proposed
	done    bool  // all the same
}

func (c *cluster) Size() int { return c.size }

func (c *cluster) Lease(_ context.Context, r limit.Report) (limit.Answer, error) {
	c.mu.Lock()
	if c.busy {
		c.t.Error("two rounds at once")
	}
	c.busy = true
	c.reports = append(c.reports, time.Now())
	c.mu.Unlock()
	<-time.After(5 * time.Millisecond) // on its way
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	a := limit.Answer{}
	for range r.Asks {
		a.Grants = append(a.Grants, limit.Grant{Share: limit.Whole - limit.Floors})
	}
	return a, nil
}

func (c *cluster) Propose(_ context.Context, cmd record.Command) (record.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, ok := cmd.Body.(record.DrawQuota)
	if !ok {
		c.t.Errorf("%T", cmd.Body)
	}
	var result record.Result
	if c.fails == nil || c.done {
		for _, d := range body.Draws {
			var drawn limit.Drawn
			c.usage, drawn = c.usage.Apply(d, 1000)
			result.Drawn = append(result.Drawn, drawn)
		}
	}
	return result, c.fails
}

func start(t *testing.T, c *cluster) (*limiter.Limiter, *limits.Limits) {
	t.Helper()
	return startLogging(t, c, slog.DiscardHandler)
}

func startLogging(t *testing.T, c *cluster, to slog.Handler) (*limiter.Limiter, *limits.Limits) {
	t.Helper()
	l := limiter.New(limiter.Config{Now: time.Now(), Usage: func(string) limit.Usage { return limit.Usage{} }})
	return l, limits.Start(limits.Config{
		Limiter: l, Cluster: c, Ready: func() bool { return true }, Now: time.Now, Log: slog.New(to),
	})
}

func key(l limit.Limits) *record.APIKey {
	l.Complete()
	return &record.APIKey{ID: "key_1", Consumer: "shop", Revision: 1, Limits: &l}
}

// K1
func TestRoundsAreMadeInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, size: 3}
		l, rounds := start(t, c)
		k := key(limit.Limits{Rate: limit.Rate{Requests: 1000, Seconds: 1}})
		for range 5000 {
			l.Take(k, 1, time.Now())
			<-time.After(time.Millisecond)
		}
		rounds.Close()
		soon := 0
		for i := 1; i < len(c.reports); i++ {
			gap := c.reports[i].Sub(c.reports[i-1])
			if gap < 50*time.Millisecond || gap > 600*time.Millisecond {
				t.Errorf("round %d came %s after the one before", i, gap)
			}
			if gap < 100*time.Millisecond {
				soon++
			}
		}
		if soon == 0 {
			t.Error("nothing was urgent")
		}
	})
}

// K3: leases are answered, and what is drawn is not.
func TestFailureIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, size: 3, fails: &record.Unavailable{Detail: "no leader"}}
		var told bytes.Buffer
		l, rounds := startLogging(t, c, slog.NewTextHandler(&told, nil))
		k := key(limit.Limits{Rate: limit.Rate{Requests: 1000, Seconds: 1}, Quota: limit.Quota{Requests: 1000, Period: limit.Month}})
		for range 500 {
			l.Take(k, 1, time.Now())
			<-time.After(20 * time.Millisecond)
		}
		rounds.Close()
		if n := strings.Count(told.String(), "\n"); n != 1 || !strings.Contains(told.String(), "nothing is drawn") {
			t.Errorf("told %d times: %s", n, told.String())
		}
	})
}

// K2
func TestWhatIsLeftGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, size: 1}
		l, rounds := start(t, c)
		k := key(limit.Limits{Quota: limit.Quota{Requests: 1000, Period: limit.Month}})
		used := uint64(0)
		for range 200 {
			if _, code := l.Take(k, 1, time.Now()); code == validate.OK {
				used++
			}
			<-time.After(20 * time.Millisecond)
		}
		c.mu.Lock()
		drawn := c.usage.Used
		c.mu.Unlock()
		if drawn <= used {
			t.Errorf("%d were drawn of which %d are used", drawn, used)
		}
		rounds.Close()
		if c.usage.Used != used || used < 190 {
			t.Errorf("after the end %d are taken, and %d were used", c.usage.Used, used)
		}
	})
}

// K2
func TestDrawingsThatFail(t *testing.T) {
	for name, c := range map[string]*cluster{
		"not done":             {fails: &record.Unavailable{Detail: "no leader"}},
		"nobody can tell, no":  {fails: record.ErrOutcomeUnknown},
		"nobody can tell, yes": {fails: record.ErrOutcomeUnknown, done: true},
		"cut off":              {fails: errors.New("cut off")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{t: t, size: 1, fails: c.fails, done: c.done}
				l, rounds := start(t, c)
				k := key(limit.Limits{Quota: limit.Quota{Requests: 1000, Period: limit.Month}})
				used := 0
				ask := func(times int) {
					for range times {
						if _, code := l.Take(k, 1, time.Now()); code == validate.OK {
							used++
						}
						<-time.After(20 * time.Millisecond)
					}
				}
				ask(200)
				if used != 50 { // a twentieth, ahead
					t.Errorf("%d were let through though nothing was drawn", used)
				}
				c.mu.Lock()
				c.fails = nil
				c.mu.Unlock()
				ask(3000)
				rounds.Close()
				if used > 1000 || !c.done && used < 950 {
					t.Errorf("%d of 1000 were let through", used)
				}
			})
		})
	}
}
