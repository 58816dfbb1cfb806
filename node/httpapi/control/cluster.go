package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/node/httpapi/gate"
	"veto/record"
	"veto/record/trail"
)

type clusterAnswer struct{ Body record.ClusterStatus }

type readyAnswer struct {
	Status int
	Body   httpapi.Readiness
}

type aliveAnswer struct {
	Body struct {
		Alive bool `json:"alive"`
	}
}

type headAnswer struct {
	Body struct {
		trail.Head
		Text  string `json:"head" doc:"HASH@REVISION: write it down outside, and veto audit verify tells later whether anything up to it was changed"`
		After string `json:"after,omitempty" doc:"The last entry that was removed, as it was older than entries are kept; the chain is followed from there on"`
	}
}

func (x *control) cluster() {
	register(x, operation("get-cluster", http.MethodGet, "/v1/cluster", "Show the nodes", boundOperator), x.getCluster)
	register(x, operation("leave-node", http.MethodPost, "/v1/cluster/nodes/{id}/leave", "Have a node leave in order, and stop", record.RoleAdmin), x.changeMember(record.MemberLeave))
	register(x, operation("promote-node", http.MethodPost, "/v1/cluster/nodes/{id}/promote", "Make a node a voter", record.RoleAdmin), x.changeMember(record.MemberPromote))
	register(x, operation("demote-node", http.MethodPost, "/v1/cluster/nodes/{id}/demote", "Make a node a replica", record.RoleAdmin), x.changeMember(record.MemberDemote))
	register(x, operation("remove-node", http.MethodPost, "/v1/cluster/nodes/{id}/remove", "Remove a node that is gone for good", record.RoleAdmin), x.removeMember)
	register(x, operation("get-pepper", http.MethodGet, "/v1/pepper", "Show the peppers that API keys are stored by", anyOperator), x.getPepper)
	register(x, operation("rotate-pepper", http.MethodPost, "/v1/pepper/rotate", "Store all API keys by a new pepper", record.RoleAdmin), x.rotatePepper)
	register(x, operation("list-audit", http.MethodGet, "/v1/audit", "List the audit trail", record.RoleAuditor), x.listAudit)
	head := operation("audit-head", http.MethodGet, "/v1/audit/head", "Show the head of the audit trail's chain", record.RoleAuditor)
	head.Errors = append(head.Errors, http.StatusConflict)
	register(x, head, x.auditHead)
	ready := operation("readyz", http.MethodGet, "/readyz", "Whether the node is ready", anyone)
	ready.Responses = map[string]*huma.Response{"503": {
		Description: "The node is not ready",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: x.api.OpenAPI().Components.Schemas.Schema(typeOf[httpapi.Readiness](), true, "Readiness"),
		}},
	}}
	register(x, ready, x.ready)
	register(x, operation("livez", http.MethodGet, "/livez", "Whether the node is alive", anyone), x.alive)
}

func (x *control) getCluster(ctx context.Context, _ *struct{}) (*clusterAnswer, error) {
	gate.TurnOf(ctx).Leave()
	return &clusterAnswer{Body: x.Cluster.Status(ctx)}, nil
}

type memberAnswer struct{ Body record.MemberChanged }

type ofNode struct {
	ID string `path:"id" maxLength:"63" doc:"The node's id"`
}

func (x *control) changeMember(a record.MemberAction) func(context.Context, *ofNode) (*memberAnswer, error) {
	return func(ctx context.Context, in *ofNode) (*memberAnswer, error) {
		return x.change(ctx, record.MemberChange{Action: a, Node: in.ID})
	}
}

func (x *control) removeMember(ctx context.Context, in *struct {
	ID    string `path:"id" maxLength:"63" doc:"The node's id"`
	Force bool   `query:"force" doc:"Remove it though it answers"`
},
) (*memberAnswer, error) {
	return x.change(ctx, record.MemberChange{Action: record.MemberRemove, Node: in.ID, Force: in.Force})
}

// change is in the audit trail by what it does to the nodes; who wanted it is in the log of this node.
func (x *control) change(ctx context.Context, c record.MemberChange) (*memberAnswer, error) {
	if err := unconditional(ctx); err != nil {
		return nil, err
	}
	x.Log.Info("an operator changes the members", "action", c.Action, "node", c.Node, "by", operatorID(ctx))
	gate.TurnOf(ctx).Leave()
	got, err := x.Cluster.ChangeMember(ctx, c)
	return &memberAnswer{Body: got}, err
}

type pepperAnswer struct{ Body record.PepperStatus }

func (x *control) getPepper(context.Context, *struct{}) (*pepperAnswer, error) {
	return &pepperAnswer{Body: x.Peppers.Status()}, nil
}

func (x *control) rotatePepper(ctx context.Context, in *Change) (*changed, error) {
	c, err := commandOf(ctx, in.Key, nil, record.KindPutPepper)
	if err != nil {
		return nil, err
	}
	gate.TurnOf(ctx).Leave()
	result, err := x.Peppers.Rotate(ctx, c)
	if err != nil {
		return nil, x.inUse(err)
	}
	return changedAt(result), nil
}

// inUse names some of the keys that need a pepper which cannot be dropped.
func (x *control) inUse(err error) error {
	const some = 3
	var r *record.Rejection
	peppers := x.Peppers.Status().Peppers
	if !errors.As(err, &r) || r.Reason != record.ReasonPeppersInUse || len(peppers) == 0 {
		return err
	}
	keys, _, errKeys := x.Records.Keys(record.KeyQuery{Pepper: peppers[0].ID}, x.Now(), "", some)
	if errKeys != nil || len(keys) == 0 {
		return err
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	return &record.Rejection{Reason: r.Reason, Detail: r.Detail + ", among them " + strings.Join(ids, ", ")}
}

func (x *control) listAudit(_ context.Context, in *Page) (*list[trail.Entry], error) {
	const name = "audit"
	place, err := x.place(name, *in)
	if err != nil {
		return nil, err
	}
	var after trail.Entry
	if place != "" {
		if _, err := fmt.Sscanf(place, "%d.%d", &after.Revision, &after.Number); err != nil {
			return nil, err
		}
	}
	next := ""
	items, err := x.Records.Audit(after, in.Limit+1)
	if len(items) > in.Limit {
		items = items[:in.Limit]
		last := items[in.Limit-1]
		next = fmt.Sprintf("%d.%d", last.Revision, last.Number)
	}
	return pageOf(x, name, items, next), err
}

func (x *control) auditHead(context.Context, *struct{}) (*headAnswer, error) {
	h, err := x.Records.AuditHead()
	if err == nil && h.Sequence == 0 {
		err = record.Conflict("the audit trail is not chained yet: that begins once every node runs a version of veto that knows how; `veto cluster` shows their versions")
	}
	if err != nil {
		return nil, err
	}
	out := &headAnswer{}
	out.Body.Head, out.Body.Text = h, h.String()
	anchor, err := x.Records.AuditAnchor()
	if anchor.Sequence > 0 {
		out.Body.After = anchor.String()
	}
	return out, err
}

func (x *control) ready(_ context.Context, in *struct {
	Verbose string `query:"verbose" maxLength:"8" doc:"If it is there, each check is listed"`
	asked
},
) (*readyAnswer, error) {
	out := &readyAnswer{}
	out.Body, out.Status = httpapi.ReadinessOf(x.Ready(), in.has("verbose"))
	return out, nil
}

// asked knows which query parameters are there, also those without a value.
type asked struct{ query url.Values }

// Resolve is called by huma.
func (a *asked) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	a.query = u.Query()
	return nil
}

func (a *asked) has(name string) bool { return a.query.Has(name) }

func (x *control) alive(context.Context, *struct{}) (*aliveAnswer, error) {
	out := &aliveAnswer{}
	out.Body.Alive = true
	return out, nil
}
