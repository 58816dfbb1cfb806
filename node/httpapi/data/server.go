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
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"veto/node/httpapi"
	"veto/validate"
)

// Validator decides.
type Validator interface {
	// Validate does not block and keeps nothing of the request.
	Validate(r validate.Request, now time.Time) validate.Verdict
}

// Config is what a Server is made of.
type Config struct {
	Validator Validator
	// Ready lists what must hold for the node to be ready.
	Ready func() []httpapi.Check
	// Observe is told of each verdict and how long it took. It must not block.
	Observe func(v validate.Verdict, took time.Duration)
	Now     func() time.Time
	TLS     *tls.Config // may be nil
	Log     *slog.Logger
}

const (
	readLimit  = 10 * time.Second
	writeLimit = 10 * time.Second
	idleLimit  = 2 * time.Minute
	maxHeaders = 32 << 10
)

// Server answers on the data plane.
type Server struct {
	config Config
	server *fasthttp.Server
}

// New makes a server that does not listen yet.
func New(c Config) *Server {
	s := &Server{config: c}
	s.server = &fasthttp.Server{
		Handler: s.handle, ErrorHandler: s.unreadable, Name: "veto",
		ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit,
		MaxRequestBodySize: MaxBody, ReadBufferSize: maxHeaders,
		NoDefaultDate: true, Logger: quiet{c.Log}, CloseOnShutdown: true,
	}
	return s
}

// Serve answers on the listener until Close.
func (s *Server) Serve(l net.Listener) error {
	if s.config.TLS != nil {
		l = tls.NewListener(l, s.config.TLS)
	}
	return s.server.Serve(l)
}

// Close lets requests under way finish, until the context ends.
func (s *Server) Close(ctx context.Context) error { return s.server.ShutdownWithContext(ctx) }

func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer func() {
		if p := recover(); p != nil {
			s.config.Log.Error("a validation panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			ctx.Response.Reset()
			writeProblem(ctx, httpapi.New(http.StatusInternalServerError, "internal", "something went wrong inside; the node's log says what"))
		}
	}()
	switch string(ctx.Path()) {
	case "/v1/validate":
		s.only(ctx, http.MethodPost, s.validate)
	case "/readyz":
		s.only(ctx, http.MethodGet, s.ready)
	case "/livez":
		s.only(ctx, http.MethodGet, s.alive)
	default:
		writeProblem(ctx, httpapi.New(http.StatusNotFound, "not_found", "this listener answers POST /v1/validate, GET /readyz and GET /livez"))
	}
}

func (s *Server) only(ctx *fasthttp.RequestCtx, method string, handle func(*fasthttp.RequestCtx)) {
	if string(ctx.Method()) != method {
		ctx.Response.Header.Set("Allow", method)
		writeProblem(ctx, httpapi.New(http.StatusMethodNotAllowed, "method_not_allowed", "use "+method))
		return
	}
	handle(ctx)
}

func (s *Server) validate(ctx *fasthttp.RequestCtx) {
	request, problem := readRequest(&ctx.Request)
	if problem != nil {
		writeProblem(ctx, problem)
		return
	}
	start := s.config.Now()
	verdict := s.config.Validator.Validate(request, start)
	s.config.Observe(verdict, s.config.Now().Sub(start))
	ctx.Response.Header.Set("Veto-Revision", strconv.FormatUint(uint64(verdict.Revision), 10))
	ctx.Response.Header.Set("Cache-Control", "no-store")
	writeJSON(ctx, http.StatusOK, verdict)
}

func (s *Server) ready(ctx *fasthttp.RequestCtx) {
	checks, status := s.config.Ready(), http.StatusOK
	for _, c := range checks {
		if !c.OK {
			status = http.StatusServiceUnavailable
		}
	}
	writeJSON(ctx, status, map[string]any{"ready": status == http.StatusOK, "checks": checks})
}

func (s *Server) alive(ctx *fasthttp.RequestCtx) {
	writeJSON(ctx, http.StatusOK, map[string]bool{"alive": true})
}

// unreadable answers what is not HTTP, or is over the limits.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	p := httpapi.New(http.StatusBadRequest, "bad_request", "this is not a well-formed HTTP request")
	var small *fasthttp.ErrSmallBuffer
	switch {
	case err == fasthttp.ErrBodyTooLarge: //nolint:errorlint // fasthttp gives it bare
		p = httpapi.New(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is over %d bytes", MaxBody))
	case errors.As(err, &small):
		p = httpapi.New(http.StatusRequestHeaderFieldsTooLarge, "too_large", fmt.Sprintf("the headers are over %d bytes", maxHeaders))
	}
	writeProblem(ctx, p)
}

func writeProblem(ctx *fasthttp.RequestCtx, p *httpapi.Problem) {
	for name, values := range p.GetHeaders() {
		ctx.Response.Header.Set(name, values[0])
	}
	writeJSON(ctx, p.Status, p)
	ctx.Response.Header.SetContentType(httpapi.ContentType)
}

func writeJSON(ctx *fasthttp.RequestCtx, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"title":"Internal Server Error","status":500}`)
	}
	ctx.Response.Header.SetContentType("application/json")
	ctx.SetStatusCode(status)
	ctx.SetBody(b)
}

// quiet keeps what the server says about broken connections out of the way. It may quote what
// a client sent, so its text is not logged.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(string, ...any) { q.log.Debug("a connection to the data plane broke") }
