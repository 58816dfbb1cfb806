package canary_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"veto/node/canary"
	"veto/record"
)

// cluster denies what it is told to, as late as it is told to.
type cluster struct {
	mu      sync.Mutex
	others  []record.NodeStatus
	delays  map[string]time.Duration // by node; one that is not there does not answer
	taking  time.Duration            // how long it takes to take a revocation
	pending int
	names   []record.Name
	asked   map[string]int
	waiting int
	told    []string // what the watcher was told
	unready bool
}

const (
	ms    = time.Millisecond
	every = 5 * time.Second
)

func (c *cluster) Revoke(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error) {
	<-time.After(c.taking)
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait != 0 || t.By != "" || t.Revocation.Check() != nil || !t.Revocation.OfCanary() {
		return record.Accepted{}, fmt.Errorf("not a canary's: %+v", t)
	}
	c.names = append(c.names, t.Revocation.Name)
	return record.Accepted{Outbox: record.OutboxID{1}, Number: uint64(len(c.names))}, ctx.Err()
}

func (c *cluster) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending
}

func (c *cluster) Others() []record.NodeStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.others)
}

var errGone = errors.New("connection refused")

func (c *cluster) Denies(ctx context.Context, id string, a record.Accepted, n record.Name) error {
	c.mu.Lock()
	if a.Number == 0 || c.names[a.Number-1].Value != n.Value {
		c.told = append(c.told, "asked for another name")
	}
	c.asked[id]++
	delay, ok := c.delays[id]
	c.waiting++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting--
	}()
	if !ok {
		return errGone
	}
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *cluster) tell(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, text)
}

func (c *cluster) Confirmed(id, region string, took time.Duration) {
	c.tell(fmt.Sprintf("%s %s %s", id, region, took))
}
func (c *cluster) Failed(id, region string) { c.tell(id + " " + region + " failed") }
func (c *cluster) Gone(id string)           { c.tell(id + " gone") }

// set changes what the cluster does.
func (c *cluster) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// since is what the watcher was told since it was last asked, sorted.
func (c *cluster) since() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.told
	c.told = nil
	slices.Sort(told)
	return told
}

// fly starts a canary in a bubble, with two others: n2 is near, n3 far.
func fly(t *testing.T, interval time.Duration, story func(t *testing.T, c *cluster, x *canary.Canary)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{
			others: []record.NodeStatus{{ID: "n2", Region: "near"}, {ID: "n3", Region: "far"}},
			delays: map[string]time.Duration{"n2": 2 * ms, "n3": 80 * ms}, asked: map[string]int{}, taking: 7 * ms,
		}
		var ids int
		x := canary.Start(canary.Config{
			Cluster: c, Watcher: c, Every: interval, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Ready: func() bool { c.mu.Lock(); defer c.mu.Unlock(); return !c.unready },
			NewID: func() string { c.mu.Lock(); defer c.mu.Unlock(); ids++; return fmt.Sprint(ids) },
		})
		story(t, c, x)
		x.Close()
	})
}

// after lets time go by, that of the bubble.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// C1
func TestMeasuresUntilTheWordIsHere(t *testing.T) {
	fly(t, every, func(t *testing.T, c *cluster, x *canary.Canary) {
		t.Helper()
		if p := x.Propagation("n2"); p != nil {
			t.Errorf("before anything was measured: %+v", p)
		}
		after(time.Second)
		// The 7 ms before it was taken do not count; the nodes are asked together.
		equal(t, c.since(), []string{"n2 near 2ms", "n3 far 80ms"})
		if p := x.Propagation("n3"); *p != (record.Propagation{P50Millis: 80, P99Millis: 80, Samples: 1}) {
			t.Errorf("%+v", p)
		}
		for i := range 99 {
			c.set(func() { c.delays["n2"] = time.Duration(i+1) * ms })
			after(every)
		}
		if p := x.Propagation("n2"); *p != (record.Propagation{P50Millis: 49, P99Millis: 98, Samples: 100}) {
			t.Errorf("%+v", p)
		}
		if seen := c.asked["n2"]; seen != 100 || len(c.names) != 100 || c.names[0].Value == c.names[99].Value {
			t.Errorf("asked %d times for %d names", seen, len(c.names))
		}
	})
}

// C1: one that cannot be reached is asked again, and its way to an answer is what was measured; one
// that gives none in time has failed.
func TestNodeThatDoesNotConfirmFails(t *testing.T) {
	fly(t, time.Hour, func(t *testing.T, c *cluster, x *canary.Canary) {
		t.Helper()
		c.set(func() { delete(c.delays, "n3"); c.delays["n2"] = 9 * time.Second })
		after(3 * time.Second)
		equal(t, c.since(), nil)
		c.set(func() { c.delays["n3"] = 80 * ms })
		after(time.Second)
		equal(t, c.since(), []string{"n3 far 3.08s"})
		after(6 * time.Second)
		equal(t, c.since(), []string{"n2 near 9s"})
		c.set(func() { delete(c.delays, "n3"); c.delays["n2"] = 11 * time.Second })
		after(time.Hour + 5*time.Second)
		equal(t, c.since(), []string{"n2 near failed", "n3 far failed"})
		if p := x.Propagation("n2"); p.Samples != 1 || p.Failed != 1 {
			t.Errorf("%+v", p)
		}
	})
}

// C2
func TestFailuresAreNotShownAsFast(t *testing.T) {
	fly(t, every, func(t *testing.T, c *cluster, x *canary.Canary) {
		t.Helper()
		after(300 * every) // more than are kept
		if p := x.Propagation("n3"); *p != (record.Propagation{P50Millis: 80, P99Millis: 80, Samples: 256}) {
			t.Errorf("%+v", p)
		}
		c.set(func() { delete(c.delays, "n3") })
		after(2*every + time.Second)
		if p := x.Propagation("n3"); p.P50Millis != -1 || p.P99Millis != -1 || p.Failed != 1 {
			t.Errorf("stopped: %+v", p)
		}
		after(3 * every)
		// Back, and asked for those under way as well, of which the youngest counts as the last.
		c.set(func() { c.delays["n3"] = 80 * ms })
		after(3 * every)
		if p := x.Propagation("n3"); p.P50Millis != 80 || p.P99Millis != -1 || p.Failed != 4 || p.Samples != 252 {
			t.Errorf("back, with more than one in a hundred failed: %+v", p)
		}
		// One that is asked for and never answered says nothing of those let fly after it.
		c.set(func() { c.delays["n3"] = time.Hour })
		after(every)
		c.set(func() { c.delays["n3"] = 4 * time.Second })
		after(2 * every)
		if p := x.Propagation("n3"); p.P50Millis != 80 || p.Failed != 5 {
			t.Errorf("one never answered: %+v", p)
		}
		c.set(func() { c.delays["n3"] = 80 * ms })
		after(257 * every)
		if p := x.Propagation("n3"); *p != (record.Propagation{P50Millis: 80, P99Millis: 80, Samples: 256}) {
			t.Errorf("long after: %+v", p)
		}
	})
}

// C3
func TestCanariesUnderWayAreBounded(t *testing.T) {
	fly(t, 10*ms, func(t *testing.T, c *cluster, x *canary.Canary) {
		t.Helper()
		c.set(func() { c.delays["n2"], c.delays["n3"] = time.Hour, time.Hour })
		after(9 * time.Second)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.waiting != 2*128 || len(c.names) != 128 {
			t.Errorf("%d are waited for, %d were let fly", c.waiting, len(c.names))
		}
	})
}

// C3
func TestCanaryRests(t *testing.T) {
	fly(t, every, func(t *testing.T, c *cluster, _ *canary.Canary) {
		t.Helper()
		after(time.Second)
		for name, f := range map[string]func(bool){
			"held up":   func(yes bool) { c.pending = map[bool]int{true: 1000, false: 999}[yes] },
			"not ready": func(yes bool) { c.unready = yes },
		} {
			c.set(func() { f(true) })
			before := len(c.names)
			after(10 * every)
			if len(c.names) != before {
				t.Errorf("%s: %d were let fly", name, len(c.names)-before)
			}
			c.set(func() { f(false) })
			after(10 * every)
			if len(c.names) != before+10 {
				t.Errorf("no longer %s: %d were let fly", name, len(c.names)-before)
			}
		}
		c.set(func() { c.others = nil })
		before := len(c.names)
		after(10 * every)
		if len(c.names) != before {
			t.Error("with nobody to ask, it revokes")
		}
	})
}

// C3
func TestNodesThatLeaveAreForgotten(t *testing.T) {
	fly(t, every, func(t *testing.T, c *cluster, x *canary.Canary) {
		t.Helper()
		after(time.Second)
		c.since()
		c.set(func() { c.delays["n3"] = 3 * time.Second; c.delays["n2"] = 6 * time.Second })
		after(every)
		c.set(func() { c.others = []record.NodeStatus{{ID: "n3"}} }) // gossip has forgotten its region
		after(every)
		// What was under way for the one that left is told to nobody.
		after(every)
		equal(t, c.since(), []string{"n2 gone", "n3 far 3s", "n3 far 3s"})
		if p := x.Propagation("n2"); p != nil {
			t.Errorf("%+v", p)
		}
		c.set(func() { c.others = []record.NodeStatus{{ID: "n3", Region: "near"}} })
		after(every)
		equal(t, c.since(), []string{"n3 far 3s", "n3 gone"})
		after(every)
		if got := c.since(); !slices.Equal(got, []string{"n3 near 3s"}) || x.Propagation("n3").Samples != 1 {
			t.Errorf("moved: %q, %+v", got, x.Propagation("n3"))
		}
	})
}

// C4
func TestCloseEndsTheCanary(t *testing.T) {
	fly(t, every, func(t *testing.T, c *cluster, x *canary.Canary) {
		t.Helper()
		c.set(func() { delete(c.delays, "n2"); c.delays["n3"] = time.Hour })
		after(time.Second)
		begin := time.Now()
		x.Close()
		if took := time.Since(begin); took > 0 {
			t.Errorf("closing took %s", took)
		}
		after(time.Hour)
		equal(t, c.since(), nil)
	})
}
