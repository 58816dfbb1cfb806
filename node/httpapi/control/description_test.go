package control_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"veto/record"
)

type described struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string              `json:"operationId"`
		Role        string              `json:"x-veto-role"`
		Plane       string              `json:"x-veto-plane"`
		Security    []map[string][]any  `json:"security"`
		Responses   map[string]response `json:"responses"`
		Parameters  []struct {
			Name string `json:"name"`
		} `json:"parameters"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]json.RawMessage `json:"schemas"`
	} `json:"components"`
}

type response struct {
	Headers map[string]any `json:"headers"`
	Content map[string]struct {
		Schema struct {
			Ref string `json:"$ref"`
		} `json:"schema"`
	} `json:"content"`
}

func describedBy(p *plane) described {
	p.Helper()
	return ok[described](p, p.as("", "GET", "/openapi.json", ""), http.StatusOK)
}

// isDescribed holds what was answered, in whatever test, against what the description says: the status, the form,
// and the headers that clients go by (L7).
func (p *plane) isDescribed(method, path string, w *httptest.ResponseRecorder) {
	p.Helper()
	if p.api == nil {
		p.api = new(described)
		all := httptest.NewRecorder()
		p.handler.ServeHTTP(all, httptest.NewRequestWithContext(p.Context(), "GET", "/openapi.json", nil))
		if err := json.Unmarshal(all.Body.Bytes(), p.api); err != nil {
			p.Fatal(err)
		}
	}
	for template, methods := range p.api.Paths {
		o, ok := methods[strings.ToLower(method)]
		form := regexp.MustCompile("^" + regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), "[^/]+") + "$")
		if !ok || o.Plane != "" || !form.MatchString(path) || strings.Contains(template, "{id}") && p.api.Paths[path] != nil {
			continue
		}
		r, ok := o.Responses[strconv.Itoa(w.Code)]
		if !ok {
			p.Errorf("%s %s answers %d, which is not described: %s", method, template, w.Code, w.Body)
			return
		}
		kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		if _, ok := r.Content[kind]; !ok && w.Body.Len() > 0 {
			p.Errorf("%s %s answers %d as %q, which is not described", method, template, w.Code, kind)
		}
		for _, h := range []string{"ETag", "Idempotency-Replayed", "Retry-After", "Veto-Revision"} {
			if _, ok := r.Headers[h]; !ok && w.Header().Get(h) != "" {
				p.Errorf("%s %s answers %d with %s, which is not described", method, template, w.Code, h)
			}
		}
	}
}

var forAnyone = []string{"validate", "validate-batch", "readyz", "livez"}

func TestEveryOperationHasARole(t *testing.T) {
	p := open(t)
	count := 0
	for path, methods := range describedBy(p).Paths {
		for method, o := range methods {
			count++
			if slices.Contains(forAnyone, o.OperationID) {
				if o.Role != "" || len(o.Security) != 0 {
					t.Errorf("%s has a role", o.OperationID)
				}
				continue
			}
			if o.Role == "" || len(o.Security) != 1 {
				t.Errorf("%s %s names no role", method, path)
			}
			if o.Role != "any" && o.Role != "manager" && !slices.Contains(record.Roles(), record.Role(o.Role)) {
				t.Errorf("%s %s: %s is no role", method, path, o.Role)
			}
			target := strings.NewReplacer("{id}", "x", "{session}", "x").Replace(path)
			p.problem(p.as("", strings.ToUpper(method), target, "{}"), 401, "unauthorized")
			for _, role := range record.Roles() {
				w := p.as(role, strings.ToUpper(method), target, "{}")
				may := o.Role != "manager" && (o.Role == "any" || role == record.RoleAdmin || o.Role == string(role))
				if (w.Code != 403 && w.Code != 401) != may {
					t.Errorf("%s %s for %s, as %s: %d", method, path, o.Role, role, w.Code)
				}
			}
		}
	}
	if count != 52 {
		t.Errorf("%d operations are described; 52 are here to be checked", count)
	}
}

func TestDescription(t *testing.T) {
	p := open(t)
	d := describedBy(p)
	if !strings.HasPrefix(d.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", d.OpenAPI)
	}
	for path, methods := range d.Paths {
		for method, o := range methods {
			for status, r := range o.Responses {
				if status == "503" && o.OperationID == "readyz" {
					continue // that is an answer
				}
				if got := r.Content["application/problem+json"].Schema.Ref; (status >= "400") != strings.HasSuffix(got, "/Problem") || status >= "400" && len(r.Content) != 1 {
					t.Errorf("%s %s, %s: %v", method, path, status, r.Content)
				}
			}
			if writes := method != "get" && o.Plane == "" && o.OperationID != "refresh-issuer" && o.OperationID != "report-leaked-keys" && !strings.HasSuffix(o.OperationID, "-node"); writes {
				if !slices.ContainsFunc(o.Parameters, func(x struct {
					Name string `json:"name"`
				},
				) bool {
					return x.Name == "Idempotency-Key"
				}) {
					t.Errorf("%s %s takes no Idempotency-Key", method, path)
				}
			}
		}
	}
	if o := d.Paths["/v1/validate"]["post"]; o.Plane != "data" || o.Responses["200"].Content["application/json"].Schema.Ref == "" {
		t.Errorf("the data plane is not described: %+v", o)
	}
	for _, name := range []string{"ErrorModel", "ErrorDetail"} {
		if _, there := d.Components.Schemas[name]; there {
			t.Errorf("%s is described, and never sent", name)
		}
	}
	if w := p.as("", "GET", "/openapi.yaml", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "openapi: 3.1") {
		t.Errorf("yaml: %d", w.Code)
	}
	p.problem(p.as("", "GET", "/docs", ""), 404, "not_found")
	// Every name that is referred to is there.
	raw := p.as("", "GET", "/openapi.json", "").Body.String()
	for _, part := range strings.Split(raw, `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if _, there := d.Components.Schemas[name]; !there {
			t.Errorf("%s is referred to and not there", name)
		}
	}
}
