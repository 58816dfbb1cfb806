package data

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

// Validator decides.
type Validator interface {
	// Validate does not block and keeps nothing of the request.
	Validate(r validate.Request, now time.Time) validate.Verdict
	// Explain does the same and tells of every check.
	Explain(r validate.Request, now time.Time) validate.Verdict
	// Operator finds whose key it is; nil if it may not be used.
	Operator(token string, now time.Time) (*record.APIKey, validate.Verdict)
}

// Config is what a Server is made of.
type Config struct {
	Validator Validator
	// Revisions and Wait are for questions that ask for a revision that is not here yet.
	Revisions httpapi.Revisions
	Wait      httpapi.Wait
	// Ready lists what must hold for the node to be ready.
	Ready func() []httpapi.Check
	// Observe is told of each verdict and how long it took to decide. It must not block.
	Observe func(v validate.Verdict, took time.Duration)
	// Trace is told of each question with its traceparent, and then of its end; nil if nobody is told.
	Trace func(traceparent string) (end func())
	Now   func() time.Time
	TLS   *tls.Config // may be nil
	Log   *slog.Logger
}

const (
	readLimit  = 10 * time.Second
	writeLimit = 10 * time.Second
	idleLimit  = 2 * time.Minute
	maxHeaders = 32 << 10

	maxKeptBuffer = 64 << 10
)

// Server answers on the data plane.
type Server struct {
	config  Config
	server  *fasthttp.Server
	open    connections
	waiting *httpapi.Waiting
	took    atomic.Int64 // in nanoseconds
	// buffers are *[]byte for answers in the making.
	buffers *sync.Pool

	mu struct {
		sync.Mutex
		closed    bool
		listeners []net.Listener
	}
}

// New makes a server that does not listen yet.
func New(c Config) *Server {
	s := &Server{config: c, waiting: httpapi.NewWaiting(c.Revisions, c.Wait), buffers: &sync.Pool{New: func() any { return new([]byte) }}}
	s.server = &fasthttp.Server{
		Handler: s.handle, ErrorHandler: s.unreadable, Name: "veto",
		ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit,
		MaxRequestBodySize: MaxBody, ReadBufferSize: maxHeaders, HeaderReceived: limits,
		ContinueHandler: func(h *fasthttp.RequestHeader) bool { return h.ContentLength() <= limitOf(h) },
		// A form is refused as any other body that is not JSON; parsed, it could be put on disk.
		DisablePreParseMultipartForm: true,
		NoDefaultDate:                true, Logger: quiet{c.Log}, CloseOnShutdown: true,
	}
	return s
}

// Serve answers on the listener, which it owns from now on, until Close; then it gives nil. It may
// be called for several. On a Unix socket nobody speaks TLS.
func (s *Server) Serve(l net.Listener) error {
	local := l.Addr().Network() == "unix"
	l = &listener{Listener: l, all: &s.open}
	if s.config.TLS != nil && !local {
		l = tls.NewListener(l, s.config.TLS)
	}
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.mu.listeners = append(s.mu.listeners, l)
	s.mu.Unlock()
	return s.server.Serve(l)
}

// perRequest is about what a processor takes for a request over HTTP, with what the kernel does for it, but for
// the decision.
const perRequest = 40 * time.Microsecond

// Took is about what validations have taken so far of the processors' time.
func (s *Server) Took() time.Duration { return time.Duration(s.took.Load()) }

// Close lets requests under way finish, those that wait without waiting longer; when the context ends first, they are cut off and it
// gives the context's error. The listeners are closed here and not by fasthttp alone, which
// does not know one that Serve is only about to give it.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.mu.closed = true
	listeners := s.mu.listeners
	s.mu.listeners = nil
	s.mu.Unlock()
	var failed error
	for _, l := range listeners {
		failed = errors.Join(failed, l.Close())
	}
	s.waiting.Close()
	s.open.cut(false)
	if err := s.server.ShutdownWithContext(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		failed = errors.Join(failed, err)
	}
	s.open.cut(true)
	return failed
}

func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer func() {
		if p := recover(); p != nil {
			id := httpapi.NewRequestID()
			s.config.Log.Error("a request on the data plane panicked",
				"request_id", id, "panic", httpapi.PanicText(p), "stack", string(debug.Stack()))
			ctx.Response.Reset()
			writeNamed(ctx, httpapi.Internal().ForRequest(id))
		}
	}()
	if isChunked(&ctx.Request) {
		ctx.SetConnectionClose() // who read its end elsewhere takes what follows for another's
	}
	if len(ctx.Request.Header.Peek(unclearMark)) > 0 {
		ctx.SetConnectionClose()
		writeProblem(ctx, http.StatusBadRequest, "the header can be read in more than one way: send each field on one line that ends in CR LF, and either Content-Length or Transfer-Encoding: chunked")
		return
	}
	switch string(ctx.Path()) {
	case "/v1/validate":
		if allowed(ctx, http.MethodPost) {
			s.took.Add(int64(perRequest))
			s.validate(ctx)
		}
	case batchPath:
		if allowed(ctx, http.MethodPost) {
			s.took.Add(int64(perRequest))
			s.batch(ctx)
		}
	case "/readyz":
		if allowed(ctx, http.MethodGet, http.MethodHead) {
			s.ready(ctx)
		}
	case "/livez":
		if allowed(ctx, http.MethodGet, http.MethodHead) {
			writeJSON(ctx, http.StatusOK, map[string]bool{"alive": true})
		}
	default:
		writeProblem(ctx, http.StatusNotFound, "this listener answers POST /v1/validate and /v1/validate/batch, GET /readyz and /livez")
	}
}

// allowed answers a request with any other method.
func allowed(ctx *fasthttp.RequestCtx, methods ...string) bool {
	if slices.Contains(methods, string(ctx.Method())) {
		return true
	}
	allow := strings.Join(methods, ", ")
	ctx.Response.Header.Set("Allow", allow)
	writeProblem(ctx, http.StatusMethodNotAllowed, "use "+allow)
	return false
}

func (s *Server) validate(ctx *fasthttp.RequestCtx) {
	if s.config.Trace != nil {
		defer s.config.Trace(string(ctx.Request.Header.Peek("Traceparent")))()
	}
	request, explain, problem := readRequest(&ctx.Request)
	if problem == nil {
		s.waiting.Reach(request.MinRevision) // whether it came the verdict says
	}
	if problem == nil && explain {
		problem = s.mayExplain(ctx)
	}
	if problem != nil {
		writeNamed(ctx, problem.ForRequest(httpapi.NewRequestID()))
		return
	}
	var verdict validate.Verdict
	if explain {
		verdict = s.config.Validator.Explain(request, s.config.Now())
	} else {
		verdict = s.decide(request)
	}
	s.write(ctx, func(b []byte) []byte { return verdict.AppendJSON(b) })
	var room [20]byte
	ctx.Response.Header.SetBytesV("Veto-Revision", strconv.AppendUint(room[:0], uint64(verdict.Revision), 10))
}

func (s *Server) decide(r validate.Request) validate.Verdict {
	start := s.config.Now()
	verdict := s.config.Validator.Validate(r, start)
	took := s.config.Now().Sub(start)
	s.took.Add(int64(took))
	s.config.Observe(verdict, took)
	return verdict
}

// mayExplain lets only operators have a credential explained: why it is refused is of help to
// whoever forges one.
func (s *Server) mayExplain(ctx *fasthttp.RequestCtx) *httpapi.Problem {
	headers := ctx.Request.Header.PeekAll("Authorization")
	if len(headers) > 1 {
		return bad("there are several Authorization headers; send one")
	}
	token := ""
	if len(headers) == 1 {
		token, _ = bearer(headers[0])
	}
	key, verdict := s.config.Validator.Operator(token, s.config.Now())
	switch {
	case verdict.Code == validate.PepperLocked:
		return httpapi.PepperLocked()
	case verdict.Outcome == validate.Unknown:
		return httpapi.NotReady(s.config.Ready())
	case key == nil:
		return httpapi.New(http.StatusUnauthorized, "unauthorized", "to have a credential explained, put it in the body, and send an operator's API key: Authorization: Bearer ...")
	case !key.HasRole(record.RoleValidator):
		return httpapi.New(http.StatusForbidden, "forbidden", "explain needs an API key with the role "+string(record.RoleValidator))
	}
	return nil
}

// limits lets a batch be longer than a question, and marks what comes in chunks, and what is unclear.
func limits(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if !isClear(h.RawHeaders()) {
		h.Set(unclearMark, "yes")
	}
	if h.ContentLength() == -1 { // as fasthttp calls it
		h.Set(chunkedMark, "yes")
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: limitOf(h)}
}

func limitOf(h *fasthttp.RequestHeader) int {
	if string(h.RequestURI()) == batchPath {
		return MaxBatchBody
	}
	return MaxBody
}

func (s *Server) ready(ctx *fasthttp.RequestCtx) {
	verbose := false
	for name := range ctx.QueryArgs().All() {
		if string(name) != "verbose" {
			writeProblem(ctx, http.StatusBadRequest, "the only query parameter is verbose")
			return
		}
		verbose = true
	}
	readiness, status := httpapi.ReadinessOf(s.config.Ready(), verbose)
	writeJSON(ctx, status, readiness)
}

// unreadable answers what is not HTTP, or is over the limits.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		writeProblem(ctx, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is over its limit: %d bytes for a question, %d for a batch", MaxBody, MaxBatchBody))
	case errors.As(err, &small):
		writeNamed(ctx, httpapi.New(http.StatusRequestHeaderFieldsTooLarge, "too_large", fmt.Sprintf("the headers are over %d bytes", maxHeaders)).ForRequest(httpapi.NewRequestID()))
	case errors.As(err, &timeout) && timeout.Timeout():
		writeProblem(ctx, http.StatusRequestTimeout, fmt.Sprintf("the request did not come whole within %s", readLimit))
	default:
		writeProblem(ctx, http.StatusBadRequest, "this is not a well-formed HTTP request")
	}
}

func writeProblem(ctx *fasthttp.RequestCtx, status int, detail string) {
	writeNamed(ctx, httpapi.New(status, httpapi.CodeOf(status), detail).ForRequest(httpapi.NewRequestID()))
}

func writeNamed(ctx *fasthttp.RequestCtx, p *httpapi.Problem) {
	for name, values := range p.GetHeaders() {
		ctx.Response.Header.Set(name, values[0])
	}
	if p.RequestID != "" {
		ctx.Response.Header.Set(httpapi.RequestIDHeader, p.RequestID)
	}
	writeJSON(ctx, p.Status, p)
	ctx.Response.Header.SetContentType(httpapi.ContentType)
}

// writeJSON writes any answer.
func writeJSON(ctx *fasthttp.RequestCtx, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal"}`)
	}
	writeAnswer(ctx, status, b)
}

// writeAnswer writes JSON. None may be kept by anyone on the way: the next may differ.
func writeAnswer(ctx *fasthttp.RequestCtx, status int, b []byte) {
	ctx.Response.Header.SetContentType("application/json")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetStatusCode(status)
	ctx.SetBody(b)
}

// write writes what the function appends.
func (s *Server) write(ctx *fasthttp.RequestCtx, with func(b []byte) []byte) {
	buffer, _ := s.buffers.Get().(*[]byte)
	*buffer = with((*buffer)[:0])
	writeAnswer(ctx, http.StatusOK, *buffer)
	if cap(*buffer) <= maxKeptBuffer {
		s.buffers.Put(buffer)
	}
}

// quiet keeps what the server says about broken connections out of the way. It may quote what
// a client sent, so its text is not logged.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(string, ...any) { q.log.Debug("a connection to the data plane broke") }
