package control

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

type clusterAnswer struct{ Body record.ClusterStatus }

type readyAnswer struct {
	Status int
	Body   struct {
		Ready  bool            `json:"ready"`
		Checks []httpapi.Check `json:"checks"`
	}
}

type aliveAnswer struct {
	Body struct {
		Alive bool `json:"alive"`
	}
}

func (x *control) cluster() {
	register(x, operation("get-cluster", http.MethodGet, "/v1/cluster", "Show the nodes", anyOperator), x.getCluster)
	register(x, operation("list-audit", http.MethodGet, "/v1/audit", "List the audit trail", record.RoleAuditor), x.listAudit)
	register(x, operation("readyz", http.MethodGet, "/readyz", "Whether the node is ready", anyone), x.ready)
	register(x, operation("livez", http.MethodGet, "/livez", "Whether the node is alive", anyone), x.alive)
}

func (x *control) getCluster(ctx context.Context, _ *struct{}) (*clusterAnswer, error) {
	return &clusterAnswer{Body: x.Cluster.Status(ctx)}, nil
}

func (x *control) listAudit(_ context.Context, in *Page) (*list[record.Audit], error) {
	var above uint64
	if in.Cursor != "" {
		var err error
		if above, err = strconv.ParseUint(in.Cursor, 10, 64); err != nil {
			return nil, record.Invalid("cursor: is not one that this list gave")
		}
	}
	items, err := x.Trail.Audit(record.Revision(above), in.Limit+1)
	return pageOf(items, in.Limit, func(a record.Audit) string { return headerOf(a.Revision) }), err
}

func (x *control) ready(context.Context, *struct{}) (*readyAnswer, error) {
	out := &readyAnswer{Status: http.StatusOK}
	out.Body.Checks, out.Body.Ready = x.Ready(), true
	for _, c := range out.Body.Checks {
		if !c.OK {
			out.Body.Ready, out.Status = false, http.StatusServiceUnavailable
		}
	}
	return out, nil
}

func (x *control) alive(context.Context, *struct{}) (*aliveAnswer, error) {
	out := &aliveAnswer{}
	out.Body.Alive = true
	return out, nil
}

// question is the body of POST /v1/validate, which the data plane answers.
type question struct {
	Credential  string   `json:"credential,omitempty" doc:"A JWT or an API key; or leave the body empty and send Authorization: Bearer, or X-API-Key"`
	Audience    string   `json:"audience,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
	MinRevision uint64   `json:"min_revision,omitempty" doc:"The revision that the answer must at least be based on"`
}

// describeDataPlane adds what the other listener answers to the API's description.
func (x *control) describeDataPlane() {
	api := x.api.OpenAPI()
	ask := api.Components.Schemas.Schema(typeOf[question](), true, "Question")
	answer := api.Components.Schemas.Schema(typeOf[validate.Verdict](), true, "Verdict")
	problem := api.Components.Schemas.Schema(typeOf[httpapi.Problem](), true, "Problem")
	api.AddOperation(&huma.Operation{
		OperationID: "validate", Method: http.MethodPost, Path: "/v1/validate",
		Summary:     "May this credential still be used?",
		Description: "On the data plane (port 7770). A deny is an answer, with status 200.",
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: ask}}},
		Responses: map[string]*huma.Response{
			"200": {Description: "The verdict", Content: map[string]*huma.MediaType{"application/json": {Schema: answer}}},
			"400": {Description: "It could not be asked", Content: map[string]*huma.MediaType{httpapi.ContentType: {Schema: problem}}},
			"413": {Description: "The body is too long", Content: map[string]*huma.MediaType{httpapi.ContentType: {Schema: problem}}},
		},
	})
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
