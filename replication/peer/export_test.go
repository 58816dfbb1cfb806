package peer

// NewMux lets a test give its own listener.
var NewMux = newMux

// MaxHandshakes is how many are under way at once.
const MaxHandshakes = maxHandshakes

// Handshakes is how many are under way.
func (m *Mux) Handshakes() int { return len(m.slots) }
