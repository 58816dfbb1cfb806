package peer

import "time"

// NewMux lets a test give its own listener.
var NewMux = newMux

// Refusals says, of what was refused, whether it is logged.
func Refusals() func(what string, now time.Time) bool {
	return (&refusals{last: map[string]time.Time{}}).says
}

// Reason is by what refusals are told from each other.
var Reason = reason

// RefusedEvery and MaxRefusals bound that.
const (
	RefusedEvery = refusedEvery
	MaxRefusals  = maxRefusals
)

// MaxHandshakes is how many are under way at once.
const MaxHandshakes = maxHandshakes

// Handshakes is how many are under way.
func (m *Mux) Handshakes() int { return len(m.slots) }
