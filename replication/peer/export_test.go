package peer

import (
	"crypto/tls"
	"net"
	"time"
)

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

// Carrier is the connection below a node's.
func Carrier(c net.Conn) net.Conn {
	if b, ok := c.(boundConn); ok {
		c = b.conn
	}
	return c.(*conn).Conn.(*tls.Conn).NetConn()
}

// Handshakes is how many are under way.
func (m *Mux) Handshakes() int { return len(m.slots) }
