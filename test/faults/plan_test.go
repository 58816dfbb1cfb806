//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"veto/record"
	"veto/validate"
)

// The same seed has the same plan, another one another, and a long one has every kind of harm.
func TestPlanIsOfTheSeed(t *testing.T) {
	plan := func(seed uint64) string {
		return fmt.Sprint(newPlan(rand.New(rand.NewPCG(seed, 99)), harms, 3, 4, 5*time.Minute))
	}
	if once, again := plan(1), plan(1); once != again || once == plan(2) {
		t.Error("the plan is not of the seed")
	}
	seen := map[string]bool{}
	for _, s := range newPlan(rand.New(rand.NewPCG(1, 99)), harms, 3, 4, 5*time.Minute) {
		for _, b := range s.blows {
			seen[b.harm.name] = true
		}
		if len(s.blows) == 2 && clockOf(s.blows[0]) && clockOf(s.blows[1]) {
			t.Errorf("the clocks of two voters may be wrong at once: %s", s)
		}
	}
	for _, h := range harms {
		if !seen[h.name] {
			t.Errorf("five minutes without %q", h.name)
		}
	}
}

// Each history that breaks a promise is one that the model refuses, and no other.
func TestModel(t *testing.T) {
	type seen struct {
		q question
		a answer
	}
	ask := func(node int, least, at record.Revision, o validate.Outcome, code validate.Code) seen {
		return seen{question{node: node, min: least}, answer{outcome: o, code: code, at: at}}
	}
	allow := func(node int, least record.Revision) seen {
		return ask(node, least, least, validate.Allow, validate.OK)
	}
	revoked := func(at record.Revision) seen { return ask(1, 0, at, validate.Deny, validate.Revoked) }
	missing := func(at record.Revision) seen { return ask(1, 0, at, validate.Deny, validate.KeyNotFound) }
	to := func(do action, r record.Revision, holds uint) seen {
		return seen{question{do: do}, answer{revision: r, holds: holds}}
	}
	for name, c := range map[string]struct {
		ops  []seen
		good bool
	}{
		"denied, as it was revoked":              {[]seen{to(toRevoke, 0, 0), to(toPromise, 7, 0), revoked(7)}, true},
		"denied before the receipt":              {[]seen{to(toRevoke, 0, 0), revoked(3), allow(1, 0), to(toPromise, 7, 0)}, true},
		"allowed by an older state":              {[]seen{to(toRevoke, 0, 0), to(toPromise, 7, 0), allow(1, 6)}, true},
		"allowed after the receipt":              {[]seen{to(toRevoke, 0, 0), to(toPromise, 7, 0), allow(1, 7)}, false},
		"allowed where it was to be in force":    {[]seen{to(toRevoke, 0, 0), to(toPromise, 7, 2), allow(1, 0)}, false},
		"allowed where it was pending":           {[]seen{to(toRevoke, 0, 0), to(toPromise, 0, 2), allow(1, 0)}, false},
		"allowed elsewhere":                      {[]seen{to(toRevoke, 0, 0), to(toPromise, 7, 2), allow(2, 0)}, true},
		"denied, and nobody had revoked it":      {[]seen{revoked(9)}, false},
		"allowed once lifted":                    {[]seen{to(toRevoke, 0, 0), to(toPromise, 7, 2), to(toLift, 9, 0), allow(1, 9)}, true},
		"denied by a state from before the lift": {[]seen{to(toRevoke, 0, 0), to(toPromise, 7, 0), to(toLift, 9, 0), revoked(8)}, true},
		"denied by a state after the lift":       {[]seen{to(toRevoke, 0, 0), to(toPromise, 7, 0), to(toLift, 9, 0), revoked(9)}, false},
		"allowed, revoked anew after the lift":   {[]seen{to(toLift, 9, 0), to(toRevoke, 0, 0), to(toPromise, 11, 0), allow(1, 12)}, false},
		"a key that is not there yet":            {[]seen{to(toMake, 5, 0), missing(4)}, true},
		"a key that is lost":                     {[]seen{to(toMake, 5, 0), missing(5)}, false},
		"a key that was deleted":                 {[]seen{to(toMake, 5, 0), to(toRevoke, 0, 0), missing(6)}, true},
	} {
		var history []porcupine.Operation
		for i, op := range c.ops {
			history = append(history, porcupine.Operation{Input: op.q, Output: op.a, Call: int64(2 * i), Return: int64(2*i + 1)})
		}
		if porcupine.CheckOperations(model, history) != c.good {
			t.Errorf("%s: good should be %v", name, c.good)
		}
	}
}
