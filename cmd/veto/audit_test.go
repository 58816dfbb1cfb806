package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// T1, T2, K4: from the outside, on the built program.
func TestCommands(t *testing.T) {
	c := startCluster(t, "--key-prefix", "acme")
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(program(t))+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("VETO_DATA_ADDRESS", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[0].port))
			e.Setenv("VETO_ADDRESS", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[0].port+1))
			e.Setenv("CERTS", filepath.Join(c.dir, "certs"))
			e.Setenv("N1", filepath.Join(c.dir, "n1"))
			for _, v := range c.env {
				name, value, _ := strings.Cut(v, "=")
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "head": head, "alter": alter, "secret": secret, "says": says(c), "serves": serves, "identity": identity, "damage": damage,
		},
	})
}

// exits runs a program, which must end with the code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var failed *exec.ExitError
	code := 0
	if errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("it ended with %d, not with %s", code, args[0])
	}
}

// head writes the head of the trail down, in a variable.
func head(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("veto", "audit", "head"))
	ts.Setenv(args[0], regexp.MustCompile(`[0-9a-f]{64}@\d+`).FindString(ts.ReadFile("stdout")))
}

// secret keeps the secret of the key that was just shown in a file.
func secret(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile(`(?m)^secret +(\w+)$`).FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("no secret was shown")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(found[1]+"\n"), 0o600))
}

// says waits until the node that is asked gives the code for the credential in a file, and the program
// ends with the number: it may not have heard yet what another has done.
func says(c *cluster) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		exits, err := strconv.Atoi(args[2])
		ts.Check(err)
		c.says(0, strings.TrimSpace(ts.ReadFile(args[0])), args[1], exits)
	}
}

// alter makes another export of one.
func alter(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.SplitAfter(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	n, _ := strconv.Atoi(args[3])
	switch args[2] {
	case "s":
		for i, l := range lines {
			lines[i] = strings.ReplaceAll(l, args[3], args[4])
		}
	case "drop": // line n
		lines = slices.Delete(lines, n-1, n)
	case "swap": // lines n and n+1
		lines[n-1], lines[n] = lines[n], lines[n-1]
	case "twice":
		lines = slices.Insert(lines, n, lines[n-1])
	case "cut": // to n lines
		lines = lines[:n]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(lines, "")), 0o600))
}
