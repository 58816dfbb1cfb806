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

type callerInContext struct{}

// caller is who asks: an operator by an API key, or by a JWT and then a person, too.
type caller struct {
	key    *record.APIKey // of a person one that stands for it, and is stored nowhere
	person record.Person
}

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
	next(huma.WithValue(ctx, callerInContext{}, operator))
}

// operator finds who asks, and whether they may.
func (x *control) operator(authorization string, role record.Role) (caller, *httpapi.Problem) {
	token, problem := bearer(authorization)
	if problem != nil {
		return caller{}, problem
	}
	by, verdict := x.operatorBy(token, role)
	if verdict.Outcome != validate.Allow {
		return caller{}, unknownCaller(verdict, "this is no operator's API key that may be used now, and no JWT that its issuer's operators say is one's")
	}
	switch {
	case len(by.key.Roles) == 0:
		return caller{}, httpapi.New(http.StatusForbidden, "forbidden", "this JWT is good, and its issuer's operators give it no role")
	case role == boundOperator:
	case role == anyOperator:
		if !by.key.ReadsAll() {
			return caller{}, httpapi.New(http.StatusForbidden, "forbidden", "this API key is bound to what it may revoke, and reads only that, by its id; to read more it needs the role auditor or validator as well")
		}
	case !by.key.HasRole(role):
		return caller{}, httpapi.New(http.StatusForbidden, "forbidden", "this needs an operator with the role "+string(role))
	}
	return by, nil
}

func bearer(authorization string) (string, *httpapi.Problem) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", httpapi.New(http.StatusUnauthorized, "unauthorized", "send an operator's API key, or a JWT: Authorization: Bearer ...")
	}
	return strings.TrimSpace(token), nil
}

// isJWT tells the forms apart: no API key has a dot.
func isJWT(token string) bool { return strings.Contains(token, ".") }

// operatorBy finds whose the credential is; with a verdict that allows.
func (x *control) operatorBy(token string, role record.Role) (caller, validate.Verdict) {
	if isJWT(token) {
		claims, verdict := x.Validator.Person(token, x.Now())
		if claims == nil {
			return caller{}, verdict
		}
		key, code := claims.Operator()
		verdict.Code, verdict.Outcome = code, code.Outcome()
		return caller{key, claims.Person()}, verdict
	}
	find := x.Validator.Operator
	if role == record.RoleRevoker {
		find = x.Validator.Denier
	}
	key, verdict := find(token, x.Now())
	return caller{key: key}, verdict
}

// unknownCaller refuses whoever is not known to be anyone now.
func unknownCaller(v validate.Verdict, detail string) *httpapi.Problem {
	if v.Outcome == validate.Unknown {
		return httpapi.NotReady()
	}
	return httpapi.New(http.StatusUnauthorized, string(v.Code), detail)
}

// guard protects a handler that is no operation.
func (x *control) guard(role record.Role, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operator, problem := x.operator(r.Header.Get("Authorization"), role)
		if problem != nil {
			writeProblem(w, r, problem)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerInContext{}, operator)))
	})
}

// propose sends a command in the name of who asks.
func (x *control) propose(ctx context.Context, key string, asked any, body record.Body) (record.Result, error) {
	request, err := intake.RequestOf(key, asked, body.Kind())
	if err != nil {
		return record.Result{}, err
	}
	return x.Proposer.Propose(ctx, record.Command{By: operatorID(ctx), From: originOf(ctx), Request: request, Body: body})
}

func callerOf(ctx context.Context) caller {
	by, _ := ctx.Value(callerInContext{}).(caller)
	return by
}

// operatorOf is the key of who asks.
func operatorOf(ctx context.Context) *record.APIKey { return callerOf(ctx).key }

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
	return record.Origin{Way: record.WayHTTP, Address: address, Person: callerOf(ctx).person}
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
