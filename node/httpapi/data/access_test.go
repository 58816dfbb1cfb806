package data_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"strconv"
	"testing"

	"veto/record"
)

// routes has a method for each path of the data plane; a path that is not here fails the test.
var routes = map[string]string{"/v1/validate": "POST", "/v1/validate/batch": "POST", "/readyz": "GET", "/livez": "GET"}

// Q7: anyone may ask, by these paths and no others, and only operators of the role have it explained.
func TestWhoMayAsk(t *testing.T) {
	for _, path := range served(t) {
		if routes[path] == "" {
			t.Errorf("%s has no row: say who is let in", path)
		}
	}
	p := start(t)
	for path, method := range routes {
		for _, authorization := range []string{"", "Bearer wrong", "Bearer " + p.secret, "Basic eDp5"} {
			if a := p.send(method, path, "", "Authorization", authorization); a.StatusCode == 401 || a.StatusCode == 403 || a.StatusCode == 404 {
				t.Errorf("%s %s with %q: %d %s", method, path, authorization, a.StatusCode, a.body)
			}
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/openapi.json", "/v1/keys", "/v1/me", "/v1/cluster", "/v1/validate/", "/v1/validate/batch/x", "/v1/VALIDATE"} {
		for _, method := range []string{"GET", "POST"} {
			p.problem(p.send(method, path, ""), 404, "not_found")
		}
	}
	const question = `{"credential": "x", "explain": true}`
	for _, authorization := range []string{"", "Bearer wrong", "Bearer " + p.secret, "Basic " + p.secret} {
		p.problem(p.send("POST", "/v1/validate", question, "Authorization", authorization), 401, "unauthorized")
	}
	for _, role := range record.Roles() {
		p.asked.operator = &record.APIKey{Roles: []record.Role{role}}
		want := http.StatusForbidden
		if role == record.RoleAdmin || role == record.RoleValidator {
			want = http.StatusOK
		}
		if a := p.send("POST", "/v1/validate", question, "Authorization", "Bearer op"); a.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", role, a.StatusCode, a.body, want)
		}
	}
}

// served are the paths that the server's own code tells apart.
func served(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "server.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	ast.Inspect(file, func(n ast.Node) bool {
		f, ok := n.(*ast.FuncDecl)
		if !ok || f.Name.Name != "handle" {
			return true
		}
		ast.Inspect(f, func(n ast.Node) bool {
			c, ok := n.(*ast.CaseClause)
			if !ok {
				return true
			}
			for _, e := range c.List {
				if l, ok := e.(*ast.BasicLit); ok {
					path, err := strconv.Unquote(l.Value)
					if err != nil {
						t.Fatal(err)
					}
					paths = append(paths, path)
				} else if id, ok := e.(*ast.Ident); !ok || id.Name != "batchPath" {
					t.Errorf("a path is told apart by what this test cannot read: %T", e)
				}
			}
			return true
		})
		return false
	})
	if len(paths) != len(routes)-1 { // that of batches is a constant
		t.Errorf("the server tells %d paths apart, and %d are here", len(paths)+1, len(routes))
	}
	return paths
}
