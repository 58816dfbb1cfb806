package broadcast

import (
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"syscall"
)

// accepted are the connections that other nodes opened: the server can neither list nor close them.
type accepted struct {
	mu    sync.Mutex
	conns []net.Conn
	kept  int // how many were left when those that had ended were last forgotten
}

// noting is the configuration, by which each connection that comes in is noted.
func (a *accepted) noting(c *tls.Config) *tls.Config {
	c = c.Clone()
	configFor := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		a.note(hello.Conn)
		if configFor == nil {
			return nil, nil
		}
		return configFor(hello)
	}
	return c
}

// prunedFrom is how many connections there are before those that have ended are forgotten.
const prunedFrom = 64

func (a *accepted) note(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns = append(a.conns, c)
	if len(a.conns) >= max(prunedFrom, 2*a.kept) {
		a.conns = slices.DeleteFunc(a.conns, hasEnded)
		a.kept = len(a.conns)
	}
}

func hasEnded(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}

// cut ends all. Who still may opens another.
func (a *accepted) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.Close() // it may have ended by itself
	}
	a.conns, a.kept = nil, 0
}
