package node

import (
	"testing"
	"time"

	"veto/test/relay"
)

// delayed is a relay of a test.
type delayed struct {
	t testing.TB
	*relay.Relay
}

func newRelay(t testing.TB, delay time.Duration) delayed {
	t.Helper()
	r := relay.New(delay)
	t.Cleanup(r.Close)
	return delayed{t, r}
}

func (r delayed) tcp(from, to string) {
	r.t.Helper()
	if err := r.TCP(from, to); err != nil {
		r.t.Fatal(err)
	}
}

func (r delayed) udp(from, to string) {
	r.t.Helper()
	if err := r.UDP(from, to); err != nil {
		r.t.Fatal(err)
	}
}
