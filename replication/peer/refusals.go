package peer

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"
)

const (
	// refusedEvery is how often the log says of a peer that it is refused for the same reason: it may try 20 times a second.
	refusedEvery = 10 * time.Second
	// maxRefusals bounds of how many it is remembered, and so what strangers can have logged meanwhile.
	maxRefusals = 64
)

// refusals are who was refused of late, and why.
type refusals struct {
	mu   sync.Mutex
	last map[string]time.Time // when it was said
}

// says whether to say it now. Beyond maxRefusals all others are as one.
func (r *refusals) says(what string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last) >= maxRefusals {
		maps.DeleteFunc(r.last, func(_ string, at time.Time) bool { return now.Sub(at) >= refusedEvery })
	}
	if _, there := r.last[what]; !there && len(r.last) >= maxRefusals {
		what = "others"
	}
	if at, there := r.last[what]; there && now.Sub(at) < refusedEvery {
		return false
	}
	r.last[what] = now
	return true
}

// reason is why, without what is another each time: the time at which a certificate was found to have ended, and ports.
func reason(why error) string {
	var invalid x509.CertificateInvalidError
	if errors.As(why, &invalid) {
		return fmt.Sprint("certificate ", invalid.Reason)
	}
	var op *net.OpError
	if errors.As(why, &op) {
		return op.Err.Error()
	}
	return why.Error()
}
