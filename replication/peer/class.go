package peer

import (
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// lowLatency is the class AF21, which RFC 4594, section 4.7, keeps for data that somebody waits for, as what goes with it in the
// field for the class of service.
const lowLatency = 18 << 2

// hasten has what is sent on the connection go ahead of what is not so urgent, as streams are, where the network knows
// such classes. Elsewhere it changes nothing; but where a network drops the class, nodes hear no beacons and are stale.
func hasten(c net.Conn) {
	addr, ok := c.RemoteAddr().(*net.TCPAddr)
	switch {
	case !ok:
	case addr.IP.To4() != nil:
		_ = ipv4.NewConn(c).SetTOS(lowLatency)
	default:
		_ = ipv6.NewConn(c).SetTrafficClass(lowLatency)
	}
}
