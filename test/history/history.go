package history

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/anishathalye/porcupine"

	"veto/record"
	"veto/validate"
)

// Action is what a client did.
type Action int

// The actions.
const (
	Ask Action = iota
	Make
	Revoke
	Promise // to have answered that it is revoked
	Lift
)

// Question is one call of a client, about one credential.
type Question struct {
	Credential int
	Do         Action
	Node       int
	Min        record.Revision
}

// Answer is what came of it. The zero answer is none: what was asked for may happen at any time.
type Answer struct {
	Outcome  validate.Outcome
	Revision record.Revision // of a change
	Holds    uint            // the nodes that a receipt promises something of, as bits
	At       record.Revision // of a verdict: that of the state that it is based on
	Code     validate.Code
}

// told is what has been promised of one credential.
type told struct {
	made     record.Revision // 0 if that is not known
	revoked  bool
	revision record.Revision // of the first receipt with one since the last lift; 0 if there is none
	holds    uint            // nodes that must deny, whatever revision is asked for
	lifted   record.Revision // of the last lift; the highest if it was never answered
}

// Model says which answers keep the promises: after a receipt with a revision, whoever is asked
// with that revision or a later one does not allow (P6). Nodes that a receipt names do not allow
// at all: those that enforce what is committed, and the one that keeps what is pending. Nobody
// denies what nobody revoked, or what was lifted before the state that it knows; and a key
// that was made before that is there. What is known to be revoked is denied by however old a state, so
// a denial is held against the revision that it names. Unknown is never wrong.
var Model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[int][]porcupine.Operation{}
		for _, op := range history {
			credential := op.Input.(Question).Credential
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
		s, q, a := state.(told), input.(Question), output.(Answer)
		switch {
		case q.Do == Make:
			s.made = a.Revision
		case q.Do == Revoke:
			s.revoked = true
		case q.Do == Promise:
			if a.Revision > 0 && (s.revision == 0 || a.Revision < s.revision) {
				s.revision = a.Revision
			}
			s.holds |= a.Holds
		case q.Do == Lift:
			s = told{made: s.made, lifted: a.Revision}
			if a.Revision == 0 {
				s.lifted = math.MaxUint64
			}
		case a.Outcome == validate.Allow:
			return !s.promises(q), s
		case a.Outcome == validate.Deny:
			return s.mayDeny(a), s
		}
		return true, s
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		q, a := input.(Question), output.(Answer)
		switch q.Do {
		case Make:
			return fmt.Sprintf("make %d at %s: revision %d", q.Credential, nodeID(q.Node), a.Revision)
		case Revoke:
			return fmt.Sprintf("revoke %d at %s", q.Credential, nodeID(q.Node))
		case Promise:
			return fmt.Sprintf("receipt for %d from %s: revision %d, holds %b", q.Credential, nodeID(q.Node), a.Revision, a.Holds)
		case Lift:
			return fmt.Sprintf("lift %d at %s: revision %d", q.Credential, nodeID(q.Node), a.Revision)
		}
		return fmt.Sprintf("validate %d at %s, min %d: %s, %s, by the state at %d", q.Credential, nodeID(q.Node), q.Min, a.Outcome, a.Code, a.At)
	},
}

func (s told) promises(q Question) bool {
	return s.revision > 0 && s.revision <= q.Min || s.holds&(1<<q.Node) != 0
}

func (s told) mayDeny(a Answer) bool {
	if a.Code == validate.KeyNotFound && !s.revoked {
		return s.made == 0 || a.At < s.made
	}
	return s.revoked || a.At < s.lifted
}

func nodeID(i int) string { return fmt.Sprintf("n%d", i+1) }

// Forever is when that returns which nobody was told the end of: whatever it asked for may be done
// at any later time.
const Forever = math.MaxInt64 / 2

// Log is what all clients saw. It may be written from anywhere at once.
type Log struct {
	mu  sync.Mutex
	ops []porcupine.Operation
}

// Add adds a call.
func (l *Log) Add(op porcupine.Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, op)
}

// Operations are all calls that were added, in that order.
func (l *Log) Operations() []porcupine.Operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ops)
}
