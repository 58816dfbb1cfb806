//go:build faults

package faults

import (
	"fmt"

	"github.com/anishathalye/porcupine"

	"veto/record"
	"veto/validate"
)

// question is one call of a client, about one token.
type question struct {
	token  int
	revoke bool
	node   int
	min    record.Revision
}

// answer is what came of it. The zero answer is none: what was asked for may happen at any time.
type answer struct {
	outcome  validate.Outcome
	revision record.Revision // of a receipt
	pending  bool
	holds    uint // the nodes that a receipt promises something of, as bits
}

// told is what has been promised of one token.
type told struct {
	revoked  bool
	revision record.Revision // of the first receipt with one; 0 if there is none
	holds    uint            // nodes that must deny, whatever revision is asked for
}

// model says which answers keep the promises: after a receipt with a revision, whoever is asked
// with that revision or a later one does not allow (P6). Nodes that a receipt names do not allow
// at all: those that enforce what is committed, and the one that keeps what is pending. Nobody
// denies what nobody revoked. Unknown is never wrong.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[int][]porcupine.Operation{}
		for _, op := range history {
			token := op.Input.(question).token
			parts[token] = append(parts[token], op)
		}
		var all [][]porcupine.Operation
		for _, p := range parts {
			all = append(all, p)
		}
		return all
	},
	Init: func() any { return told{} },
	Step: func(state, input, output any) (bool, any) {
		s, q, a := state.(told), input.(question), output.(answer)
		switch {
		case q.revoke:
			s.revoked = true
			if a.revision > 0 && (s.revision == 0 || a.revision < s.revision) {
				s.revision = a.revision
			}
			s.holds |= a.holds
			return true, s
		case a.outcome == validate.Allow:
			promised := s.revision > 0 && s.revision <= q.min || s.holds&(1<<q.node) != 0
			return !promised, s
		case a.outcome == validate.Deny:
			return s.revoked, s
		}
		return true, s
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		q, a := input.(question), output.(answer)
		if q.revoke {
			return fmt.Sprintf("revoke %d at %s: revision %d, pending %v, holds %b", q.token, id(q.node), a.revision, a.pending, a.holds)
		}
		return fmt.Sprintf("validate %d at %s, min %d: %s", q.token, id(q.node), q.min, a.outcome)
	},
}
