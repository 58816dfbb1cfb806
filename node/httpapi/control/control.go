package control

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"veto/node/httpapi"
	"veto/node/httpapi/gate"
	"veto/node/httpapi/leaks"
	"veto/node/httpapi/watch"
	"veto/node/intake"
	"veto/node/leaked"
	"veto/record"
	"veto/record/trail"
	"veto/validate"
)

// Proposer changes the state.
type Proposer interface {
	// Propose blocks until the command is committed and in force on this node, or refused.
	Propose(ctx context.Context, c record.Command) (record.Result, error)
	// MostLines is how many lines part of a stream may have that is proposed now.
	MostLines() int
	// Revoke takes a revocation, with or without a leader, and answers what came of it within
	// the wait.
	Revoke(ctx context.Context, t record.Taken, wait time.Duration) (record.Accepted, error)
}

// Validator tells who asks, and what a presented token is.
type Validator interface {
	Operator(token string, now time.Time) (*record.APIKey, validate.Verdict)
	// Denier is Operator for who only adds denials: also before the node has caught up.
	Denier(token string, now time.Time) (*record.APIKey, validate.Verdict)
	// Person tells who presents a JWT; nil unless the verdict allows.
	Person(token string, now time.Time) (*validate.Claims, validate.Verdict)
	Inspect(token string, now time.Time) (*validate.Claims, validate.Code)
	// Sure tells whether the node knows enough to let in by it; OK if it does.
	Sure(now time.Time) validate.Code
}

// Issuers reads issuers.
type Issuers interface {
	Issuers() []record.Issuer
	SigningKeys(issuerID string) (record.SigningKeys, bool)
}

// Keys reads consumers and API keys.
type Keys interface {
	Consumer(id string) (*record.Consumer, bool)
	// Consumers, Keys and Roles have, beside what was found of up to limit, where it goes on: also behind
	// less than that, as they read a bounded number of records. It is empty at the end.
	Consumers(q record.ConsumerQuery, after string, limit int) (items []record.Consumer, next string, err error)
	Key(id string) (record.APIKey, bool, error)
	// Locked tells whether no key can be found by its secret now.
	Locked() bool
	Keys(q record.KeyQuery, now time.Time, after string, limit int) (items []record.APIKey, next string, err error)
	Role(id record.Role) (record.DefinedRole, bool, error)
	Roles(after string, limit int) (items []record.DefinedRole, next string, err error)
	// Session reads a portal session, SessionBySecret that of a secret, by its SHA-256, and Managed the ids
	// of consumers that the person manages.
	Session(id string) (record.PortalSession, bool, error)
	SessionBySecret(sum record.KeyHash) (record.PortalSession, bool, error)
	Managed(p record.Person, limit int) ([]string, error)
	// KeyOf and KeysOf read the consumer's API keys, and look at no others.
	KeyOf(consumer, id string) (record.APIKey, bool, error)
	KeysOf(consumer, after string, limit int) ([]record.APIKey, error)
}

// Revocations reads revocations.
type Revocations interface {
	RevocationID(n record.Name) string
	Revocation(d record.Digest) (record.Standing, bool, error)
	// Stands is what the log has of what was accepted, if it tells by the end of the context.
	Stands(ctx context.Context, r record.Revocation, a record.Accepted) (now record.Revocation, told bool, err error)
	// Revocations has one for each name, EveryRevocation all.
	Revocations(cursor string, limit int) (items []record.Revocation, next string, err error)
	EveryRevocation(cursor string, limit int) (items []record.Revocation, next string, err error)
	Freshness() record.Freshness
	// AwaitRevision waits until what is read holds the revision.
	AwaitRevision(ctx context.Context, r record.Revision) error
}

// Cluster sees the nodes and what they did.
type Cluster interface {
	Status(ctx context.Context) record.ClusterStatus
	// ChangeMember does what is wanted of a node, and blocks for up to 20 seconds until it is done or begun.
	ChangeMember(ctx context.Context, c record.MemberChange) (record.MemberChanged, error)
	// EnforcedOn names the nodes that have said that they enforce it, and the others. With all it
	// asks them, until the context ends.
	EnforcedOn(ctx context.Context, a record.Accepted, all bool) (on, pending []string)
}

// Peppers keeps the peppers that API keys are stored by.
type Peppers interface {
	Status() record.PepperStatus
	// Rotate fills in the command's body with a new pepper, and proposes it.
	Rotate(ctx context.Context, c record.Command) (record.Result, error)
}

// Trail reads the audit trail.
type Trail interface {
	Audit(after trail.Entry, limit int) ([]trail.Entry, error)
	// AuditHead is the last entry of the chain; zero if that has not begun.
	AuditHead() (trail.Head, error)
	// AuditAnchor is the last entry that was removed as it was too old; zero if none was.
	AuditAnchor() (trail.Head, error)
}

// Records reads all that the cluster has agreed on.
type Records interface {
	Issuers
	Keys
	Revocations
	Trail
	httpapi.Sealer
}

// Tracer tells of the way of requests.
type Tracer interface {
	// Begin begins a step, which the function ends; Continue goes on with what the caller's traceparent says.
	Begin(ctx context.Context, step string) (within context.Context, end func())
	Continue(ctx context.Context, carried string) context.Context
}

// Config is what the control plane is made of.
type Config struct {
	Proposer  Proposer
	Validator Validator
	Records   Records
	Cluster   Cluster
	Peppers   Peppers
	// ParseJWKS reads an inline JWK set, and gives it in the form in which it may be kept.
	ParseJWKS func(set []byte, algorithms []string) ([]record.SigningKey, json.RawMessage, error)
	// Refresh fetches an issuer's keys and has the cluster agree on them. It blocks.
	Refresh func(ctx context.Context, i record.Issuer) error
	// NewKey makes a key of the environment, which may be empty; NewID an id with the prefix.
	NewKey func(environment string) (secret string, hash record.KeyHash, hint string, err error)
	NewID  func(prefix string) string
	// FindKey finds the API key of a secret, and tells whether another has replaced it.
	FindKey func(secret string) (k *record.APIKey, old, ok bool)
	// Signers may report leaked secrets without an operator's key; none if there are none. MarkLeaks marks
	// the keys; otherwise they are revoked.
	Signers   leaks.Signers
	MarkLeaks bool
	// Metrics answers GET /metrics.
	Metrics http.Handler
	// Pprof adds /debug/pprof/, for admins.
	Pprof bool
	Ready func() []httpapi.Check
	Now   func() time.Time
	// Events is where events come from, and Closing is closed when streams of them are to end.
	Events  watch.Source
	Closing <-chan struct{}
	// Waiting is where requests wait for their min_revision, before it is looked at who asks; with nil none does.
	Waiting *httpapi.Waiting
	// Callers bounds how often each operator and each manager may come, Strangers how often those at an address
	// of whom nobody knows who they are. Nil bounds nothing.
	Callers, Strangers *gate.Rates
	// Backup writes a backup of the state as it is now. It blocks for as long as w takes it in.
	Backup func(ctx context.Context, w io.Writer) error
	// Imports, Exports and Streams bound how many streams of revocations are taken in, how many of them and of
	// the audit trail are given out, and how many there are of events. Nil bounds nothing.
	Imports, Exports, Streams *gate.Places
	// Importers and Exporters bound how many of these each operator has; backups are exports there. Nil bounds nothing.
	Importers, Exporters *gate.Shares
	// Watchers bounds how many of the streams of events each operator has. Nil bounds nothing.
	Watchers *gate.Shares
	// Turns is when requests compute. Nil lets all do so at once.
	Turns *gate.Turns
	// Trace is told of requests; nil if nobody is.
	Trace Tracer
	// NodeID is this node's.
	NodeID  string
	Version string
	Log     *slog.Logger
}

// Bounds of requests, in bytes.
const (
	maxBody       = 64 << 10
	maxIssuerBody = 512 << 10
)

const metricsPath = "/metrics"

type control struct {
	Config
	api    huma.API
	intake *intake.Intake
	desk   *leaked.Desk
}

// routes is where every path of the control plane is registered, so that a test can tell them all.
type routes interface {
	Handle(pattern string, h http.Handler)
	HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request))
	Handler(r *http.Request) (h http.Handler, pattern string)
	ServeHTTP(w http.ResponseWriter, r *http.Request)
}

// New makes the control plane's handler.
func New(c Config) http.Handler { return build(c, http.NewServeMux()) }

func build(c Config, mux routes) http.Handler {
	c.Proposer, c.Records = proposer{c.Proposer}, records{c.Records}
	settings := huma.DefaultConfig("Veto", c.Version)
	settings.Info.Description = "May this JWT or API key still be used? The control plane, and the questions of the data plane."
	settings.CreateHooks = nil // answers carry no links to schemas
	settings.Transformers = []huma.Transformer{problems}
	settings.DocsPath, settings.SchemasPath = "", ""
	settings.RejectUnknownQueryParameters = true
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: httpapi.ReadJSON}
	settings.Formats = map[string]huma.Format{"application/json": format, "json": format}
	settings.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		managerKey:  {Type: "http", Scheme: "bearer", Description: "A JWT of a consumer's manager, or the secret of a portal session."},
		operatorKey: {Type: "http", Scheme: "bearer", Description: "An operator's API key: one with roles. Or a JWT of an issuer whose operators give it roles."},
	}
	x := &control{Config: c, api: humago.New(mux, settings)}
	x.intake = intake.New(intake.Config{
		Taker: c.Proposer, Tokens: c.Validator, Revocations: c.Records, State: c.Records, Owners: c.Records, Cluster: c.Cluster, NodeID: c.NodeID, Now: c.Now,
	})
	x.desk = leaked.New(leaked.Config{
		Changer: c.Proposer, Records: c.Records, FindKey: c.FindKey, Mark: c.MarkLeaks, Now: c.Now, Log: c.Log,
	})
	x.api.UseMiddleware(x.authenticate, x.conditioned, x.readBody)
	x.issuers()
	x.consumers()
	x.keys()
	x.roles()
	x.me()
	x.revocations()
	x.cluster()
	x.bulk(mux)
	x.events(mux)
	mux.HandleFunc("POST /v1/keys/leaked", x.reportLeaked)
	x.describe()
	mux.Handle("GET "+metricsPath, x.guard(record.RoleAuditor, turned(c.Metrics)))
	if c.Pprof {
		x.pprof(mux)
	}
	return x.around(mux)
}

// pprof shows the process from inside. A profile may hold any secret that is in memory, so it
// takes an admin.
func (x *control) pprof(mux routes) {
	for path, h := range map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
	} {
		mux.Handle("GET /debug/pprof/"+path, x.guard(record.RoleAdmin, h))
	}
}

// operation describes one operation; a role of "" answers anyone.
func operation(id, method, path, summary string, role record.Role) huma.Operation {
	o := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		MaxBodyBytes: maxBody, Metadata: map[string]any{roleKey: role},
	}
	if role == anyone {
		return o
	}
	shown := role
	if role == boundOperator {
		shown = anyOperator
	}
	o.Description = "Role: " + string(shown) + "."
	o.Extensions = map[string]any{"x-veto-role": string(shown)}
	o.Security = []map[string][]string{{operatorKey: {}}}
	if role == consumersManager {
		o.Security = []map[string][]string{{managerKey: {}}}
	}
	o.Parameters = []*huma.Param{{
		Name: httpapi.MinRevisionHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeInteger},
		Description: "A revision that this node must have come to, such as that at which your key or session was made. The node waits for it a moment (its min_revision_wait), and is then behind_min_revision",
	}}
	o.Errors = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	if strings.Contains(path, "{id}") || role == consumersManager {
		o.Errors = append(o.Errors, http.StatusNotFound)
	}
	if method == http.MethodPut || method == http.MethodPatch || method == http.MethodDelete {
		o.Errors = append(o.Errors, http.StatusPreconditionFailed)
	}
	if method != http.MethodGet {
		o.Errors = append(o.Errors, http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusGatewayTimeout)
	}
	return o
}

// register adds an operation, and sends its errors through the one table.
func register[In, Out any](x *control, o huma.Operation, f func(context.Context, *In) (*Out, error)) {
	huma.Register(x.api, o, func(ctx context.Context, in *In) (*Out, error) {
		out, err := f(ctx, in)
		if err == nil {
			return out, nil
		}
		problem, known := httpapi.ProblemOf(err)
		if !known {
			x.Log.Error("a request failed", "request_id", requestID(ctx), "operation", o.OperationID, "error", err)
		}
		return nil, problem
	})
}

// Change is what every writing request may carry.
type Change struct {
	Key string `header:"Idempotency-Key" maxLength:"255" doc:"The same key with the same request is done once"`
}

// Match is what a request may carry that changes a record, and NoneMatch one that makes it. They are
// read where a command is proposed, as there may be several lines of each.
type Match struct {
	IfMatch string `header:"If-Match" doc:"Only if the record has this ETag, or one of several, or with * if it is there; otherwise precondition_failed"`
}

// NoneMatch goes with Match.
type NoneMatch struct {
	Match
	IfNoneMatch string `header:"If-None-Match" doc:"* only makes the record, and never replaces one: otherwise precondition_failed"`
}

// recordAnswer tells of one record.
type recordAnswer[T any] struct {
	Revision string `header:"Veto-Revision"`
	ETag     string `header:"ETag" doc:"Of the record, for If-Match"`
	Body     T
}

func recordAt[T any](r T, at record.Revision) *recordAnswer[T] {
	return &recordAnswer[T]{Revision: headerOf(at), ETag: httpapi.ETag(at), Body: r}
}

// changedAnswer tells of the record that was changed: as it is now, with the ETag that it has now.
type changedAnswer[T any] struct {
	Revision string `header:"Veto-Revision" doc:"At which the change took effect"`
	ETag     string `header:"ETag" doc:"Of the record as it is now, for If-Match"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the request had been done before: nothing was changed now"`
	Body     T
}

func replayed(r record.Result) string {
	if r.Repeated {
		return "true"
	}
	return ""
}

// changedRecord is the answer to a change, of what is stored at a revision; 0 if nothing is. Asked is, if it is not
// nil, what was asked for, for a node that lags: that was done, but for a request of before.
func changedRecord[T any](x *control, result record.Result, stored T, at record.Revision, asked func(record.Revision) T) (*changedAnswer[T], error) {
	if at < result.Revision && asked != nil && (!result.Repeated || x.Records.Freshness().Revision < result.Revision) {
		stored, at = asked(result.Revision), result.Revision
	}
	if at == 0 {
		return nil, record.NotFound("what this request has changed is not there any more")
	}
	return &changedAnswer[T]{Revision: headerOf(result.Revision), ETag: httpapi.ETag(at), Replayed: replayed(result), Body: stored}, nil
}

// changed is the answer to a change that has nothing else to tell.
type changed struct {
	Revision string `header:"Veto-Revision"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the request had been done before: nothing was changed now"`
	Body     struct {
		Revision record.Revision `json:"revision" doc:"At which the change took effect"`
	}
}

func changedAt(r record.Result) *changed {
	out := &changed{Revision: headerOf(r.Revision), Replayed: replayed(r)}
	out.Body.Revision = r.Revision
	return out
}

// Page is what every list takes.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before, of the same list with the same filter"`
}

// list is what every list answers.
type list[T any] struct {
	Body struct {
		Items      []T    `json:"items"`
		NextCursor string `json:"next_cursor" doc:"Empty on the last page; a page before that may have fewer items than limit, or none"`
	}
}

// place is where the page begins in the list, which is named with its filter.
func (x *control) place(list string, p Page) (string, error) {
	return httpapi.Place(x.Records, list, p.Cursor)
}

// pageOf makes a page of the list, and of the place where the next begins.
func pageOf[T any](x *control, name string, items []T, next string) *list[T] {
	out := &list[T]{}
	out.Body.Items, out.Body.NextCursor = items, httpapi.Cursor(x.Records, name, next)
	if items == nil {
		out.Body.Items = []T{}
	}
	return out
}
