package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"veto/test/ports"
	"veto/test/said"
)

// buildOnce builds the program that the tests run, once.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "veto-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "veto")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := buildOnce(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// execute runs the program to its end and gives its output and exit code.
func execute(t *testing.T, env []string, stdin string, args ...string) (string, int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), program(t), args...)
	c.Env, c.Stdin = append(os.Environ(), env...), strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

// process is one `veto serve`.
type process struct {
	cmd  *exec.Cmd
	out  *said.Output
	port int
	args []string // besides those that all have
}

// cluster is three processes that vote, and those that are added.
type cluster struct {
	t     *testing.T
	dir   string
	nodes []*process
	env   []string
}

// startCluster starts three voters with the arguments.
func startCluster(t *testing.T, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	if out, code := execute(t, nil, "", "certs", "authority", "--dir", filepath.Join(c.dir, "certs")); code != exitOK {
		t.Fatal(out)
	}
	first := ports.Take(t)
	for i := range 3 {
		c.add(first+10*i, append([]string{"--bootstrap-expect", "3"}, args...)...)
	}
	for i := range c.nodes {
		c.start(i)
	}
	token := c.await(regexp.MustCompile(`[a-z]+_op_\w+`))
	c.env = []string{"VETO_TOKEN=" + token}
	for i := range c.nodes {
		c.ready(i)
	}
	return c
}

// add makes a node that does not run yet, and gives its number.
func (c *cluster) add(port int, args ...string) int {
	c.t.Helper()
	c.nodes = append(c.nodes, &process{port: port, out: &said.Output{}, args: args})
	id := fmt.Sprintf("n%d", len(c.nodes))
	if out, code := execute(c.t, nil, "", "certs", "node", id, "--host", "127.0.0.1", "--dir", filepath.Join(c.dir, "certs")); code != exitOK {
		c.t.Fatal(out)
	}
	return len(c.nodes) - 1
}

// start starts a node with the line of its first start.
func (c *cluster) start(i int) {
	c.t.Helper()
	p := c.nodes[i]
	var join []string
	for _, n := range c.nodes {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", n.port+3))
	}
	p.cmd = exec.Command(program(c.t), append([]string{
		"serve", "--node-id", fmt.Sprintf("n%d", i+1), "--data-dir", filepath.Join(c.dir, fmt.Sprintf("n%d", i+1)),
		"--certs-dir", filepath.Join(c.dir, "certs"), "--port", fmt.Sprint(p.port), "--join", strings.Join(join, ","), "--fetch-private",
	}, p.args...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { c.kill(i, syscall.SIGKILL) })
}

// kill ends a node and waits until it has.
func (c *cluster) kill(i int, s os.Signal) {
	_ = c.nodes[i].cmd.Process.Signal(s)
	_ = c.nodes[i].cmd.Wait()
}

// await waits until a node has written what matches.
func (c *cluster) await(what *regexp.Regexp) string {
	c.t.Helper()
	var found string
	c.until(what.String(), func() bool {
		for _, p := range c.nodes {
			if found = what.FindString(p.out.String()); found != "" {
				return true
			}
		}
		return false
	})
	return found
}

func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	limit := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			for i, p := range c.nodes {
				c.t.Logf("n%d wrote:\n%s", i+1, p.out)
			}
			c.t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func (c *cluster) ready(i int) {
	c.t.Helper()
	c.until(fmt.Sprintf("n%d is ready", i+1), func() bool {
		r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", c.nodes[i].port))
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// veto runs a command against a node's control plane; it must succeed.
func (c *cluster) veto(i int, stdin string, args ...string) string {
	c.t.Helper()
	args = append(args, "--address", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[i].port+1), "--output", "json")
	var out string
	code := exitOK
	c.until("there is a leader, which on a busy machine may be none for a moment", func() bool {
		out, code = execute(c.t, c.env, stdin, args...)
		return !strings.Contains(out, "has no leader just now")
	})
	if code != exitOK {
		c.t.Fatalf("veto %s: %s", args[0], out)
	}
	return out
}

// says waits until the node says the code of the credential, with the exit code that fits.
func (c *cluster) says(i int, credential, code string, exits int) {
	c.t.Helper()
	var out string
	var got int
	c.until(fmt.Sprintf("n%d says %s, it says %s", i+1, code, out), func() bool {
		out, got = execute(c.t, nil, credential, "validate", "-", "--output", "json", "--data-address", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[i].port))
		var v struct {
			Code string `json:"code"`
		}
		return json.Unmarshal([]byte(out), &v) == nil && v.Code == code && got == exits
	})
}

func claim(t *testing.T, token, name string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	var claims map[string]any
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	text, ok := claims[name].(string)
	if err != nil || !ok {
		t.Fatalf("%s of %s: %v", name, b, err)
	}
	return text
}

// leader is the node that leads.
func (c *cluster) leader() int {
	c.t.Helper()
	leader := 0
	for i := range c.nodes {
		if strings.Contains(c.veto(1, "", "cluster"), fmt.Sprintf(`"leader": "n%d"`, i+1)) {
			leader = i
		}
	}
	return leader
}

// loseTheLeader kills whoever leads: the rest go on, and the dead node comes back with the
// same line and has everything.
func (c *cluster) loseTheLeader(revoked string) (other int) {
	c.t.Helper()
	leader := c.leader()
	c.kill(leader, syscall.SIGKILL)
	other = (leader + 1) % 3
	c.until("a change without the dead node", func() bool {
		_, code := execute(c.t, c.env, "", "consumers", "put", "shop", "--address", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[other].port+1))
		return code == exitOK
	})
	c.start(leader)
	c.ready(leader)
	c.says(leader, revoked, "revoked", exitDeny)
	if !strings.Contains(c.veto(leader, "", "consumers", "get", "shop"), `"id": "shop"`) {
		c.t.Error("a change was lost")
	}
	return other
}

// Three processes, tokens of a real OAuth 2.0 server with three algorithms; revoked on one in
// four ways and denied on all; with the issuer gone and after kill -9.
func TestRealTokensOnThreeProcesses(t *testing.T) {
	c := startCluster(t)
	tokens := map[jose.SignatureAlgorithm][]string{}
	var servers []*oauthServer
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		s := newOAuthServer(t, alg)
		servers = append(servers, s)
		id := strings.ToLower(string(alg))
		source := []string{"--discovery", s.URL + "/.well-known/openid-configuration"}
		if alg == jose.EdDSA {
			source = []string{"--jwks-uri", s.URL + "/keys"}
		}
		c.veto(0, "", append([]string{"issuers", "put", id, "--issuer", s.URL}, source...)...)
		for range 5 {
			tokens[alg] = append(tokens[alg], s.token(t))
		}
		for i := range c.nodes {
			c.says(i, tokens[alg][0], "ok", exitOK)
		}
	}
	for _, s := range servers {
		s.Close() // the keys are in the log now; no node can fetch them
	}
	c.kill(2, syscall.SIGKILL)
	c.start(2)
	c.ready(2)
	for n, all := range tokens {
		c.says(2, all[0], "ok", exitOK)
		c.veto(1, all[0], "revoke", "token", "-", "--reason", "leaked")
		c.veto(0, "", "revoke", "jti", claim(t, all[1], "jti"), "--issuer", claim(t, all[1], "iss"))
		for i := range c.nodes {
			c.says(i, all[0], "revoked", exitDeny)
			c.says(i, all[1], "revoked", exitDeny)
			c.says(i, all[2], "ok", exitOK)
		}
		target := []string{"subject", claim(t, all[2], "sub")}
		if n == jose.ES256 {
			target = []string{"client", claim(t, all[2], "client_id")}
		}
		c.veto(2, "", append(append([]string{"revoke"}, target...), "--issuer", claim(t, all[2], "iss"), "--wait", "enforced")...)
		for i := range c.nodes {
			c.says(i, all[2], "revoked", exitDeny)
			c.says(i, all[3], "revoked", exitDeny)
		}
	}
	other := c.loseTheLeader(tokens[jose.RS256][0])
	for i, p := range c.nodes {
		for _, all := range tokens {
			for _, token := range all {
				if strings.Contains(p.out.String(), token[strings.LastIndex(token, ".")+1:]) {
					t.Errorf("n%d wrote a token", i+1)
				}
			}
		}
	}
	c.kill(other, syscall.SIGTERM)
	if code := c.nodes[other].cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("stopped by SIGTERM with %d:\n%s", code, c.nodes[other].out)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(bad, []byte("max_stalenes = \"5s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kinds := filepath.Join(dir, "kinds.toml")
	if err := os.WriteFile(kinds, []byte("port = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good.yaml")
	if err := os.WriteFile(good, []byte("node_id: from-file\nregion: from-file\nrole: voter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		want string
	}{
		"unknown command":     {nil, []string{"validat"}, exitUsage, `did you mean "validate"`},
		"unknown subcommand":  {nil, []string{"keys", "revoke", "x"}, exitUsage, "there is no command"},
		"unknown flag":        {nil, []string{"serve", "--nope"}, exitUsage, "--nope"},
		"no argument":         {nil, []string{"validate"}, exitAsk, "--help"},
		"no such flag":        {nil, []string{"validate", "--nope"}, exitAsk, "--nope"},
		"lives never":         {nil, []string{"keys", "create", "--expires-in=-5s"}, exitUsage, "--expires-in"},
		"no such rate":        {nil, []string{"keys", "create", "--rate", "5/h"}, exitUsage, "100/s"},
		"burst alone":         {nil, []string{"keys", "create", "--burst", "5"}, exitUsage, "a burst needs a rate"},
		"limits, and none":    {nil, []string{"keys", "limit", "key_1", "--rate", "5/s", "--none"}, exitUsage, "--none"},
		"no limits":           {nil, []string{"keys", "limit", "key_1"}, exitUsage, "--none"},
		"lift without reason": {nil, []string{"revocations", "lift", "rev_1"}, exitUsage, "--reason"},
		"two issuers":         {nil, []string{"revoke", "issuer", "a", "--issuer", "b"}, exitUsage, "twice"},
		"part of a token":     {nil, []string{"revoke", "token", "-", "--issued-before", "now"}, exitUsage, "leave out"},
		"kind in the file":    {nil, []string{"serve", "--config", kinds}, exitUsage, "port: must be a whole number"},
		"bad level":           {nil, []string{"config", "validate", "--node-id", "a", "--log-level", "loud"}, exitError, "log_level"},
		"no such certificate": {nil, []string{"config", "validate", "--node-id", "a", "--http-cert-file", "x", "--http-key-file", "y"}, exitError, "certificate"},
		"a Kubernetes service": {
			[]string{"VETO_PORT=tcp://10.0.0.1:7770", "VETO_PORT_7770_TCP=x", "VETO_SERVICE_HOST=x", "VETO_SERVICE_PORT_DATA=1"},
			[]string{"config", "validate", "--node-id", "a"},
			exitOK, "good",
		},
		"unknown setting":     {nil, []string{"serve", "--config", bad}, exitUsage, `did you mean "max_staleness"`},
		"unknown variable":    {[]string{"VETO_DATA_DIRR=x"}, []string{"serve"}, exitUsage, `did you mean "data_dir"`},
		"no such file":        {nil, []string{"serve", "--config", filepath.Join(dir, "none.toml")}, exitUsage, "none.toml"},
		"wrong kind":          {nil, []string{"config", "validate", "--node-id", "a"}, exitOK, "good"},
		"three without certs": {nil, []string{"serve", "--node-id", "a", "--bootstrap-expect", "3", "--join", "127.0.0.1"}, exitUsage, "veto certs"},
		"nobody there":        {nil, []string{"validate", "x.y.z", "--data-address", "http://127.0.0.1:1"}, exitAsk, "cannot be reached"},
		"empty input":         {nil, []string{"validate", "-"}, exitAsk, "standard input is empty"},
		"bad output":          {nil, []string{"issuers", "list", "--output", "xml"}, exitUsage, "neither table nor json"},
		"bad time":            {nil, []string{"revoke", "subject", "a", "--issued-before", "soon"}, exitUsage, "neither now nor a time"},
		"version":             {nil, []string{"version"}, exitOK, "veto dev"},
		"completion":          {nil, []string{"completion", "bash"}, exitOK, "__start_veto"},
		"help":                {nil, []string{"--help"}, exitOK, "veto dev"},
		"help of a command":   {nil, []string{"help", "keys", "create"}, exitOK, "its secret is shown once"},
		"help of no command":  {nil, []string{"help", "keys", "creat"}, exitUsage, `did you mean "create"`},
	} {
		out, code := execute(t, c.env, "", c.args...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d, want %d with %q:\n%s", name, code, c.code, c.want, out)
		}
	}
	out, code := execute(t, []string{"VETO_REGION=from-env", "VETO_CONFIG=" + good}, "", "config", "show", "--role", "voter")
	for _, want := range []string{`node_id\s+from-file\s+\S*good.yaml`, `region\s+from-env\s+environment`, `role\s+voter\s+flag`, `port\s+7770\s+default`} {
		if code != exitOK || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%d, no %s in\n%s", code, want, out)
		}
	}
}
