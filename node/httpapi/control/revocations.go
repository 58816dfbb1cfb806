package control

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/node/httpapi/gate"
	"veto/node/intake"
	"veto/record"
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

type receiptAnswer struct {
	Status   int
	Revision string `header:"Veto-Revision"`
	ETag     string `header:"ETag" doc:"Of the record, for If-Match"`
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
	ETag     string `header:"ETag" doc:"Of the record, for If-Match"`
	Body     standing
}

func (x *control) revocations() {
	create := operation("revoke", http.MethodPost, "/v1/revocations", "Revoke", record.RoleRevoker)
	create.DefaultStatus = http.StatusCreated
	create.Responses = x.pendingReceipt()
	create.MaxBodyBytes = record.MaxRevocationText + 1 // which is the first that is too much
	register(x, create, x.revoke)
	register(x, operation("list-revocations", http.MethodGet, "/v1/revocations", "List revocations", anyOperator), x.listRevocations)
	register(x, operation("get-revocation", http.MethodGet, "/v1/revocations/{id}", "Show a revocation", boundOperator), x.getRevocation)
	register(x, operation("lift-revocation", http.MethodDelete, "/v1/revocations/{id}", "Lift a revocation", record.RoleAdmin), x.liftRevocation)
}

// pendingReceipt describes what is answered of what the log does not have yet.
func (x *control) pendingReceipt() map[string]*huma.Response {
	return map[string]*huma.Response{strconv.Itoa(http.StatusAccepted): {
		Description: "Taken: durable and enforced on this node, told to the others, and on its way into the log",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: x.api.OpenAPI().Components.Schemas.Schema(typeOf[record.Receipt](), true, "Receipt"),
		}},
		Headers: map[string]*huma.Param{"Veto-Revision": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

func (x *control) revoke(ctx context.Context, in *struct {
	Change
	Wait    string `query:"wait" enum:"committed,enforced" default:"committed" doc:"Answer when it is committed, or when every node enforces it"`
	Timeout string `query:"timeout" default:"2s" doc:"How long to wait for that; at most 30s. What is not committed by then is answered as pending, and will be"`
	Body    intake.RevokeRequest
},
) (*receiptAnswer, error) {
	return x.take(ctx, in.Body, in.Key, in.Wait, in.Timeout)
}

// take revokes in the name of who asks, and gives the receipt.
func (x *control) take(ctx context.Context, b intake.RevokeRequest, key, what, timeout string) (*receiptAnswer, error) {
	wait, err := time.ParseDuration(timeout)
	if err != nil || wait < time.Millisecond || wait > longestWait {
		return nil, record.Invalid("timeout: give a duration between 1ms and %s", longestWait)
	}
	until := x.Now().Add(wait)
	r, accepted, err := x.intake.Take(ctx, operatorOf(ctx), b, key, originOf(ctx), wait)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, until.Sub(x.Now()))
	defer cancel()
	receipt, err := x.intake.Receipt(ctx, r, accepted, what == "enforced")
	if err != nil {
		return nil, err
	}
	out := &receiptAnswer{Status: http.StatusCreated, Revision: headerOf(receipt.Revision), ETag: httpapi.ETag(receipt.Revision), Body: receipt}
	if receipt.State == record.StatePending {
		out.Status = http.StatusAccepted
	}
	return out, nil
}

func (x *control) show(r record.Revocation) revocation {
	return revocation{ID: x.Records.RevocationID(r.Name), Revocation: r}
}

func (x *control) listRevocations(_ context.Context, in *Page) (*list[revocation], error) {
	const name = "revocations"
	place, err := x.place(name, *in)
	if err != nil {
		return nil, err
	}
	items, next, err := x.Records.Revocations(place, in.Limit)
	var shown []revocation
	for _, r := range items {
		shown = append(shown, x.show(r))
	}
	return pageOf(x, name, shown, next), err
}

func (x *control) getRevocation(ctx context.Context, in *RevocationID) (*standingAnswer, error) {
	d, err := record.ParseRevocationID(in.ID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, receiptWait)
	defer cancel()
	gate.TurnOf(ctx).Leave()
	now, ok, err := x.settled(ctx, d)
	if by := operatorOf(ctx); err == nil && ok && !by.ReadsAll() {
		ok, err = x.intake.May(by, now.Revocation.Name)
	}
	if err == nil && !ok {
		err = record.NotFound("there is no revocation %s", in.ID)
	}
	if err != nil {
		return nil, err
	}
	out := &standingAnswer{Revision: headerOf(now.Revocation.Revision), ETag: httpapi.ETag(now.Revocation.Revision), Body: standing{revocation: x.show(now.Revocation), State: record.StateCommitted}}
	out.Body.EnforcedOn, out.Body.PendingOn = x.Cluster.EnforcedOn(ctx, now.Accepted, true)
	if now.Node != "" {
		out.Body.State, out.Body.DurableOn = record.StatePending, []string{now.Node}
	}
	return out, nil
}

// applyWait is how long a node that follows may take to hear that something was committed.
const applyWait = 300 * time.Millisecond

// settled is the revocation, once this node has what the log has of it: whoever was told that it is
// committed is not told then that it is pending.
func (x *control) settled(ctx context.Context, d record.Digest) (record.Standing, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, applyWait)
	defer cancel()
	for {
		reached := x.Records.Freshness().Revision
		now, ok, err := x.Records.Revocation(d)
		if err != nil || !ok || now.Node == "" || x.Records.AwaitRevision(ctx, reached+1) != nil {
			return now, ok, err
		}
	}
}

func (x *control) liftRevocation(ctx context.Context, in *struct {
	RevocationID
	Change
	Match
	Reason string `query:"reason" minLength:"1" maxLength:"500" pattern:"[^ ]" patternDescription:"some words" required:"true" doc:"Why it is lifted; kept in the audit trail"`
},
) (*changed, error) {
	d, err := record.ParseRevocationID(in.ID)
	if err != nil {
		return nil, err
	}
	if intake.IsCredential(in.Reason) {
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
