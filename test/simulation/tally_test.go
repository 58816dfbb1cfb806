package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// tally counts what happened in all runs.
type tally struct {
	mu                    sync.Mutex
	runs, failed          int
	wrong                 int
	simulated             time.Duration
	faults, calls, events map[string]int
}

func newTally() *tally {
	return &tally{faults: map[string]int{}, calls: map[string]int{}, events: map[string]int{}}
}

func (n *tally) ran(wrong int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runs++
	n.wrong += wrong
	if wrong > 0 {
		n.failed++
	}
}

func (n *tally) took(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.simulated += d
}

func (n *tally) did(fault string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[fault]++
}

// saw counts a call and what came of it.
func (n *tally) saw(call, outcome string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls[call+": "+outcome]++
}

func (n *tally) show(t *testing.T, took time.Duration) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	sum := func(m map[string]int) (all int) {
		for _, v := range m {
			all += v
		}
		return all
	}
	table := func(title string, m map[string]int) {
		fmt.Fprintf(&b, "%s\n", title)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "  %-48s %9d\n", k, m[k])
		}
	}
	table("faults", n.faults)
	table("calls", n.calls)
	table("what nodes log", n.events)
	fmt.Fprintf(&b, "%d runs in %s (%.0f a minute), of %s each; %d faults, %d calls; %d runs failed, in which %d things were wrong",
		n.runs, took.Round(time.Second), float64(n.runs)/took.Minutes(), (n.simulated / time.Duration(max(n.runs, 1))).Round(time.Second),
		sum(n.faults), sum(n.calls), n.failed, n.wrong)
	t.Log("\n" + b.String())
}

// watched counts what nodes log of rare things, so that one sees that they happen.
type watched struct {
	slog.Handler
	tally *tally
	node  string
	last  *latest
}

// latest are the lines that nodes of one run logged last, for whoever reads of a run that hangs.
type latest struct {
	mu    sync.Mutex
	began time.Time
	lines [400]logged
	next  int
}

type logged struct {
	node string
	slog.Record
}

func (l *latest) keep(node string, r slog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines[l.next%len(l.lines)] = logged{node, r.Clone()}
	l.next++
}

func (l *latest) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for i := range l.lines {
		r := l.lines[(l.next+i)%len(l.lines)]
		fmt.Fprintf(&b, "%12s %s %s", r.Time.Sub(l.began), r.node, r.Message)
		r.Attrs(func(a slog.Attr) bool {
			fmt.Fprintf(&b, " %s", a)
			return true
		})
		b.WriteString("\n")
	}
	return b.String()
}

func (w watched) Enabled(context.Context, slog.Level) bool { return true }

func (w watched) WithAttrs(a []slog.Attr) slog.Handler {
	w.Handler = w.Handler.WithAttrs(a)
	for _, one := range a {
		if one.Key == "node" {
			w.node = one.Value.String()
		}
	}
	return w
}

func (w watched) Handle(ctx context.Context, r slog.Record) error {
	for _, rare := range []string{"Installed remote snapshot", "entering leader state", "brought revocations into the log", "clearing log suffix", "compacting logs"} {
		if strings.HasPrefix(r.Message, rare) {
			w.tally.mu.Lock()
			w.tally.events[rare]++
			w.tally.mu.Unlock()
		}
	}
	w.last.keep(w.node, r)
	if w.Handler.Enabled(ctx, r.Level) {
		return w.Handler.Handle(ctx, r)
	}
	return nil
}
