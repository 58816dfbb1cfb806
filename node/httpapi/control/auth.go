package control

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"veto/node/httpapi"
	"veto/node/intake"
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
	// boundOperator is anyOperator for what a key that is bound may read as well.
	boundOperator record.Role = "bound"
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
		r, w := humago.Unwrap(ctx)
		writeProblem(w, r, problem)
		return
	}
	next(huma.WithValue(ctx, operatorInContext{}, operator))
}

// operator finds who asks, and whether they may.
func (x *control) operator(authorization string, role record.Role) (*record.APIKey, *httpapi.Problem) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, httpapi.New(http.StatusUnauthorized, "unauthorized", "send an operator's API key: Authorization: Bearer ...")
	}
	find := x.Validator.Operator
	if role == record.RoleRevoker {
		find = x.Validator.Denier
	}
	key, verdict := find(strings.TrimSpace(token), x.Now())
	switch {
	case verdict.Code == validate.PepperLocked:
		return nil, httpapi.PepperLocked()
	case verdict.Outcome == validate.Unknown:
		return nil, httpapi.NotReady()
	case key == nil:
		return nil, httpapi.New(http.StatusUnauthorized, string(verdict.Code), "this is no operator's API key that may be used now")
	case role == boundOperator:
	case role == anyOperator:
		if !key.ReadsAll() {
			return nil, httpapi.New(http.StatusForbidden, "forbidden", "this API key is bound to what it may revoke, and reads only that, by its id; to read more it needs the role auditor or validator as well")
		}
	case !key.HasRole(role):
		return nil, httpapi.New(http.StatusForbidden, "forbidden", "this needs an API key with the role "+string(role))
	}
	return key, nil
}

// guard protects a handler that is no operation.
func (x *control) guard(role record.Role, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operator, problem := x.operator(r.Header.Get("Authorization"), role)
		if problem != nil {
			writeProblem(w, r, problem)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operatorInContext{}, operator)))
	})
}

// propose sends a command in the name of who asks.
func (x *control) propose(ctx context.Context, key string, asked any, body record.Body) (record.Result, error) {
	c, err := commandOf(ctx, key, asked, body.Kind())
	if err != nil {
		return record.Result{}, err
	}
	c.Body = body
	return x.Proposer.Propose(ctx, c)
}

// commandOf is a command of the kind, in the name of who asks, that has no body yet.
func commandOf(ctx context.Context, key string, asked any, kind record.Kind) (record.Command, error) {
	condition, err := conditionOf(ctx)
	if err != nil {
		return record.Command{}, err
	}
	if condition.When != record.WhenAny { // the same change with another condition is another request
		asked = struct {
			Asked     any
			Condition record.Condition
		}{asked, condition}
	}
	request, err := intake.RequestOf(key, asked, kind)
	return record.Command{By: operatorID(ctx), From: originOf(ctx), Request: request, Condition: condition}, err
}

type conditionInContext struct{}

// conditions are the lines of a request's If-Match and If-None-Match.
type conditions struct{ match, noneMatch []string }

// withConditions keeps what the header says for where a command is proposed.
func withConditions(ctx context.Context, h http.Header) context.Context {
	given := conditions{h.Values("If-Match"), h.Values("If-None-Match")}
	if given.match == nil && given.noneMatch == nil {
		return ctx
	}
	return context.WithValue(ctx, conditionInContext{}, given)
}

// conditionOf is what a request asks of the record that it changes.
func conditionOf(ctx context.Context) (record.Condition, error) {
	given, _ := ctx.Value(conditionInContext{}).(conditions)
	return httpapi.Condition(given.match, given.noneMatch)
}

// unconditional refuses a condition where none can be kept: it must not be taken for met.
func unconditional(ctx context.Context) error {
	if _, given := ctx.Value(conditionInContext{}).(conditions); given {
		return httpapi.New(http.StatusBadRequest, httpapi.CodeOf(http.StatusBadRequest), "this takes no If-Match and no If-None-Match, as it changes no record that is there; leave them out")
	}
	return nil
}

// operatorOf is the key of who asks.
func operatorOf(ctx context.Context) *record.APIKey {
	by, _ := ctx.Value(operatorInContext{}).(*record.APIKey)
	return by
}

func operatorID(ctx context.Context) string {
	if by := operatorOf(ctx); by != nil {
		return by.ID
	}
	return ""
}

type clientInContext struct{}

// originOf is the way by which a request came.
func originOf(ctx context.Context) record.Origin {
	address, _ := ctx.Value(clientInContext{}).(string)
	return record.Origin{Way: record.WayHTTP, Address: address}
}

// clientOf is the address of a client, without the port, which says nothing a minute later.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// maxIdempotencyKey is in bytes. A longer one could not be read back from the log (L5).
const maxIdempotencyKey = 255

func headerOf(r record.Revision) string { return strconv.FormatUint(uint64(r), 10) }
