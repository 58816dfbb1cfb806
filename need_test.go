package veto_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// aptIs has an apt-get of its own for tools/need, which notes what it is asked for, and gives what that installs and says.
func aptIs(t *testing.T, does string, programs ...string) (asked []string, out string, err error) {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$@\" >>" + dir + "/asked\n" + does + "\n"
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o700); err != nil { //nolint:gosec // it is to run
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "tools/need", programs...)
	c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "NEED_PAUSE=0", "AT="+dir)
	b, err := c.CombinedOutput()
	text, _ := os.ReadFile(filepath.Join(dir, "asked")) // none if it was not asked
	return strings.Split(strings.TrimSpace(string(text)), "\n"), string(b), err
}

// What the checks need is installed though another apt holds its locks for a while, after the lists are fetched, and what is
// there is not asked for.
func TestWhatIsNeededIsInstalled(t *testing.T) {
	const locked = `case "$*" in *update*) [ -e "$AT/twice" ] || { [ -e "$AT/once" ] && touch "$AT/twice"; touch "$AT/once"; echo "E: Could not get lock /var/lib/apt/lists/lock." >&2; exit 100; };; esac`
	asked, out, err := aptIs(t, locked, "sh:shell", "no-such-program:package-one", "nor-this:package-two")
	if err != nil || len(asked) != 4 {
		t.Fatalf("%v %s %q", err, out, asked)
	}
	for i, line := range asked {
		if strings.Contains(line, "update") != (i < 3) || !strings.Contains(line, "DPkg::Lock::Timeout=120") {
			t.Errorf("%d. it was asked %q", i+1, line)
		}
	}
	if last := asked[3]; !strings.HasSuffix(last, "package-one package-two") || strings.Contains(last, "shell") {
		t.Errorf("%q is installed", last)
	}
	if asked, out, err := aptIs(t, "exit 1", "sh:shell"); err != nil || asked[0] != "" {
		t.Errorf("%v %s %q, and nothing is needed", err, out, asked)
	}
	if asked, out, err := aptIs(t, `echo "E: no network" >&2; exit 100`, "no-such-program:p"); err == nil || len(asked) != 2 || !strings.Contains(out, "no network") {
		t.Errorf("%v %s %q, and nothing can be had", err, out, asked)
	}
}

// Nothing but tools/need asks apt, as each forgot something of it.
func TestOnlyOneAsksApt(t *testing.T) {
	for _, path := range []string{"Makefile", ".ci/run", "deploy/check", "deploy/boot", "bench/compare"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "apt-get") {
			t.Errorf("%s asks apt: have tools/need do it", path)
		}
	}
}
