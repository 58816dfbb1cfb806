package veto_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rooms says what each room may import of ours. A name with /... stands for what is below it.
// Do not widen a row to make a change fit: see ARCHITECTURE.md for what each room is for.
var rooms = map[string][]string{
	"record":                {"record/limit"},
	"record/limit":          {},
	"record/event":          {"record"},
	"record/trail":          {"record"},
	"validate":              {"record"},
	"validate/limiter":      {"record", "record/limit", "validate"},
	"validate/keyset":       {"record"},
	"validate/remembered":   {"validate", "validate/keyset"},
	"validate/jwt":          {"record", "validate", "validate/keyset", "validate/remembered"},
	"validate/apikey":       {"record", "validate"},
	"replication/machine":   {"record", "record/limit", "record/trail"},
	"replication/lease":     {"record/limit"},
	"replication/bloom":     {},
	"replication/store":     {"record", "replication/bloom"},
	"replication/constant":  {},
	"replication/settled":   {"record"},
	"replication/grants":    {"record"},
	"replication/pepper":    {"record"},
	"replication/keytable":  {"record", "record/limit", "replication/grants", "replication/pepper"},
	"replication/index":     {"record", "replication/bloom", "replication/settled", "replication/keytable", "replication/pepper"},
	"replication/outbox":    {"record"},
	"replication/feed":      {"record", "record/event"},
	"replication/broadcast": {"record", "record/event"},
	"replication/notices":   {"record"},
	"replication/roster":    {},
	"replication/peer":      {},
	"replication/consensus": {"record", "replication/store"},
	"replication/backup":    {"record"},
	"replication":           {"record", "record/event", "record/limit", "record/trail", "replication/..."},
	"node/canary":           {"record"},
	"node/trace":            {},
	"node/certs":            {},
	"node/health":           {"record"},
	"node/discovery":        {"record"},
	"node/demo":             {"validate/keyset"},
	"node/httpapi":          {"record"},
	"node/httpapi/data":     {"record", "record/limit", "validate", "node/httpapi"},
	"node/httpapi/bulk":     {"record", "node/httpapi"},
	"node/limits":           {"record", "record/limit", "validate/limiter"},
	"node/intake":           {"record", "validate", "validate/apikey", "node/httpapi"},
	"node/httpapi/leaks":    {"record"},
	"node/leaked":           {"record", "node/httpapi/leaks", "node/intake"},
	"node/httpapi/gate":     {},
	"node/httpapi/watch":    {"record", "record/event", "node/httpapi"},
	"node/httpapi/control":  {"record", "record/limit", "validate", "record/event", "record/trail", "validate/apikey", "node/httpapi", "node/httpapi/bulk", "node/httpapi/gate", "node/httpapi/leaks", "node/httpapi/watch", "node/intake", "node/leaked"},
	"node":                  {"record", "record/event", "record/limit", "record/trail", "validate", "validate/...", "replication", "replication/...", "node/..."},
	"node/recovery":         {"record", "node", "node/intake", "replication", "replication/..."},
	"node/dev":              {"node", "node/certs", "node/demo"},
	"client":                {"record", "record/event", "record/limit", "record/trail", "validate"},
	"bench":                 {},
	"bench/fill":            {"record", "replication", "replication/consensus", "replication/store"},
	"test/authority":        {},
	"test/natsproc":         {"test/ports"},
	"test/patient":          {},
	"test/ports":            {},
	"test/relay":            {},
	"test/said":             {},
	"test/token":            {},
	"test/smuggled":         {"test/ports"},
	"test/faults":           {},
	"test/history":          {"record", "validate"},
	"test/simulation":       {},
	"test/load":             {},
	"test/upgrade":          {},
	"cmd/veto":              {"record", "record/limit", "record/trail", "validate", "validate/apikey", "client", "bench", "node", "node/...", "replication/backup"},
}

// owners says which rooms alone may import a library.
var owners = map[string][]string{
	"github.com/lestrrat-go/jwx":          {"validate/keyset"},
	"filippo.io/edwards25519":             {"validate/keyset"},
	"github.com/maypok86/otter":           {"validate/remembered"},
	"github.com/hashicorp/raft":           {"replication/consensus"},
	"github.com/hashicorp/raft-wal":       {"replication/consensus"},
	"github.com/hashicorp/raft-autopilot": {"replication/consensus"},
	"github.com/hashicorp/memberlist":     {"replication/roster"},
	"github.com/cockroachdb/pebble":       {"replication/store"},
	"github.com/nats-io":                  {"replication/broadcast"},
	"golang.org/x/net":                    {"replication/peer"},
	"github.com/fxamacker/cbor":           {"record"},
	"github.com/valyala/fasthttp":         {"node/httpapi/data"},
	"github.com/danielgtaylor/huma":       {"node/httpapi/control"},
	"github.com/go-json-experiment/json":  {"node/httpapi", "node/httpapi/leaks", "node/intake"},
	"github.com/prometheus":               {"node"},
	"go.opentelemetry.io":                 {"node/trace"},
	"github.com/spf13":                    {"cmd/veto"},
	"filippo.io/age":                      {"cmd/veto"},
	"github.com/coreos/go-systemd":        {"cmd/veto"},
	"github.com/knadh/koanf":              {"cmd/veto"},
	"github.com/jedib0t/go-pretty":        {"cmd/veto"},
	"github.com/schollz/progressbar":      {"cmd/veto"},
	"github.com/zitadel":                  {},
	"github.com/HdrHistogram":             {"bench"},
	"github.com/anishathalye/porcupine":   {"test/history"},
}

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		room := strings.TrimPrefix(p.ImportPath, "veto/")
		allowed, ok := rooms[room]
		if !ok {
			t.Errorf("%s is a room without a row in the import table", room)
		}
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, "veto/"); ok && !slices.ContainsFunc(allowed, func(a string) bool { return covers(a, ours) }) {
				t.Errorf("%s must not import %s", room, ours)
			}
			for library, may := range owners {
				if (i == library || strings.HasPrefix(i, library+"/")) && !slices.Contains(may, room) {
					t.Errorf("%s must not import %s: only %v may import %s", room, i, may, library)
				}
			}
		}
	}
}

func covers(row, room string) bool {
	above, wild := strings.CutSuffix(row, "/...")
	return row == room || wild && strings.HasPrefix(room, above+"/")
}

const (
	maxFiles    = 12
	maxLines    = 500
	maxTest     = 600
	maxFunction = 70
)

func TestHouseRules(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > maxFiles && !strings.HasSuffix(p.ImportPath, "cmd/veto") {
			t.Errorf("%s has %d files; split it by noun (at most %d)", p.ImportPath, len(p.GoFiles), maxFiles)
		}
		if !slices.Contains(p.GoFiles, "doc.go") && !strings.HasSuffix(p.ImportPath, "cmd/veto") {
			t.Errorf("%s has no doc.go", p.ImportPath)
		}
	}
	eachFile(t, func(path string, set *token.FileSet, f *ast.File) {
		limit := maxLines
		if strings.HasSuffix(path, "_test.go") {
			limit = maxTest
		}
		if n := set.Position(f.End()).Line; n > limit {
			t.Errorf("%s has %d lines; at most %d", path, n, limit)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1; n > maxFunction {
				t.Errorf("%s: %s has %d lines; at most %d", path, fn.Name.Name, n, maxFunction)
			}
			if fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s has an init function", path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				t.Errorf("%s sleeps: wait for the thing itself", set.Position(s.Pos()))
			}
			return true
		})
	})
}

// TestNothingIsLeftRunning wants a TestMain with goleak of every room that has tests: goroutines that are left when these
// are done are owned by nobody.
func TestNothingIsLeftRunning(t *testing.T) {
	abandon := map[string]string{
		"replication/store": "a crash is tried by leaving the database as it is",
		"cmd/veto":          "programs are run, each a process",
		"test/faults":       "the same",
		"test/upgrade":      "the same",
		"bench/side":        "a module of its own, of programs",
		"bench/side/report": "the same; it draws",
		"deploy/test":       "a module of its own, that reads files",
		".":                 "files are read",
	}
	looks := map[string]bool{}
	eachFile(t, func(path string, _ *token.FileSet, f *ast.File) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		room := filepath.Dir(path)
		looks[room] = looks[room] || slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"go.uber.org/goleak"` })
	})
	for room, looks := range looks {
		if why, ok := abandon[room]; ok == looks {
			t.Errorf("%s: looks for goroutines that are left: %v; may leave some: %v %s", room, looks, ok, why)
		}
	}
	if len(looks) < 40 {
		t.Errorf("%d rooms have tests; there were more", len(looks))
	}
}

var testName = regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`)

// TestPromisesNameTheirTests keeps doc.go honest: a test that it names must be there.
func TestPromisesNameTheirTests(t *testing.T) {
	there := map[string]bool{}
	eachFile(t, func(_ string, _ *token.FileSet, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				there[fn.Name.Name] = true
			}
		}
	})
	for _, p := range packages(t) {
		f, err := os.Open(filepath.Join(p.Dir, "doc.go"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			for _, name := range testName.FindAllString(s.Text(), -1) {
				if !there[name] {
					t.Errorf("%s: doc.go names %s, which is not there", p.ImportPath, name)
				}
			}
		}
		_ = f.Close()
	}
}

func eachFile(t *testing.T, look func(path string, set *token.FileSet, f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, 0)
		if err == nil {
			look(path, set, f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
