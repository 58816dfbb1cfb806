package control

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"veto/node/httpapi"
	"veto/record"
	"veto/validate"
)

// question is the body of POST /v1/validate, which the data plane answers.
type question struct {
	Credential   string          `json:"credential,omitempty" doc:"A JWT or an API key; or leave the body empty and send Authorization: Bearer, or X-API-Key"`
	Audience     string          `json:"audience,omitempty"`
	Scopes       []string        `json:"scopes,omitempty" maxItems:"100"`
	MinRevision  uint64          `json:"min_revision,omitempty" doc:"The revision that the answer must at least be based on; also as the header Veto-Min-Revision. The node waits for it a moment (its min_revision_wait), and is then behind_min_revision"`
	MaxStaleness record.Duration `json:"max_staleness,omitempty" pattern:"^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$" patternDescription:"a duration such as 5s" doc:"How old the state may be that the answer is based on; of this bound, the issuer's and the node's the strictest holds, also on a node that serves stale"`
	Cost         uint32          `json:"cost,omitempty" minimum:"1" maximum:"10000" default:"1" doc:"What the request counts for where an API key has limits. Only what is allowed is counted, and nothing with explain"`
	Explain      bool            `json:"explain,omitempty" doc:"Tell of every check; the credential is then in the body, and Authorization has an operator's key with the role validator"`
}

// batch is the body of POST /v1/validate/batch, and batchVerdicts its answer.
type batch struct {
	Requests []question `json:"requests" minItems:"1" maxItems:"1000"`
}

type batchVerdicts struct {
	Verdicts []validate.Verdict `json:"verdicts"`
}

// describe completes the API's description with what is not made by huma: the data plane,
// the metrics, and the problems.
func (x *control) describe() {
	api := x.api.OpenAPI()
	schemas := api.Components.Schemas
	answer := schemas.Schema(typeOf[validate.Verdict](), true, "Verdict")
	ask := schemas.Schema(typeOf[question](), true, "Question")
	api.AddOperation(&huma.Operation{
		OperationID: "validate", Method: http.MethodPost, Path: "/v1/validate",
		Summary:     "May this credential still be used?",
		Description: "On the data plane (port 7770), without an operator's key. A deny is an answer, with status 200.",
		Metadata:    map[string]any{roleKey: anyone},
		Extensions:  map[string]any{"x-veto-plane": "data"},
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: ask}}},
		Responses: map[string]*huma.Response{
			"200": {Description: "The verdict", Content: map[string]*huma.MediaType{"application/json": {Schema: answer}}},
			"400": {Description: "It could not be asked"},
			"413": {Description: "The body is too long"},
			"415": {Description: "The body is not JSON"},
			"431": {Description: "The headers are too long"},
		},
	})
	many := *api.Paths["/v1/validate"].Post
	many.OperationID, many.Path, many.Summary = "validate-batch", "/v1/validate/batch", "May these credentials still be used?"
	many.Description = "On the data plane. Up to 1,000 questions and 4 MiB; the verdicts are in the order of the questions."
	many.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(typeOf[batch](), true, "Batch")}}}
	many.Responses = map[string]*huma.Response{"200": {
		Description: "The verdicts",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(typeOf[batchVerdicts](), true, "BatchVerdicts")}},
	}, "400": {Description: "It could not be asked"}, "413": {Description: "The body is too long"}, "415": {Description: "The body is not JSON"}}
	api.AddOperation(&many)
	metrics := operation("metrics", http.MethodGet, metricsPath, "Numbers for Prometheus", record.RoleAuditor)
	metrics.Responses = map[string]*huma.Response{
		"200": {Description: "Prometheus text format", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}},
		"401": {Description: "No operator's key"}, "403": {Description: "Not the role"}, "503": {Description: "The node is not ready"},
	}
	api.AddOperation(&metrics)
	x.describeStreams(api)
	x.describeEvents(api)
	x.describeLeaks(api)
	x.describeProblems(api)
}

// describeProblems puts the problem that is sent in the place of the one that huma would send.
func (x *control) describeProblems(api *huma.OpenAPI) {
	schemas := api.Components.Schemas
	problem := schemas.Schema(typeOf[httpapi.Problem](), true, "Problem")
	for _, path := range api.Paths {
		for _, o := range operationsOf(path) {
			if len(o.Security) > 0 {
				answersOfAll(o)
			}
			for status, response := range o.Responses {
				if status >= "400" && (status != "503" || o.OperationID != "readyz") {
					response.Content = map[string]*huma.MediaType{httpapi.ContentType: {Schema: problem}}
				}
				describeHeaders(status, response)
			}
		}
	}
	delete(schemas.Map(), "ErrorModel")
	delete(schemas.Map(), "ErrorDetail")
}

// answersOfAll are those that every operation may give which somebody must be let in to.
func answersOfAll(o *huma.Operation) {
	for status, means := range map[string]string{
		"400": "A header or a cursor is malformed, or the body breaks off", "401": "Nobody who may come in", "403": "Not the role", "422": "Not a request that is understood",
		"429": "You come too often", "500": "It failed inside", "503": "The node is not ready, is behind, has too much to do, or has no leader",
	} {
		if o.Responses[status] == nil {
			o.Responses[status] = &huma.Response{Description: means}
		}
	}
	if o.OperationID != "create-key" && o.OperationID != "create-my-key" && o.OperationID != "open-portal-session" {
		return
	}
	again := *o.Responses["201"]
	again.Description = "The request was done before: what there is of it now, without the secret"
	o.Responses["200"] = &again
}

// describeHeaders adds what clients go by.
func describeHeaders(status string, r *huma.Response) {
	header, means := "Retry-After", "Seconds after which to come again; it may be missing"
	switch status {
	case "412":
		header, means = "ETag", "Of the record as it is now; it is missing if there is none"
	case "429", "503":
	default:
		return
	}
	if r.Headers == nil {
		r.Headers = map[string]*huma.Param{}
	}
	r.Headers[header] = &huma.Param{Description: means, Schema: &huma.Schema{Type: huma.TypeString}}
}

func operationsOf(p *huma.PathItem) []*huma.Operation {
	var out []*huma.Operation
	for _, o := range []*huma.Operation{p.Get, p.Put, p.Post, p.Patch, p.Delete} {
		if o != nil {
			out = append(out, o)
		}
	}
	return out
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
