package control

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

const (
	operatorKey = "operator"
	roleKey     = "role"
)

// Roles of operations that are no operators' roles.
const (
	anyone      record.Role = ""
	anyOperator record.Role = "any"
)

type operatorInContext struct{}

// authenticate lets only operators with the operation's role pass (L1).
func (x *control) authenticate(ctx huma.Context, next func(huma.Context)) {
	role, ok := ctx.Operation().Metadata[roleKey].(record.Role)
	if ok && role == anyone {
		next(ctx)
		return
	}
	if !ok {
		role = record.RoleAdmin // an operation that forgot to say
	}
	operator, problem := x.operator(ctx.Header("Authorization"), role)
	if problem != nil {
		for name, values := range problem.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
		ctx.SetHeader("Content-Type", httpapi.ContentType)
		ctx.SetStatus(problem.Status)
		if err := json.NewEncoder(ctx.BodyWriter()).Encode(problem); err != nil {
			x.Log.Debug("an operator was gone before the answer", "error", err)
		}
		return
	}
	next(huma.WithValue(ctx, operatorInContext{}, operator.ID))
}

// operator finds who asks, and whether they may.
func (x *control) operator(authorization string, role record.Role) (*record.APIKey, *httpapi.Problem) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, httpapi.New(http.StatusUnauthorized, "unauthorized", "send an operator's API key: Authorization: Bearer ...")
	}
	key, verdict := x.Validator.Operator(strings.TrimSpace(token), x.Now())
	switch {
	case verdict.Outcome == validate.Unknown:
		return nil, notReady
	case key == nil:
		return nil, httpapi.New(http.StatusUnauthorized, string(verdict.Code), "this is no operator's API key that may be used now")
	case role != anyOperator && !key.HasRole(role):
		return nil, httpapi.New(http.StatusForbidden, "forbidden", "this needs an API key with the role "+string(role))
	}
	return key, nil
}

var notReady = httpapi.New(http.StatusServiceUnavailable, "not_ready",
	"this node has not caught up with the cluster yet; ask another, or wait until /readyz says that it has")

// guard protects a handler that is no operation.
func (x *control) guard(role record.Role, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, problem := x.operator(r.Header.Get("Authorization"), role); problem != nil {
			writeProblem(w, problem)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func writeProblem(w http.ResponseWriter, p *httpapi.Problem) {
	for name, values := range p.GetHeaders() {
		w.Header().Set(name, values[0])
	}
	w.Header().Set("Content-Type", httpapi.ContentType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that is gone needs no answer
}

// propose sends a command in the name of who asks. What was asked for is summed up, so that
// the same Idempotency-Key for something else is noticed.
func (x *control) propose(ctx context.Context, key string, asked any, body record.Body) (record.Result, error) {
	by, _ := ctx.Value(operatorInContext{}).(string)
	c := record.Command{By: by, Body: body}
	if key != "" {
		what, err := json.Marshal(asked)
		if err != nil {
			return record.Result{}, err
		}
		c.Request = record.Request{Key: key, Sum: sha256.Sum256(append([]byte(body.Kind().String()+"\n"), what...))}
	}
	return x.Proposer.Propose(ctx, c)
}

func headerOf(r record.Revision) string { return strconv.FormatUint(uint64(r), 10) }
