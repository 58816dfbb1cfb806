package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// MaxBody bounds what a call carries, either way, in bytes.
const MaxBody = 4 << 20

const (
	idleLimit     = 90 * time.Second
	headerLimit   = 10 * time.Second
	idlePerNode   = 4
	codeHeader    = "Veto-Error"
	maxErrorBytes = 4 << 10
)

// Handler answers a call. From is the calling node's id, proven by its certificate; the body
// is the handler's own. An error with a method Code() string arrives with that code.
type Handler func(ctx context.Context, from string, body []byte) ([]byte, error)

// RemoteError is the other node's answer that it did not do what it was called for.
type RemoteError struct{ Code, Detail string }

func (e *RemoteError) Error() string { return e.Detail }

// CallError says that there was no answer. Sent is false if the other node certainly did not
// act on the call.
type CallError struct {
	Sent bool
	Err  error
}

func (e *CallError) Error() string { return "call to another node: " + e.Err.Error() }
func (e *CallError) Unwrap() error { return e.Err }

// Handle registers what answers calls to the path, which begins with a slash. Before Serve.
func (m *Mux) Handle(path string, h Handler) {
	m.routes.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
		if err != nil {
			http.Error(w, "the call is too long or was cut off", http.StatusRequestEntityTooLarge)
			return
		}
		from, _ := r.Context().Value(callerInContext{}).(string)
		reply, err := h(r.Context(), from, body)
		if err != nil {
			var coded interface{ Code() string }
			if errors.As(err, &coded) {
				w.Header().Set(codeHeader, coded.Code())
			}
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		_, _ = w.Write(reply) // a caller that is gone needs no answer
	})
}

type callerInContext struct{}

// opaque hides from net/http that a connection is TLS: with a protocol that it does not know,
// it would close it.
type opaque struct{ net.Conn }

func callerOf(ctx context.Context, c net.Conn) context.Context {
	if hidden, ok := c.(opaque); ok {
		if t, ok := hidden.Conn.(*tls.Conn); ok {
			return context.WithValue(ctx, callerInContext{}, nodeID(t.ConnectionState().PeerCertificates[0]))
		}
	}
	return ctx
}

func newServer(routes http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: routes, ConnContext: callerOf, ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// Call asks the node with the id at the address and returns its answer. It blocks until then
// or until the context ends. Errors are *RemoteError or *CallError.
func (m *Mux) Call(ctx context.Context, addr, id, path string, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, &CallError{Err: fmt.Errorf("%d bytes, over the limit of %d", len(body), MaxBody)}
	}
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	// The body's type keeps net/http from sending it a second time by itself.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		return nil, &CallError{Err: err}
	}
	request.ContentLength = int64(len(body))
	response, err := m.client.of(id).Do(request)
	if err != nil {
		return nil, &CallError{Sent: sent.Load(), Err: err}
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		detail, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBytes))
		return nil, &RemoteError{Code: response.Header.Get(codeHeader), Detail: string(bytes.TrimSpace(detail))}
	}
	reply, err := io.ReadAll(io.LimitReader(response.Body, MaxBody+1))
	if err == nil && len(reply) > MaxBody {
		err = errors.New("the answer is too long")
	}
	if err != nil {
		return nil, &CallError{Sent: true, Err: err}
	}
	return reply, nil
}

// callers keeps a client for each node, so that a kept connection is never used for another
// node that has taken over the address.
type callers struct {
	identity Identity
	mu       sync.Mutex
	clients  map[string]*http.Client
}

func newCallers(i Identity) *callers {
	return &callers{identity: i, clients: map[string]*http.Client{}}
}

func (c *callers) of(id string) *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.clients[id]; ok {
		return client
	}
	client := &http.Client{Transport: &http.Transport{
		// The dialed connection is TLS already; net/http must not know.
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return c.identity.dial(ctx, addr, id, protocolCall)
		},
		MaxIdleConnsPerHost: idlePerNode, IdleConnTimeout: idleLimit,
	}}
	c.clients[id] = client
	return client
}

func (c *callers) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.clients {
		client.CloseIdleConnections()
	}
}
