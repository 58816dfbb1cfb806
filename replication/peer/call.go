package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// MaxBody bounds what a call carries, and MaxAnswer what is answered, in bytes: of a part of a stream every line may be
// refused, each in a text that names its issuer.
const (
	MaxBody   = 4 << 20
	MaxAnswer = 64 << 20
)

// CodeTooLarge is the code of a call that was over MaxBody: it was not acted on.
const CodeTooLarge = "too_large"

const (
	// The side that calls gives up a quiet connection well before the side that answers,
	// so that no call is sent into one that is just being closed.
	idleLimit       = 90 * time.Second
	answerIdleLimit = 3 * time.Minute
	headerLimit     = 10 * time.Second
	bodyLimit       = 30 * time.Second // for a body to arrive, and for an answer to be taken
	idlePerNode     = 4
	codeHeader      = "Veto-Error"
	traceHeader     = "Traceparent"
	maxHeaderBytes  = 16 << 10
	maxErrorBytes   = 4 << 10
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
// The handler's context ends when the caller is gone or the mux is closed; it must heed it.
func (m *Mux) Handle(path string, h Handler) {
	m.routes.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		body, status, err := receive(w, r)
		if err != nil {
			if status == http.StatusRequestEntityTooLarge {
				w.Header().Set(codeHeader, CodeTooLarge)
			}
			http.Error(w, err.Error(), status)
			return
		}
		caller, _ := r.Context().Value(callerInContext{}).(*conn)
		var from string
		if caller != nil {
			if from = caller.peer; caller.outlived() {
				w.Header().Set("Connection", "close")
			}
		}
		reply, err := h(WithTrace(r.Context(), r.Header.Get(traceHeader)), from, body)
		// Only a mistake of this room makes the deadline fail, and then the write says so.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyLimit))
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

// receive reads the body within its bounds of size and time; otherwise it says with which
// status to refuse it.
func receive(w http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(bodyLimit)); err != nil {
		return nil, http.StatusInternalServerError, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("a call carries at most %d bytes", MaxBody)
	}
	if err != nil {
		return nil, http.StatusBadRequest, errors.New("the call was cut off")
	}
	// Handlers may take long, and the server listens meanwhile for the caller's end.
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, http.StatusInternalServerError, err
	}
	return body, http.StatusOK, nil
}

type callerInContext struct{}

type traceInContext struct{}

// WithTrace has the calls that are made with the context carry the text; none if it is empty.
func WithTrace(ctx context.Context, carried string) context.Context {
	if carried == "" {
		return ctx
	}
	return context.WithValue(ctx, traceInContext{}, carried)
}

// TraceOf is what a call carried.
func TraceOf(ctx context.Context) string {
	carried, _ := ctx.Value(traceInContext{}).(string)
	return carried
}

func callerOf(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, callerInContext{}, c)
}

func (m *Mux) newServer() *http.Server {
	return &http.Server{
		Handler: m.routes, ConnContext: callerOf, ReadHeaderTimeout: headerLimit, IdleTimeout: answerIdleLimit,
		BaseContext:    func(net.Listener) context.Context { return m.ctx },
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
		// The server's own Close does not wait for handlers. A connection is new within
		// Serve, which the group already waits for, and closed after its last handler.
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				m.wg.Add(1)
			case http.StateClosed:
				m.wg.Done()
			}
		},
	}
}

// Call asks the node with the id at the address and returns its answer. It blocks until then
// or until the context ends, or the mux is closed. Errors are *RemoteError or *CallError. A
// call is sent at most once.
func (m *Mux) Call(ctx context.Context, addr, id, path string, body []byte) ([]byte, error) {
	if err := m.ctx.Err(); err != nil {
		return nil, &CallError{Err: net.ErrClosed}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
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
	if carried := TraceOf(ctx); carried != "" {
		request.Header.Set(traceHeader, carried)
	}
	response, err := m.client.of(id, m.identity.Load().cluster()).Do(request)
	if err != nil {
		var call *url.Error // which says what was asked of whom, and not what failed
		if errors.As(err, &call) {
			err = call.Err
		}
		return nil, &CallError{Sent: sent.Load(), Err: err}
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		detail, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBytes))
		return nil, &RemoteError{Code: response.Header.Get(codeHeader), Detail: string(bytes.TrimSpace(detail))}
	}
	reply, err := io.ReadAll(io.LimitReader(response.Body, MaxAnswer+1))
	if err == nil && len(reply) > MaxAnswer {
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
	dial    func(ctx context.Context, addr, id, protocol string) (*conn, error)
	mu      sync.Mutex
	own     string                  // the caller's cluster: when it is of one, it goes on no connection on which it said to be of none
	clients map[string]*http.Client // by id: as many as the cluster ever had nodes
}

func newCallers(dial func(ctx context.Context, addr, id, protocol string) (*conn, error)) *callers {
	return &callers{dial: dial, clients: map[string]*http.Client{}}
}

func (c *callers) of(id, own string) *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own != own {
		c.own = own
		c.forget()
	}
	if client, ok := c.clients[id]; ok {
		return client
	}
	client := &http.Client{
		// Nodes do not redirect; following one would be a second call that nobody made.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			// The dialed connection is TLS already; net/http must not know.
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				dialed, err := c.dial(ctx, addr, id, protocolCall)
				if err != nil {
					return nil, err
				}
				return dialed, nil
			},
			MaxIdleConnsPerHost: idlePerNode, IdleConnTimeout: idleLimit,
			MaxResponseHeaderBytes: maxHeaderBytes, DisableCompression: true,
		},
	}
	c.clients[id] = client
	return client
}

// renew has every call from now on connect anew. What is under way ends by itself, and its connection with it.
func (c *callers) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}

func (c *callers) forget() {
	for _, client := range c.clients {
		client.CloseIdleConnections()
	}
	clear(c.clients)
}
