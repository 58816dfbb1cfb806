//go:build upgrade

package upgrade

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"veto/client"
	"veto/test/ports"
	"veto/test/token"
	"veto/validate/keyset"
)

const (
	issuer   = "https://issuer.example"
	longWait = 90 * time.Second
)

// cluster is a `veto serve` on each of some loopback addresses.
type cluster struct {
	t       *testing.T
	dir     string
	port    int
	admin   string
	key     ed25519.PrivateKey
	set     json.RawMessage
	clients []*client.Client // of one node each
	// sessions are the secrets of portal sessions that were opened.
	sessions []string

	mu    sync.Mutex
	nodes []*exec.Cmd // nil while a node is down
}

// previous builds the versions that are named in PREVIOUS, the oldest first.
func previous(t *testing.T) (binaries []string) {
	t.Helper()
	names, err := os.ReadFile("PREVIOUS")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(names)) {
		dir := t.TempDir()
		script := `cd "$(git rev-parse --show-toplevel)" && git archive "$1" | tar -x -C "$2" && cd "$2" && go build -o "$2/veto" ./cmd/veto`
		run(t, "bash", "-o", "pipefail", "-c", script, "build", name, dir)
		binaries = append(binaries, filepath.Join(dir, "veto"))
	}
	return binaries
}

func present(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "veto")
	run(t, "go", "build", "-o", binary, "veto/cmd/veto")
	return binary
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// roleOf are the arguments that make a node what it is.
func roleOf(i int) []string {
	if i >= voters {
		return []string{"--role", "replica"}
	}
	return []string{"--bootstrap-expect", fmt.Sprint(voters)}
}

// start starts voters of the binary, and replicas.
func start(t *testing.T, binary string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), port: ports.Take(t)}
	run(t, binary, "certs", "authority", "--dir", c.path("certs"))
	for i := range voters + replicas {
		c.start(c.add(binary), binary, roleOf(i)...)
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.end(i, os.Kill)
		}
	})
	c.until("an admin's key", func() bool {
		for i := range c.nodes {
			if key := regexp.MustCompile(`veto_op_\w+`).FindString(c.log(i)); key != "" {
				c.admin = key
			}
		}
		return c.admin != ""
	})
	for i := range c.nodes {
		c.clients = append(c.clients, c.newClient(i, c.admin))
		c.ready(i)
	}
	c.trust()
	return c
}

func id(i int) string { return fmt.Sprintf("n%d", i+1) }

func address(i int) string { return fmt.Sprintf("127.0.0.%d", 21+i) }

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

// add gives a node its certificate.
func (c *cluster) add(binary string) int {
	c.t.Helper()
	i := len(c.nodes)
	run(c.t, binary, "certs", "node", id(i), "--host", address(i), "--dir", c.path("certs"))
	c.nodes = append(c.nodes, nil)
	return i
}

func (c *cluster) start(i int, binary string, args ...string) {
	c.t.Helper()
	var join []string
	for j := range voters {
		join = append(join, address(j))
	}
	log, err := os.OpenFile(c.path(id(i)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(binary, append([]string{
		"serve", "--data-dir", c.path(id(i)), "--node-id", id(i), "--bind", address(i), "--port", fmt.Sprint(c.port),
		"--certs-dir", c.path("certs"), "--insecure-http", "--join", strings.Join(join, ","),
	}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i] = cmd
}

// end ends a node and waits until it has.
func (c *cluster) end(i int, s os.Signal) {
	c.mu.Lock()
	cmd := c.nodes[i]
	c.nodes[i] = nil
	c.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(s)
		_ = cmd.Wait()
	}
}

func (c *cluster) log(i int) string {
	b, err := os.ReadFile(c.path(id(i) + ".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// until waits for something to be so.
func (c *cluster) until(what string, is func() bool) {
	c.t.Helper()
	deadline := time.After(longWait)
	for !is() {
		select {
		case <-deadline:
			for i := range c.nodes {
				log := c.log(i)
				c.t.Logf("the last words of %s:\n%s", id(i), log[max(0, len(log)-4000):])
			}
			c.t.Fatalf("waited %s in vain for %s", longWait, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *cluster) ready(i int) {
	c.t.Helper()
	c.until(id(i)+" to be ready", func() bool { return c.isReady(i) })
}

func (c *cluster) isReady(i int) bool {
	r, err := (&http.Client{Timeout: time.Second}).Get(fmt.Sprintf("http://%s:%d/readyz", address(i), c.port))
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK
}

func (c *cluster) newClient(i int, token string) *client.Client {
	return client.New(client.Options{
		Control: []string{fmt.Sprintf("http://%s:%d", address(i), c.port+1)}, Data: []string{fmt.Sprintf("http://%s:%d", address(i), c.port)},
		Token: token, HTTP: &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	})
}

// trust has the cluster trust an issuer whose key the test has.
func (c *cluster) trust() {
	c.t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.key = key
	c.set, err = keyset.PublicJWKS(map[string]crypto.PublicKey{"k": key.Public()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.until("the issuer to be trusted", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		defer cancel()
		_, err := c.clients[0].PutIssuer(ctx, "one", client.Rules{Issuer: issuer, JWKS: c.set, Algorithms: []string{"EdDSA"}})
		return err == nil
	})
}

func (c *cluster) token(jti string) string {
	at := time.Now().Unix()
	return token.Sign(c.t, c.key, "k", "at+jwt", map[string]any{"iss": issuer, "sub": "user-" + jti, "jti": jti, "iat": at, "exp": at + 3600})
}
