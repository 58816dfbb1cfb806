package control

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
	"veto/validate/apikey"
)

// longestWait bounds ?timeout=, and receiptWait how long other nodes have to answer when a receipt
// is asked for later.
const (
	longestWait = 30 * time.Second
	receiptWait = 500 * time.Millisecond
)

// RevocationID is in the path of what is about one revocation.
type RevocationID struct {
	ID string `path:"id" pattern:"^rev_[0-9a-z]{28}$" patternDescription:"the id of a revocation, which is rev_ and 28 more"`
}

// revokeRequest names what is revoked, or presents the token itself.
type revokeRequest struct {
	Target    record.Target `json:"target,omitempty" enum:"jti,token,subject,client,session,signing_key,issuer,key,consumer" doc:"What issuer and value name"`
	Issuer    string        `json:"issuer,omitempty" doc:"The iss within which value has its meaning"`
	Value     string        `json:"value,omitempty"`
	And       []record.Part `json:"and,omitempty" maxItems:"3" doc:"What else a token must bear to be denied: of subject, client, session and signing_key, each once"`
	NotBefore *time.Time    `json:"not_before,omitempty" doc:"Deny only what was issued until then"`
	Reason    string        `json:"reason,omitempty" maxLength:"500"`
	Token     string        `json:"token,omitempty" maxLength:"16384" doc:"The JWT itself, instead of target and value"`
}

type receiptAnswer struct {
	Status   int
	Revision string `header:"Veto-Revision"`
	Body     record.Receipt
}

// revocation is a revocation as it is shown.
type revocation struct {
	ID string `json:"id"`
	record.Revocation
}

// standing is a revocation with its receipt as it is now.
type standing struct {
	revocation
	State      string   `json:"state" enum:"committed,pending"`
	EnforcedOn []string `json:"enforced_on"`
	PendingOn  []string `json:"pending_on"`
	DurableOn  []string `json:"durable_on,omitempty"`
}

type standingAnswer struct {
	Revision string `header:"Veto-Revision"`
	Body     standing
}

func (x *control) revocations() {
	create := operation("revoke", http.MethodPost, "/v1/revocations", "Revoke", record.RoleRevoker)
	create.DefaultStatus = http.StatusCreated
	create.Responses = map[string]*huma.Response{strconv.Itoa(http.StatusAccepted): {
		Description: "Taken: durable and enforced on this node, told to the others, and on its way into the log",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: x.api.OpenAPI().Components.Schemas.Schema(typeOf[record.Receipt](), true, "Receipt"),
		}},
	}}
	register(x, create, x.revoke)
	register(x, operation("list-revocations", http.MethodGet, "/v1/revocations", "List revocations", anyOperator), x.listRevocations)
	register(x, operation("get-revocation", http.MethodGet, "/v1/revocations/{id}", "Show a revocation", anyOperator), x.getRevocation)
	register(x, operation("lift-revocation", http.MethodDelete, "/v1/revocations/{id}", "Lift a revocation", record.RoleAdmin), x.liftRevocation)
}

func (x *control) revoke(ctx context.Context, in *struct {
	Change
	Wait    string `query:"wait" enum:"committed,enforced" default:"committed" doc:"Answer when it is committed, or when every node enforces it"`
	Timeout string `query:"timeout" default:"2s" doc:"How long to wait for that; at most 30s. What is not committed by then is answered as pending, and will be"`
	Body    revokeRequest
},
) (*receiptAnswer, error) {
	wait, err := time.ParseDuration(in.Timeout)
	if err != nil || wait <= 0 || wait > longestWait {
		return nil, record.Invalid("timeout: give a duration between 1ms and %s", longestWait)
	}
	r, err := x.named(in.Body)
	if err != nil {
		return nil, err
	}
	request, err := requestOf(in.Key, in.Body, record.KindRevoke)
	if err != nil {
		return nil, err
	}
	until := x.Now().Add(wait)
	accepted, err := x.Proposer.Revoke(ctx, record.Taken{Revocation: r, By: operatorID(ctx), Request: request}, wait)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, until.Sub(x.Now()))
	defer cancel()
	return x.receipt(ctx, x.Records.RevocationID(r.Name), accepted, in.Wait == "enforced"), nil
}

// named turns the request into a revocation. A presented token is verified first: so its
// issuer, its jti and its expiry are known, not claimed. One that is not admitted today may be
// tomorrow, by the time or by its issuer's rules, so it is revoked as well; only one that has
// expired cannot come back.
func (x *control) named(b revokeRequest) (record.Revocation, error) {
	r := record.Revocation{
		Name:   record.Name{Target: b.Target, Issuer: b.Issuer, Value: b.Value, And: b.And}.Canonical(),
		Reason: b.Reason,
	}
	if b.NotBefore != nil {
		// The zero time would read as none, and deny everything.
		if r.NotBefore = b.NotBefore.Truncate(time.Second); r.NotBefore.IsZero() {
			return r, record.Invalid("not_before: out of range")
		}
	}
	texts := []string{b.Issuer, b.Value, b.Reason}
	for _, p := range b.And {
		texts = append(texts, p.Value)
	}
	if slices.ContainsFunc(texts, isCredential) {
		return r, record.Invalid("a credential is where a name should be; send a JWT as token, and name an API key by its id")
	}
	if b.Token == "" {
		return r, r.Check()
	}
	if b.Target != 0 || b.Issuer != "" || b.Value != "" || len(b.And) > 0 || b.NotBefore != nil {
		return r, record.Invalid("give the token, or target and value, not both")
	}
	claims, code := x.Validator.Inspect(b.Token, x.Now())
	if claims == nil || code == validate.Expired {
		return r, httpapi.New(http.StatusUnprocessableEntity, string(code), tokenRefused(code))
	}
	r.Name = record.Name{Target: record.TargetJTI, Issuer: claims.Issuer, Value: claims.JTI}
	if claims.JTI == "" || len(claims.JTI) > record.MaxNameValue {
		r.Name = claims.TokenName()
	}
	r.Expiry = claims.ExpiresAt
	return r, r.Check()
}

// isCredential tells whether the text holds something that has the form of a credential. Names
// and reasons are kept and shown, so none may be among them (L3).
func isCredential(text string) bool { return credentialForm.MatchString(text) }

var credentialForm = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.|` + apikey.Prefix + `(op_)?[0-9A-Za-z]{36}`)

func tokenRefused(code validate.Code) string {
	if code == validate.Expired {
		return "this token has expired: it is denied everywhere without a revocation"
	}
	return "no trusted issuer signed this token (" + string(code) + "), so there is nothing to revoke; to revoke by name, give target and value"
}

// receipt says what is so by the end of the context.
func (x *control) receipt(ctx context.Context, id string, a record.Accepted, all bool) *receiptAnswer {
	on, pending := x.Cluster.EnforcedOn(ctx, a, all)
	out := &receiptAnswer{Status: http.StatusCreated, Revision: headerOf(a.Revision)}
	out.Body = record.Receipt{
		ID: id, Revision: a.Revision, State: record.StateCommitted, EnforcedOn: on, PendingOn: pending,
	}
	if a.Revision == 0 {
		out.Status, out.Body.State, out.Body.DurableOn = http.StatusAccepted, record.StatePending, []string{x.NodeID}
		return out
	}
	if d, err := record.ParseRevocationID(id); err == nil {
		if now, ok, err := x.Records.Revocation(d); err == nil && ok {
			out.Body.KeptUntil = now.Revocation.KeptUntil
		}
	}
	return out
}

func (x *control) show(r record.Revocation) revocation {
	return revocation{ID: x.Records.RevocationID(r.Name), Revocation: r}
}

func (x *control) listRevocations(_ context.Context, in *Page) (*list[revocation], error) {
	items, next, err := x.Records.Revocations(in.Cursor, in.Limit)
	out := &list[revocation]{}
	out.Body.Items, out.Body.NextCursor = []revocation{}, next
	for _, r := range items {
		out.Body.Items = append(out.Body.Items, x.show(r))
	}
	return out, err
}

func (x *control) getRevocation(ctx context.Context, in *RevocationID) (*standingAnswer, error) {
	d, err := record.ParseRevocationID(in.ID)
	if err != nil {
		return nil, err
	}
	now, ok, err := x.Records.Revocation(d)
	if err == nil && !ok {
		err = record.NotFound("there is no revocation %s", in.ID)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, receiptWait)
	defer cancel()
	out := &standingAnswer{Revision: headerOf(now.Revocation.Revision), Body: standing{revocation: x.show(now.Revocation), State: record.StateCommitted}}
	out.Body.EnforcedOn, out.Body.PendingOn = x.Cluster.EnforcedOn(ctx, now.Accepted, true)
	if now.Node != "" {
		out.Body.State, out.Body.DurableOn = record.StatePending, []string{now.Node}
	}
	return out, nil
}

func (x *control) liftRevocation(ctx context.Context, in *struct {
	RevocationID
	Change
	Reason string `query:"reason" minLength:"1" maxLength:"500" required:"true" doc:"Why it is lifted; kept in the audit trail"`
},
) (*changed, error) {
	d, err := record.ParseRevocationID(in.ID)
	if err != nil {
		return nil, err
	}
	if isCredential(in.Reason) {
		return nil, record.Invalid("reason: holds a credential")
	}
	lift := record.Lift{Digest: d, Reason: in.Reason}
	result, err := x.propose(ctx, in.Key, lift, lift)
	if err != nil {
		return nil, x.notYet(d, err)
	}
	return changedAt(result), nil
}

// notYet tells of a revocation that cannot be lifted since the log does not have it yet.
func (x *control) notYet(d record.Digest, err error) error {
	var rejected *record.Rejection
	if !errors.As(err, &rejected) || rejected.Reason != record.ReasonNotFound {
		return err
	}
	now, ok, errNow := x.Records.Revocation(d)
	if errNow != nil || !ok || now.Node == "" {
		return err
	}
	return record.Conflict("this revocation is pending on %s, and can be lifted once it is committed", now.Node)
}
