package machine

import (
	"time"

	"veto/record"
)

// Apply applies a command without anything that is remembered.
func Apply(s State, c record.Command, rev record.Revision) (record.Result, []record.Change, error) {
	return new(Machine).Apply(s, c, rev)
}

// Admit is that of a Machine that remembers nothing.
func Admit(s Reader, t record.Taken, now time.Time) (record.Result, bool, error) {
	return new(Machine).Admit(s, t, now)
}
