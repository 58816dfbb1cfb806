package gate

import (
	"net/http"
	"slices"
	"time"
)

// Limits are how long a client may take, and how much it may ask for at once.
type Limits struct {
	// Header, Body and Idle are how long a client may take to send a request's header and all of it, and be
	// silent between requests. Write is how long an answer may take, from when the header was read.
	Header, Body, Idle, Write time.Duration
	// HeaderBytes bounds a header.
	HeaderBytes int
	// Requests is how many may be under way; those to the paths Always are not counted.
	Requests *Places
	Always   []string
	// Busy answers what is above.
	Busy http.HandlerFunc
}

// NewServer makes a server that keeps the limits. A handler that reads a long body sets deadlines of its own.
func NewServer(l Limits, h http.Handler) *http.Server {
	g := &gate{limits: l, handler: h}
	return &http.Server{
		// ReadTimeout ends no answer, however long that takes: net/http drops it once the body is whole. Without it nothing would
		// end a body that nobody reads, as net/http reads on for what a refused request still sends.
		Handler: g, ReadHeaderTimeout: l.Header, ReadTimeout: l.Body, WriteTimeout: l.Write, IdleTimeout: l.Idle, MaxHeaderBytes: l.HeaderBytes,
	}
}

type gate struct {
	limits  Limits
	handler http.Handler
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if slices.Contains(g.limits.Always, r.URL.Path) {
		g.handler.ServeHTTP(w, r)
		return
	}
	if !g.limits.Requests.Take() {
		g.limits.Busy(w, r)
		return
	}
	defer g.limits.Requests.Leave()
	g.handler.ServeHTTP(w, r)
}
