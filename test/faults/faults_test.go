//go:build faults

package faults

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"veto/client"
	"veto/validate"
)

var (
	seconds = flag.Int("seconds", 20, "how long faults are injected")
	seed    = flag.Uint64("seed", 1, "which faults, and when")
	voters  = flag.Int("voters", 3, "nodes of the cluster")
	only    = flag.String("only", "", "inject only faults whose names have this in them")
)

// nemesis does harm, and makes it good again.
type nemesis struct {
	*cluster
	began  time.Time
	random *rand.Rand
	done   map[string]int
}

// fault is one kind of harm: it lasts until what it returns is called.
type fault struct {
	name string
	do   func(n *nemesis) (mend func())
}

var kinds = []fault{
	{"kill -9 of the leader", func(n *nemesis) func() { return n.killing(n.aLeader()) }},
	{"kill -9 of a node", func(n *nemesis) func() { return n.killing(n.random.IntN(len(n.nodes))) }},
	{"kill -9 of all nodes", func(n *nemesis) func() {
		var mends []func()
		for i := range n.nodes {
			mends = append(mends, n.killing(i))
		}
		return func() {
			for _, mend := range mends {
				mend()
			}
		}
	}},
	{"the leader is frozen", func(n *nemesis) func() { return n.freezing(n.aLeader()) }},
	{"a node is frozen", func(n *nemesis) func() { return n.freezing(n.random.IntN(len(n.nodes))) }},
	{"the leader is cut off", func(n *nemesis) func() { n.net.isolate([]int{n.aLeader()}); return n.net.heal }},
	{"a node is cut off", func(n *nemesis) func() { n.net.isolate([]int{n.random.IntN(len(n.nodes))}); return n.net.heal }},
	{"all nodes are cut off from each other", func(n *nemesis) func() {
		for i := range n.nodes {
			n.net.isolate([]int{i})
		}
		return n.net.heal
	}},
	{"the leader hears nobody", func(n *nemesis) func() {
		leader := n.aLeader()
		for i := range n.nodes {
			if i != leader {
				n.net.cut(i, leader)
			}
		}
		return n.net.heal
	}},
	{"cut off, then killed", func(n *nemesis) func() {
		i := n.random.IntN(len(n.nodes))
		n.net.isolate([]int{i})
		n.wait(time.Second)
		mend := n.killing(i)
		mend()
		n.wait(time.Second)
		return n.net.heal
	}},
}

func (n *nemesis) aLeader() int {
	if i := n.leader(); i >= 0 {
		return i
	}
	return n.random.IntN(len(n.nodes))
}

func (n *nemesis) killing(i int) func() {
	n.kill(i)
	return func() { n.start(i) }
}

func (n *nemesis) freezing(i int) func() {
	n.signal(i, syscall.SIGSTOP)
	return func() { n.signal(i, syscall.SIGCONT) }
}

// wait lets harm last: time itself is what is waited for.
func (n *nemesis) wait(d time.Duration) { <-time.After(d) }

// lasts is how long harm lasts, or peace: mostly a moment, and now and then longer than anyone
// waits for an answer.
func (n *nemesis) lasts() time.Duration {
	if n.random.IntN(5) == 0 {
		return 8 * time.Second
	}
	return time.Duration(500+n.random.IntN(2500)) * time.Millisecond
}

func (n *nemesis) run(until time.Time) {
	var mine []fault
	for _, f := range kinds {
		if strings.Contains(f.name, *only) {
			mine = append(mine, f)
		}
	}
	for time.Now().Before(until) {
		f := mine[n.random.IntN(len(mine))]
		n.done[f.name]++
		mend := f.do(n)
		n.t.Logf("%12s: %s", time.Since(n.began).Round(time.Millisecond), f.name)
		n.wait(n.lasts())
		mend()
		n.wait(n.lasts() / 2)
	}
}

// P6, P7
func TestFaults(t *testing.T) {
	c := startCluster(t, *voters)
	w := newWorkload(c)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.run(ctx, 6, *seed)
	}()
	n := &nemesis{cluster: c, began: w.start, random: rand.New(rand.NewPCG(*seed, 99)), done: map[string]int{}}
	n.run(time.Now().Add(time.Duration(*seconds) * time.Second))
	c.net.heal()
	healed := time.Now()
	for i := range c.nodes {
		c.ready(i)
	}
	t.Logf("all nodes are ready %s after the last fault", time.Since(healed).Round(time.Millisecond))
	stop()
	<-ended
	lost := w.lost()
	w.trails()
	result := porcupine.CheckOperationsTimeout(model, w.history, time.Minute)
	w.report(n, lost, result)
	if lost > 0 {
		t.Errorf("%d revocations were answered and are not enforced everywhere", lost)
	}
	if result != porcupine.Ok {
		t.Errorf("the history breaks a promise: %s", result)
		w.explain()
	}
}

// explain shows the tokens whose history cannot be, and where to look at them.
func (w *workload) explain() {
	for _, ops := range model.Partition(w.history) {
		result, info := porcupine.CheckOperationsVerbose(model, ops, time.Minute)
		if result == porcupine.Ok {
			continue
		}
		slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range ops {
			w.t.Logf("  %12s to %12s, client %d: %s", time.Duration(op.Call), time.Duration(op.Return), op.ClientId, model.DescribeOperation(op.Input, op.Output))
		}
		path := filepath.Join(os.TempDir(), fmt.Sprintf("veto-faults-%d-%d.html", *seed, ops[0].Input.(question).token))
		if porcupine.VisualizePath(model, info, path) == nil {
			w.t.Logf("  see %s", path)
		}
	}
}

// lost counts the answered revocations that a node does not enforce in the end.
func (w *workload) lost() int {
	w.t.Helper()
	lost := 0
	for token := range w.promised {
		for i := range w.nodes {
			text := w.tokens[token]
			denied := false
			deadline := time.Now().Add(10 * time.Second)
			for !denied && time.Now().Before(deadline) {
				ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
				v, err := w.at(i).Validate(ctx, client.Question{Credential: text})
				cancel()
				denied = err == nil && v.Code == validate.Revoked
			}
			if !denied {
				lost++
				w.t.Errorf("token %d is not denied on %s", token, id(i))
			}
		}
	}
	return lost
}

// trails looks whether each node's audit trail is whole, and holds the head that the first has.
func (w *workload) trails() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	head, err := w.at(0).AuditHead(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range w.nodes {
		for {
			report, err := w.at(i).VerifyAudit(ctx, head.Head)
			if err == nil {
				w.t.Logf("audit trail of %s: %d entries, whole", id(i), report.Entries)
				break
			}
			if ctx.Err() != nil {
				w.t.Errorf("audit trail of %s: %v", id(i), err)
				break
			}
			<-time.After(100 * time.Millisecond) // it may be behind the first
		}
	}
}

func (w *workload) report(n *nemesis, lost int, result porcupine.CheckResult) {
	k := w.counts
	w.t.Logf("seed %d, %d voters, %d s, %d tokens", *seed, len(w.nodes), *seconds, len(w.tokens))
	for _, f := range kinds {
		w.t.Logf("  %-40s %d", f.name, n.done[f.name])
	}
	w.t.Logf("revocations: %d answered (%d pending), %d refused or unanswered, %d lost", k.revoked, k.pending, k.refused, lost)
	w.t.Logf("validations: %d allowed, %d denied, %d unknown, %d unanswered", k.allowed, k.denied, k.unknown, k.failed)
	w.t.Logf("longest time without any answer: %s; history of %d calls: %s", w.silence.Round(time.Millisecond), len(w.history), result)
}
