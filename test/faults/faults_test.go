//go:build faults

package faults

import (
	"context"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"veto/client"
)

var (
	seconds  = flag.Int("seconds", 20, "how long faults are injected")
	seed     = flag.Uint64("seed", 1, "which faults, and when")
	voters   = flag.Int("voters", 3, "voters of the cluster")
	replicas = flag.Int("replicas", 1, "replicas of the cluster")
	only     = flag.String("only", "", "inject only faults whose names have this in them")
)

const clients = 6

// P6, P7
func TestFaults(t *testing.T) {
	var kinds []harm
	for _, h := range harms {
		if strings.Contains(h.name, *only) {
			kinds = append(kinds, h)
		}
	}
	if len(kinds) == 0 {
		t.Fatalf("no fault has %q in its name", *only)
	}
	long := time.Duration(*seconds) * time.Second
	plan := newPlan(rand.New(rand.NewPCG(*seed, 99)), kinds, *voters, *voters+*replicas, long)
	t.Logf("seed %d, %d voters, %d replicas: the plan", *seed, *voters, *replicas)
	for i, s := range plan {
		t.Logf("  %3d. %s", i+1, s)
	}
	c := startCluster(t, *voters, *replicas, 2*long+time.Hour, true)
	if !c.net.netem {
		t.Log("this kernel cannot delay packets (no netem): a slow link is one of 400 kbit/s with a queue of 500 ms")
	}
	w := newWorkload(c)
	w.prepare()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.run(ctx, clients, *seed)
	}()
	n := &nemesis{cluster: c, began: w.began, done: map[string]int{}}
	n.run(plan)
	healed := time.Now()
	for i := range c.nodes {
		c.ready(i)
	}
	t.Logf("all nodes are ready %s after the last fault", time.Since(healed).Round(time.Millisecond))
	stop()
	<-ended
	w.tally.ended()
	w.judge(n)
}

// prepare makes what the workload needs.
func (w *workload) prepare() {
	w.until("a consumer", func() bool {
		ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
		defer cancel()
		_, err := w.at(0).PutConsumer(ctx, "all", client.ConsumerFields{Name: "of many keys"})
		return err == nil
	})
}

// judge looks whether every promise was kept, and shows what there was to keep them through.
func (w *workload) judge(n *nemesis) {
	f := &findings{wrong: int(w.forged.Load())}
	result := w.linear(f)
	w.ends(f, n.clocks())
	w.issuers(f)
	w.trails(f)
	w.states(f)
	for _, d := range n.crashes() {
		f.wrong++
		w.t.Errorf("%s ended by itself at %s, with no disk to blame:\n%s", id(d.node), d.at.Sub(n.began), w.lastWords(d.node))
	}
	w.t.Logf("seed %d, %d voters, %d replicas, %d s of faults, %d credentials, a history of %d calls: %s",
		*seed, *voters, *replicas, *seconds, len(w.credentials.all), len(w.history.Operations()), result)
	for _, h := range harms {
		if n.done[h.name] > 0 {
			w.t.Logf("  %-44s %d", h.name, n.done[h.name])
		}
	}
	w.t.Log("\n" + w.tally.table())
	w.t.Logf("lost %d, wrong %d", f.lost, f.wrong)
	if f.lost+f.wrong > 0 {
		w.t.Fail()
	}
}
