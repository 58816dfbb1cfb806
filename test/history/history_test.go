package history

import (
	"testing"

	"github.com/anishathalye/porcupine"

	"veto/record"
	"veto/validate"
)

// Each history that breaks a promise is one that the model refuses, and no other.
func TestModel(t *testing.T) {
	type seen struct {
		q Question
		a Answer
	}
	ask := func(node int, least, at record.Revision, o validate.Outcome, code validate.Code) seen {
		return seen{Question{Node: node, Min: least}, Answer{Outcome: o, Code: code, At: at}}
	}
	allow := func(node int, least record.Revision) seen {
		return ask(node, least, least, validate.Allow, validate.OK)
	}
	revoked := func(at record.Revision) seen { return ask(1, 0, at, validate.Deny, validate.Revoked) }
	missing := func(at record.Revision) seen { return ask(1, 0, at, validate.Deny, validate.KeyNotFound) }
	to := func(do Action, r record.Revision, holds uint) seen {
		return seen{Question{Do: do}, Answer{Revision: r, Holds: holds}}
	}
	for name, c := range map[string]struct {
		ops  []seen
		good bool
	}{
		"denied, as it was revoked":              {[]seen{to(Revoke, 0, 0), to(Promise, 7, 0), revoked(7)}, true},
		"denied before the receipt":              {[]seen{to(Revoke, 0, 0), revoked(3), allow(1, 0), to(Promise, 7, 0)}, true},
		"allowed by an older state":              {[]seen{to(Revoke, 0, 0), to(Promise, 7, 0), allow(1, 6)}, true},
		"allowed after the receipt":              {[]seen{to(Revoke, 0, 0), to(Promise, 7, 0), allow(1, 7)}, false},
		"allowed where it was to be in force":    {[]seen{to(Revoke, 0, 0), to(Promise, 7, 2), allow(1, 0)}, false},
		"allowed where it was pending":           {[]seen{to(Revoke, 0, 0), to(Promise, 0, 2), allow(1, 0)}, false},
		"allowed elsewhere":                      {[]seen{to(Revoke, 0, 0), to(Promise, 7, 2), allow(2, 0)}, true},
		"denied, and nobody had revoked it":      {[]seen{revoked(9)}, false},
		"allowed once lifted":                    {[]seen{to(Revoke, 0, 0), to(Promise, 7, 2), to(Lift, 9, 0), allow(1, 9)}, true},
		"denied by a state from before the lift": {[]seen{to(Revoke, 0, 0), to(Promise, 7, 0), to(Lift, 9, 0), revoked(8)}, true},
		"denied by a state after the lift":       {[]seen{to(Revoke, 0, 0), to(Promise, 7, 0), to(Lift, 9, 0), revoked(9)}, false},
		"allowed, revoked anew after the lift":   {[]seen{to(Lift, 9, 0), to(Revoke, 0, 0), to(Promise, 11, 0), allow(1, 12)}, false},
		"a key that is not there yet":            {[]seen{to(Make, 5, 0), missing(4)}, true},
		"a key that is lost":                     {[]seen{to(Make, 5, 0), missing(5)}, false},
		"a key that was deleted":                 {[]seen{to(Make, 5, 0), to(Revoke, 0, 0), missing(6)}, true},
	} {
		var calls []porcupine.Operation
		for i, op := range c.ops {
			calls = append(calls, porcupine.Operation{Input: op.q, Output: op.a, Call: int64(2 * i), Return: int64(2*i + 1)})
		}
		if porcupine.CheckOperations(Model, calls) != c.good {
			t.Errorf("%s: good should be %v", name, c.good)
		}
	}
}
