package test

import (
	"os"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func TestDockerfile(t *testing.T) {
	f, err := os.Open("../docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(tree.AST, &linter.Linter{})
	if err != nil {
		t.Fatal(err)
	}
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" {
		t.Errorf("the image is made on %s", last.BaseName)
	}
	user := ""
	for _, c := range last.Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.RunCommand:
			t.Error("there is nothing to run in an empty image")
		}
	}
	if user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
	for _, c := range stages[0].Commands {
		if r, ok := c.(*instructions.RunCommand); ok && strings.Contains(strings.Join(r.CmdLine, " "), "go build") {
			for _, flag := range []string{"CGO_ENABLED=0", "-trimpath", "-buildid="} {
				if !strings.Contains(strings.Join(r.CmdLine, " "), flag) {
					t.Errorf("the build lacks %s", flag)
				}
			}
		}
	}
}

func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../docker/compose.yaml"}, cli.WithProfiles([]string{"tools"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		s, err := project.GetService(id)
		if err != nil {
			t.Fatal(err)
		}
		get := func(name string) string {
			if v := s.Environment[name]; v != nil {
				return *v
			}
			return ""
		}
		address := s.Networks["veto"].Ipv4Address
		if get("VETO_NODE_ID") != id || get("VETO_BIND") != address || !strings.Contains(get("VETO_JOIN"), address) {
			t.Errorf("%s: %v at %s", id, s.Environment, address)
		}
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.Privileged {
			t.Errorf("%s may do too much", id)
		}
	}
	if _, err := project.GetService("prometheus"); err != nil {
		t.Error(err)
	}
}
