package control

import (
	"context"
	"crypto/sha256"
	"net"
	"net/http"
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
	"veto/validate"
)

const (
	operatorKey = "operator"
	managerKey  = "manager"
	roleKey     = "role"
)

// Roles of operations that are no operators' roles.
const (
	anyone      record.Role = ""
	anyOperator record.Role = "any"
	// boundOperator is anyOperator for what a key that is bound may read as well.
	boundOperator record.Role = "bound"
	// consumersManager is no operator: who manages a consumer's keys.
	consumersManager record.Role = "manager"
)

type callerInContext struct{}

// caller is who asks: an operator by an API key, or by a JWT and then a person, too.
type caller struct {
	key    *record.APIKey // of a person one that stands for it, and is stored nowhere
	person record.Person
	// Of a manager: whose keys it manages, until when, and by which portal session, if by one.
	consumer *record.Consumer
	until    time.Time
	session  string
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
	var by caller
	var problem *httpapi.Problem
	if role == consumersManager {
		by, problem = x.manager(ctx.Context(), ctx.Header("Authorization"), ctx.Query("consumer"))
	} else {
		by, problem = x.operator(ctx.Header("Authorization"), role)
	}
	if problem = x.tooOften(ctx.Context(), by, problem); problem != nil {
		r, w := humago.Unwrap(ctx)
		writeProblem(w, r, problem)
		return
	}
	next(huma.WithValue(ctx, callerInContext{}, by))
}

// Always are the paths that are answered however much there is to do.
var Always = []string{"/livez", "/readyz"}

// tooOften counts that somebody comes, who is refused with the problem if there is one. Who is known never pays
// for others at the same address: it may be a proxy's, and then is everybody's.
func (x *control) tooOften(ctx context.Context, by caller, refused *httpapi.Problem) *httpapi.Problem {
	if refused != nil && refused.Status == http.StatusUnauthorized {
		if problem := x.stranger(ctx); problem != nil {
			return problem
		}
	}
	if refused != nil {
		return refused
	}
	gate.TurnOf(ctx).For(by.key.ID)
	if x.Callers == nil {
		return nil
	}
	if wait, ok := x.Callers.Take(by.key.ID, x.Now()); !ok {
		return httpapi.TooMany(wait)
	}
	return nil
}

// stranger counts that somebody comes of whom nothing but the address is known.
func (x *control) stranger(ctx context.Context) *httpapi.Problem {
	if x.Strangers == nil {
		return nil
	}
	address, _ := ctx.Value(clientInContext{}).(string)
	if wait, ok := x.Strangers.Take(address, x.Now()); !ok {
		return httpapi.TooMany(wait)
	}
	return nil
}

// operator finds who asks, and whether they may.
func (x *control) operator(authorization string, role record.Role) (caller, *httpapi.Problem) {
	token, problem := bearer(authorization)
	if problem != nil {
		return caller{}, problem
	}
	by, verdict := x.operatorBy(token, role)
	if verdict.Outcome != validate.Allow {
		return caller{}, x.unknownCaller(verdict, "this is no operator's API key that may be used now, and no JWT that its issuer's operators say is one's")
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

// stillIs tells whether who asked may go on: a stream may outlast the key that it was begun with, or what that was bound to.
func (x *control) stillIs(r *http.Request, role record.Role) error {
	now, problem := x.operator(r.Header.Get("Authorization"), role)
	if problem != nil {
		return problem
	}
	if now.key.Revision != operatorOf(r.Context()).Revision {
		return record.Conflict("the API key was changed since this began; send it again with the same Idempotency-Key to go on")
	}
	return nil
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
		return caller{key: key, person: claims.Person()}, verdict
	}
	find := x.Validator.Operator
	if role == record.RoleRevoker {
		find = x.Validator.Denier
	}
	key, verdict := find(token, x.Now())
	return caller{key: key}, verdict
}

// unknownCaller refuses whoever is not known to be anyone now.
func (x *control) unknownCaller(v validate.Verdict, detail string) *httpapi.Problem {
	if v.Code == validate.PepperLocked {
		return httpapi.PepperLocked()
	}
	if v.Outcome == validate.Unknown {
		return httpapi.NotReady(x.Ready())
	}
	return httpapi.New(http.StatusUnauthorized, string(v.Code), detail)
}

// maxManaged is of how many consumers somebody need not be told apart.
const maxManaged = 100

// manager finds who asks to manage a consumer's keys, and of which.
func (x *control) manager(ctx context.Context, authorization, consumer string) (caller, *httpapi.Problem) {
	token, problem := bearer(authorization)
	if problem != nil {
		return caller{}, problem
	}
	find := x.bySession
	if isJWT(token) {
		find = x.byPerson
	}
	by, id, err := find(token, consumer)
	if err == nil {
		var ok bool
		if by.consumer, ok = x.Records.Consumer(id); !ok {
			err = notManaged()
		} else if by.consumer.Disabled {
			err = httpapi.New(http.StatusForbidden, "forbidden", "this consumer is disabled; whoever runs this API can enable it again")
		}
	}
	if err != nil {
		problem, known := httpapi.ProblemOf(err)
		if !known {
			x.Log.Error("who asks could not be read", "request_id", requestID(ctx), "error", err)
		}
		return caller{}, problem
	}
	return by, nil
}

// notManaged is of consumers that are somebody else's, and of those that are not there.
func notManaged() error {
	return httpapi.New(http.StatusNotFound, "not_found", "there is no such consumer whose keys you manage")
}

func (x *control) bySession(token, consumer string) (by caller, id string, err error) {
	if x.Validator.Sure(x.Now()) != validate.OK {
		return by, "", httpapi.NotReady(x.Ready())
	}
	s, ok, err := x.Records.SessionBySecret(sha256.Sum256([]byte(token)))
	if err != nil {
		return by, "", err
	}
	if !ok && x.Records.Locked() {
		return by, "", httpapi.PepperLocked()
	}
	if !ok || !x.Now().Before(s.ExpiresAt) {
		return by, "", httpapi.New(http.StatusUnauthorized, "unauthorized", "this is no portal session that is open now, and no JWT")
	}
	if consumer != "" && consumer != s.Consumer {
		return by, "", notManaged()
	}
	return caller{key: &record.APIKey{ID: s.ID}, until: s.ExpiresAt, session: s.ID}, s.Consumer, nil
}

func (x *control) byPerson(token, consumer string) (by caller, id string, err error) {
	claims, verdict := x.Validator.Person(token, x.Now())
	if claims == nil {
		return by, "", x.unknownCaller(verdict, "this is no JWT that may be used now")
	}
	person := claims.Person()
	ids, err := x.Records.Managed(person, maxManaged)
	switch {
	case err != nil:
		return by, "", err
	case len(ids) == 0:
		return by, "", httpapi.New(http.StatusForbidden, "forbidden", "you manage no consumer's keys")
	case consumer != "" && !slices.Contains(ids, consumer):
		return by, "", notManaged()
	case consumer == "" && len(ids) > 1:
		return by, "", record.Invalid("consumer: you manage the keys of several; give one of %s", strings.Join(ids, ", "))
	case consumer == "":
		consumer = ids[0]
	}
	return caller{key: &record.APIKey{ID: person.ID()}, person: person, until: claims.ExpiresAt}, consumer, nil
}

// guard protects a handler that is no operation.
func (x *control) guard(role record.Role, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operator, problem := x.operator(r.Header.Get("Authorization"), role)
		if problem = x.tooOften(r.Context(), operator, problem); problem != nil {
			writeProblem(w, r, problem)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerInContext{}, operator)))
	})
}

// What blocks leaves the turn of the request first, and what is left of that then, which is little, is done without:
// proposer and records do so for whoever is given them.
type proposer struct{ Proposer }

func (p proposer) Propose(ctx context.Context, c record.Command) (record.Result, error) {
	gate.TurnOf(ctx).Leave()
	return p.Proposer.Propose(ctx, c)
}

func (p proposer) Revoke(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error) {
	gate.TurnOf(ctx).Leave()
	return p.Proposer.Revoke(ctx, t, wait)
}

type records struct{ Records }

func (r records) Stands(ctx context.Context, v record.Revocation, a record.Accepted) (now record.Revocation, told bool, err error) {
	gate.TurnOf(ctx).Leave()
	return r.Records.Stands(ctx, v, a)
}

func (r records) AwaitRevision(ctx context.Context, at record.Revision) error {
	gate.TurnOf(ctx).Leave()
	return r.Records.AwaitRevision(ctx, at)
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

// conditioned refuses a condition that is malformed, or that an operation does not keep, before anything is done.
func (x *control) conditioned(ctx huma.Context, next func(huma.Context)) {
	keeps := slices.ContainsFunc(ctx.Operation().Parameters, func(p *huma.Param) bool { return p.Name == "If-Match" })
	var err error
	if ctx.Method() != http.MethodGet {
		if err = unconditional(ctx.Context()); keeps {
			_, err = conditionOf(ctx.Context())
		}
	}
	if err != nil {
		r, w := humago.Unwrap(ctx)
		x.refuse(w, r, "a condition cannot be read", err)
		return
	}
	next(ctx)
}

// unconditional refuses a condition where none can be kept: it must not be taken for met.
func unconditional(ctx context.Context) error {
	if _, given := ctx.Value(conditionInContext{}).(conditions); given {
		return httpapi.New(http.StatusBadRequest, httpapi.CodeOf(http.StatusBadRequest), "this takes no If-Match and no If-None-Match, as it changes no record that is there; leave them out")
	}
	return nil
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

func headerOf(r record.Revision) string { return strconv.FormatUint(uint64(r), 10) }
