package control

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/record"
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

func (x *control) cluster() {
	register(x, operation("get-cluster", http.MethodGet, "/v1/cluster", "Show the nodes", anyOperator), x.getCluster)
	register(x, operation("list-audit", http.MethodGet, "/v1/audit", "List the audit trail", record.RoleAuditor), x.listAudit)
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
	return &clusterAnswer{Body: x.Cluster.Status(ctx)}, nil
}

func (x *control) listAudit(_ context.Context, in *Page) (*list[record.Audit], error) {
	var after record.Audit
	if in.Cursor != "" {
		if n, err := fmt.Sscanf(in.Cursor, "%d.%d", &after.Revision, &after.Number); n != 2 || err != nil {
			return nil, record.Invalid("cursor: is not one that this list gave")
		}
	}
	items, err := x.Records.Audit(after, in.Limit+1)
	return pageOf(items, in.Limit, func(a record.Audit) string { return fmt.Sprintf("%d.%d", a.Revision, a.Number) }), err
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
