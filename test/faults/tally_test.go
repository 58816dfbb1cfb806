//go:build faults

package faults

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"veto/client"
)

// tally counts what became of the workload's calls, and how long nobody answered.
type tally struct {
	mu   sync.Mutex
	ops  map[string]*counts
	nods []silence // of each node
	all  silence   // of the cluster
}

type counts struct{ answered, refused, unknown int }

// silence is the longest time without an answer that says something.
type silence struct {
	last    time.Time
	longest time.Duration
}

func (s *silence) heard(at time.Time) {
	s.longest = max(s.longest, at.Sub(s.last))
	s.last = at
}

func newTally(nodes int) *tally {
	t := &tally{ops: map[string]*counts{}, nods: make([]silence, nodes), all: silence{last: time.Now()}}
	for i := range t.nods {
		t.nods[i].last = time.Now()
	}
	return t
}

// of is called with the lock held.
func (t *tally) of(what string) *counts {
	if t.ops[what] == nil {
		t.ops[what] = &counts{}
	}
	return t.ops[what]
}

// saw notes what an answer was, beside that there was one.
func (t *tally) saw(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(what).answered++
}

// count notes a call at a node; -1 for one that was at none in particular.
func (t *tally) count(what string, node int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch n := t.of(what); {
	case err == nil:
		n.answered++
		t.all.heard(time.Now())
		if node >= 0 {
			t.nods[node].heard(time.Now())
		}
	case refused(err):
		n.refused++
	default:
		n.unknown++
	}
}

// ended notes the silence in which the run ended.
func (t *tally) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.all.heard(now)
	for i := range t.nods {
		t.nods[i].heard(now)
	}
}

// refused tells whether the cluster said that it did not do it.
func refused(err error) bool {
	var problem *client.Error
	return errors.As(err, &problem) && (problem.Status < http.StatusInternalServerError || problem.Status == http.StatusServiceUnavailable)
}

func (t *tally) table() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "  %-36s %9s %9s %9s\n", "operation", "answered", "refused", "unknown")
	for _, what := range slices.Sorted(maps.Keys(t.ops)) {
		n := t.ops[what]
		fmt.Fprintf(&b, "  %-36s %9d %9d %9d\n", what, n.answered, n.refused, n.unknown)
	}
	fmt.Fprintf(&b, "  longest time without an answer: the cluster %s", t.all.longest.Round(time.Millisecond))
	for i := range t.nods {
		fmt.Fprintf(&b, ", %s %s", id(i), t.nods[i].longest.Round(time.Millisecond))
	}
	return b.String()
}
