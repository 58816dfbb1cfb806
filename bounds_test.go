package veto_test

import (
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// row is one of the table of channels in docs/limits.md: the room, and what makes the channel.
var row = regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\| `(make\\(chan [^`]+)` \\|")

// TestQueuesAreInTheTable holds every channel that is made against the table in docs/limits.md: one that is not
// there may have a bound that nobody thought about, and nobody knows what happens when it is full.
func TestQueuesAreInTheTable(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("docs", "limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	type channel struct{ room, made string }
	listed, made := map[channel]bool{}, map[channel]bool{}
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		listed[channel{m[1], m[2]}] = true
	}
	tests := map[string]bool{}
	eachFile(t, func(path string, set *token.FileSet, f *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					tests[fn.Name.Name] = true
				}
			}
			return
		}
		room := filepath.ToSlash(filepath.Dir(path))
		if strings.HasPrefix(room, "test/") || strings.HasPrefix(room, "bench/side") { // no part of the program
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || types.ExprString(call.Fun) != "make" || len(call.Args) == 0 {
				return true
			}
			// A type with a name of its own could be a channel, too: house style has none.
			if _, ok := call.Args[0].(*ast.ChanType); !ok {
				return true
			}
			c := channel{room, types.ExprString(call)}
			made[c] = true
			if !listed[c] {
				t.Errorf("%s: %s has no row in docs/limits.md: say there what bounds it, what happens when it is full, and which test shows that", set.Position(call.Pos()), c.made)
			}
			return true
		})
	})
	for c := range listed {
		if !made[c] {
			t.Errorf("docs/limits.md lists %s in %s, which is not made there", c.made, c.room)
		}
	}
	for _, name := range testName.FindAllString(string(doc), -1) {
		if !tests[name] {
			t.Errorf("docs/limits.md names %s, which is not there", name)
		}
	}
}

// TestChannelsHaveNoNames keeps the table whole: a channel could be made by the name of its type.
func TestChannelsHaveNoNames(t *testing.T) {
	eachFile(t, func(path string, set *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok {
				if _, is := s.Type.(*ast.ChanType); is {
					t.Errorf("%s: %s names a channel type, so that TestQueuesAreInTheTable does not see who makes one", set.Position(s.Pos()), s.Name)
				}
			}
			return true
		})
	})
}
