package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"veto/node/httpapi"
	"veto/node/httpapi/gate"
	"veto/node/intake"
	"veto/record"
)

type requestIDInContext struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDInContext{}).(string)
	return id
}

// around names every request, survives a panic in it, and answers what no operation takes.
func (x *control) around(mux routes) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := httpapi.NewRequestID()
		ctx := withConditions(context.WithValue(r.Context(), requestIDInContext{}, id), r.Header)
		r = r.WithContext(context.WithValue(ctx, clientInContext{}, clientOf(r)))
		w.Header().Set(httpapi.RequestIDHeader, id)
		w.Header().Set("Cache-Control", "no-store")
		if len(r.TransferEncoding) > 0 {
			// There may have been a Content-Length too, which net/http hides: whoever went by that saw the request end
			// elsewhere, and what follows may be another's.
			w.Header().Set("Connection", "close")
		}
		defer func() {
			p := recover()
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // that is how an answer is cut off
			}
			if p != nil {
				x.Log.Error("a request on the control plane panicked",
					"request_id", id, "panic", httpapi.PanicText(p), "stack", string(debug.Stack()))
				writeProblem(w, r, httpapi.Internal())
			}
		}()
		refused, pattern := mux.Handler(r)
		if pattern == "" {
			x.unrouted(w, r, refused)
			return
		}
		if x.Trace != nil { // by the pattern, as what is in its place may be somebody's name
			ctx, end := x.Trace.Begin(x.Trace.Continue(r.Context(), r.Header.Get("Traceparent")), pattern)
			defer end()
			r = r.WithContext(ctx)
		}
		if problem := x.reach(r); problem != nil {
			writeProblem(w, r, problem)
			return
		}
		x.serve(mux, w, r)
	})
}

// turnLimit is how long a request waits for its turn, before anything of it is done.
const turnLimit = 5 * time.Second

// workOf is what the request's turn is for. Changes go before what is read, but for metrics, by which an operator sees why.
func workOf(r *http.Request) gate.Work {
	changes := r.Method != http.MethodGet && r.Method != http.MethodHead
	return gate.Work{Prompt: changes || r.URL.Path == metricsPath, Writes: changes}
}

// serve serves what waits for a turn, if it computes.
func (x *control) serve(mux routes, w http.ResponseWriter, r *http.Request) {
	if slices.Contains(Always, r.URL.Path) {
		mux.ServeHTTP(w, r)
		return
	}
	turn := x.Turns.Turn(workOf(r))
	defer turn.Leave()
	mux.ServeHTTP(turn.Answer(w), r.WithContext(gate.WithTurn(r.Context(), turn)))
}

// inTurn waits for the request's turn, and otherwise refuses it.
func inTurn(w http.ResponseWriter, r *http.Request) bool {
	if !gate.TurnOf(r.Context()).TakeWithin(r.Context(), turnLimit) {
		writeProblem(w, r, httpapi.Busy())
		return false
	}
	return true
}

// turned serves in the request's turn.
func turned(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inTurn(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

// reach waits until the node has the revision that a request names, so that who was just let in, or has
// just changed something, is known here.
func (x *control) reach(r *http.Request) *httpapi.Problem {
	var least uint64
	for _, line := range r.Header.Values(httpapi.MinRevisionHeader) {
		v, err := strconv.ParseUint(line, 10, 64)
		if err != nil {
			return httpapi.New(http.StatusBadRequest, httpapi.CodeOf(http.StatusBadRequest), "the header "+httpapi.MinRevisionHeader+" must be a revision, a whole number")
		}
		least = max(least, v)
	}
	if x.Waiting != nil && x.Waiting.Reach(record.Revision(least)) {
		return httpapi.Behind()
	}
	return nil
}

// Busy answers a request that is more than the node takes on.
func Busy(w http.ResponseWriter, r *http.Request) {
	id := httpapi.NewRequestID()
	w.Header().Set(httpapi.RequestIDHeader, id)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close") // what it still sends is not waited for
	writeProblem(w, r.WithContext(context.WithValue(r.Context(), requestIDInContext{}, id)), httpapi.Busy())
}

// readBody reads what an operation takes, in the time that it has, and then waits for its turn. What cannot be read huma would take for
// a failure of its own.
func (x *control) readBody(ctx huma.Context, next func(huma.Context)) {
	o := ctx.Operation()
	r, w := humago.Unwrap(ctx)
	if o.RequestBody == nil {
		if inTurn(w, r) {
			next(ctx)
		}
		return
	}
	_ = ctx.SetReadDeadline(time.Now().Add(o.BodyReadTimeout)) // without it, the server's own holds
	body, err := io.ReadAll(io.LimitReader(r.Body, o.MaxBodyBytes))
	if err != nil {
		x.refuse(w, r, "a body cannot be read", &httpapi.Unread{Err: err})
		return
	}
	if !inTurn(w, r) {
		return
	}
	if where, holds := secretIn(body); holds {
		x.refuse(w, r, "", record.Invalid("%s: holds a secret: an API key, that of a portal session, or a JWT. What is sent here is kept and shown, so nothing of it was done; if the secret is in use, revoke it", where))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	next(ctx)
}

// forSecrets are the members of bodies that hold secrets as they should.
var forSecrets = []string{"token", "shared_secret", "jwks"}

// secretIn finds the form of a credential in what is to be kept, and says in which member. What is no JSON is
// refused by whoever reads it.
func secretIn(body []byte) (where string, holds bool) {
	if !bytes.ContainsRune(body, '\\') && !intake.IsCredential(string(body)) {
		return "", false // without escapes, every text stands in the body as it is
	}
	var members map[string]any
	if json.Unmarshal(body, &members) != nil {
		return "", false
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		switch {
		case intake.IsCredential(name):
			return "body", true
		case !slices.Contains(forSecrets, name) && anySecret(members[name]):
			return fieldError(&huma.ErrorDetail{Location: "body." + name}).Location, true
		}
	}
	return "", false
}

// anySecret looks at all texts in a value of JSON.
func anySecret(v any) bool {
	switch v := v.(type) {
	case string:
		return intake.IsCredential(v)
	case []any:
		return slices.ContainsFunc(v, anySecret)
	case map[string]any:
		for name, one := range v {
			if intake.IsCredential(name) || anySecret(one) {
				return true
			}
		}
	}
	return false
}

// unrouted says in a problem what the mux says in plain text.
func (x *control) unrouted(w http.ResponseWriter, r *http.Request, refused http.Handler) {
	said := &statusOnly{header: http.Header{}}
	refused.ServeHTTP(said, r)
	if said.status == http.StatusMethodNotAllowed {
		allow := said.header.Get("Allow")
		w.Header().Set("Allow", allow)
		writeProblem(w, r, httpapi.New(said.status, httpapi.CodeOf(said.status), "use "+allow))
		return
	}
	writeProblem(w, r, httpapi.New(http.StatusNotFound, "not_found", "there is nothing at this path; GET /openapi.json lists what there is"))
}

// statusOnly takes an answer and keeps its status and header.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }

func writeProblem(w http.ResponseWriter, r *http.Request, p *httpapi.Problem) {
	for name, values := range p.GetHeaders() {
		w.Header().Set(name, values[0])
	}
	w.Header().Set("Content-Type", httpapi.ContentType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.ForRequest(requestID(r.Context()))) // a client that is gone needs no answer
}

// refuse answers with the problem that the error is, and logs one that nobody knows as what failed.
func (x *control) refuse(w http.ResponseWriter, r *http.Request, failed string, err error) {
	p, known := httpapi.ProblemOf(err)
	if !known {
		x.Log.Error(failed, "request_id", requestID(r.Context()), "error", err)
	}
	writeProblem(w, r, p)
}

// problems makes all errors that leave huma problems of ours. Huma's own repeat the values
// that were wrong, which may be secrets (L3).
func problems(ctx huma.Context, _ string, answer any) (any, error) {
	switch e := answer.(type) {
	case *httpapi.Problem:
		return e.ForRequest(requestID(ctx.Context())), nil
	case *huma.ErrorModel:
		p := httpapi.New(e.Status, httpapi.CodeOf(e.Status), detailOf(e))
		for _, d := range e.Errors {
			if d != nil && e.Status != http.StatusUnsupportedMediaType { // of which huma repeats what came
				p.Errors = append(p.Errors, fieldError(d))
			}
		}
		return p.ForRequest(requestID(ctx.Context())), nil
	}
	return answer, nil
}

func detailOf(e *huma.ErrorModel) string {
	switch {
	case e.Status == http.StatusUnprocessableEntity || e.Status == http.StatusBadRequest:
		if len(e.Errors) == 0 {
			return e.Detail // of huma's own making
		}
		return "the request is not right; errors says where"
	case e.Status == http.StatusUnsupportedMediaType:
		return "send the body as JSON, with Content-Type: application/json"
	case e.Status >= http.StatusInternalServerError:
		return httpapi.Internal().Detail
	}
	return e.Detail
}

// fieldError tells what is wrong with a field. Of a *httpapi.FieldError of the body huma keeps the text.
func fieldError(d *huma.ErrorDetail) httpapi.FieldError {
	part, field, named := strings.Cut(d.Location, ".")
	message := d.Message
	if member, says, ok := strings.Cut(message, ": "); ok && d.Location == "body" {
		field, message, named = member, says, true
	}
	if !named || !httpapi.IsFieldName(field) {
		return httpapi.FieldError{Location: part, Message: message}
	}
	return httpapi.FieldError{Location: part + "." + field, Message: message}
}
