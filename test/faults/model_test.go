//go:build faults

package faults

import (
	"fmt"
	"math"
	"sync"

	"github.com/anishathalye/porcupine"

	"veto/record"
	"veto/validate"
)

// action is what a client did.
type action int

const (
	toAsk action = iota
	toMake
	toRevoke
	toPromise // to have answered that it is revoked
	toLift
)

// question is one call of a client, about one credential.
type question struct {
	credential int
	do         action
	node       int
	min        record.Revision
}

// answer is what came of it. The zero answer is none: what was asked for may happen at any time.
type answer struct {
	outcome  validate.Outcome
	revision record.Revision // of a change
	holds    uint            // the nodes that a receipt promises something of, as bits
	at       record.Revision // of a verdict: that of the state that it is based on
	code     validate.Code
}

// told is what has been promised of one credential.
type told struct {
	made     record.Revision // 0 if that is not known
	revoked  bool
	revision record.Revision // of the first receipt with one since the last lift; 0 if there is none
	holds    uint            // nodes that must deny, whatever revision is asked for
	lifted   record.Revision // of the last lift; the highest if it was never answered
}

// model says which answers keep the promises: after a receipt with a revision, whoever is asked
// with that revision or a later one does not allow (P6). Nodes that a receipt names do not allow
// at all: those that enforce what is committed, and the one that keeps what is pending. Nobody
// denies what nobody revoked, or what was lifted before the state that it knows; and a key
// that was made before that is there. What is known to be revoked is denied by however old a state, so
// a denial is held against the revision that it names. Unknown is never wrong.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[int][]porcupine.Operation{}
		for _, op := range history {
			credential := op.Input.(question).credential
			parts[credential] = append(parts[credential], op)
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
		case q.do == toMake:
			s.made = a.revision
		case q.do == toRevoke:
			s.revoked = true
		case q.do == toPromise:
			if a.revision > 0 && (s.revision == 0 || a.revision < s.revision) {
				s.revision = a.revision
			}
			s.holds |= a.holds
		case q.do == toLift:
			s = told{made: s.made, lifted: a.revision}
			if a.revision == 0 {
				s.lifted = math.MaxUint64
			}
		case a.outcome == validate.Allow:
			return !s.promises(q), s
		case a.outcome == validate.Deny:
			return s.mayDeny(a), s
		}
		return true, s
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		q, a := input.(question), output.(answer)
		switch q.do {
		case toMake:
			return fmt.Sprintf("make %d at %s: revision %d", q.credential, id(q.node), a.revision)
		case toRevoke:
			return fmt.Sprintf("revoke %d at %s", q.credential, id(q.node))
		case toPromise:
			return fmt.Sprintf("receipt for %d from %s: revision %d, holds %b", q.credential, id(q.node), a.revision, a.holds)
		case toLift:
			return fmt.Sprintf("lift %d at %s: revision %d", q.credential, id(q.node), a.revision)
		}
		return fmt.Sprintf("validate %d at %s, min %d: %s, %s, by the state at %d", q.credential, id(q.node), q.min, a.outcome, a.code, a.at)
	},
}

func (s told) promises(q question) bool {
	return s.revision > 0 && s.revision <= q.min || s.holds&(1<<q.node) != 0
}

func (s told) mayDeny(a answer) bool {
	if a.code == validate.KeyNotFound && !s.revoked {
		return s.made == 0 || a.at < s.made
	}
	return s.revoked || a.at < s.lifted
}

// history is what all clients saw.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation
}

// forever is when that returns which nobody was told the end of: whatever it asked for may be done
// at any later time.
const forever = math.MaxInt64 / 2

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}
