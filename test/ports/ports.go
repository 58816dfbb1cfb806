package ports

import (
	"net"
	"strconv"
	"testing"
)

// Each test has a hundred ports, of which the last is for Take alone. All are below those that the kernel gives to whoever dials.
const (
	lowest, highest = 11000, 32000
	each            = 100
)

// Take gives the first of 99 ports. Nobody listens on them at 127.0.0.1, and until the test has ended they are no other's: also
// while what listens there is stopped to be started again, and at other addresses of this machine.
func Take(t testing.TB) int {
	t.Helper()
	for first := lowest; first < highest; first += each {
		mark, err := listen(t, first+each-1)
		if err != nil {
			continue
		}
		if areFree(t, first) {
			t.Cleanup(func() { _ = mark.Close() })
			return first
		}
		_ = mark.Close()
	}
	t.Fatal("there are no free ports")
	return 0
}

func areFree(t testing.TB, first int) bool {
	t.Helper()
	for p := first; p < first+each-1; p++ {
		l, err := listen(t, p)
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func listen(t testing.TB, port int) (net.Listener, error) {
	t.Helper()
	return new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
