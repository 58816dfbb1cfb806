//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
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
