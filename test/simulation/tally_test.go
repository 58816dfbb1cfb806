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

func (t *tally) ran(wrong int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs++
	t.wrong += wrong
	if wrong > 0 {
		t.failed++
	}
}

func (t *tally) took(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.simulated += d
}

func (t *tally) did(fault string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults[fault]++
}

// saw counts a call and what came of it.
func (t *tally) saw(call, outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls[call+": "+outcome]++
}

func (t *tally) show(to *testing.T, real time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	sum := func(m map[string]int) (n int) {
		for _, v := range m {
			n += v
		}
		return n
	}
	table := func(title string, m map[string]int) {
		fmt.Fprintf(&b, "%s\n", title)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "  %-48s %9d\n", k, m[k])
		}
	}
	table("faults", t.faults)
	table("calls", t.calls)
	table("what nodes log", t.events)
	fmt.Fprintf(&b, "%d runs in %s (%.0f a minute), of %s each; %d faults, %d calls; %d runs failed, in which %d things were wrong",
		t.runs, real.Round(time.Second), float64(t.runs)/real.Minutes(), (t.simulated / time.Duration(max(t.runs, 1))).Round(time.Second),
		sum(t.faults), sum(t.calls), t.failed, t.wrong)
	to.Log("\n" + b.String())
}

// watched counts what nodes log of rare things, so that one sees that they happen.
type watched struct {
	slog.Handler
	tally *tally
}

func (w watched) Enabled(context.Context, slog.Level) bool { return true }

func (w watched) WithAttrs(a []slog.Attr) slog.Handler {
	return watched{w.Handler.WithAttrs(a), w.tally}
}

func (w watched) Handle(ctx context.Context, r slog.Record) error {
	for _, rare := range []string{"Installed remote snapshot", "entering leader state", "brought revocations into the log", "clearing log suffix", "compacting logs"} {
		if strings.HasPrefix(r.Message, rare) {
			w.tally.mu.Lock()
			w.tally.events[rare]++
			w.tally.mu.Unlock()
		}
	}
	if w.Handler.Enabled(ctx, r.Level) {
		return w.Handler.Handle(ctx, r)
	}
	return nil
}
