package load

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"veto/client"
	"veto/test/ports"
	"veto/test/token"
	"veto/validate/keyset"
)

const (
	issuer   = "https://issuer.example"
	nodes    = 3
	longWait = 90 * time.Second
)

// cluster is a `veto serve` on each of some loopback addresses.
type cluster struct {
	testing.TB
	dir     string
	port    int
	admin   string
	key     ed25519.PrivateKey
	running []*exec.Cmd
	clients []*client.Client // of one node each
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// build builds the program as it is for test/faults, with a clock that can be set.
func build(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "veto")
	run(t, "go", "build", "-tags", "faults", "-o", binary, "veto/cmd/veto")
	return binary
}

// start starts a cluster, and has it trust an issuer whose key the test has. Its nodes are given the arguments.
func start(t testing.TB, lifetime time.Duration, args ...string) *cluster {
	t.Helper()
	binary := build(t)
	c := &cluster{TB: t, dir: t.TempDir(), port: ports.Take(t)}
	c.setClock(0)
	run(t, binary, "certs", "authority", "--dir", c.path("certs"))
	t.Cleanup(func() {
		for _, cmd := range c.running {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		for _, cmd := range c.running {
			_ = cmd.Wait()
		}
	})
	var join []string
	for i := range nodes {
		join = append(join, address(i))
		run(t, binary, "certs", "node", id(i), "--host", address(i), "--dir", c.path("certs"))
	}
	for i := range nodes {
		log, err := os.Create(c.path(id(i) + ".log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary, append([]string{
			"serve", "--data-dir", c.path(id(i)), "--node-id", id(i), "--bind", address(i), "--port", fmt.Sprint(c.port),
			"--certs-dir", c.path("certs"), "--insecure-http", "--join", strings.Join(join, ","), "--bootstrap-expect", fmt.Sprint(nodes),
		}, args...)...)
		cmd.Env = append(os.Environ(), "FAULTS_OF_VETO_CLOCK="+c.path("clock"))
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = log.Close()
		c.running = append(c.running, cmd)
	}
	c.until("an admin's key", func() bool {
		for i := range nodes {
			if key := regexp.MustCompile(`veto_op_\w+`).FindString(c.log(i)); key != "" {
				c.admin = key
			}
		}
		return c.admin != ""
	})
	for i := range nodes {
		c.clients = append(c.clients, client.New(client.Options{
			Control: []string{c.control(i)}, Data: []string{c.data(i)}, Token: c.admin,
			HTTP: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		}))
		c.until(id(i)+" to be ready", func() bool { return c.isReady(i) })
	}
	c.trust(lifetime)
	return c
}

func (c *cluster) trust(lifetime time.Duration) {
	c.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		c.Fatal(err)
	}
	c.key = key
	set, err := keyset.PublicJWKS(map[string]crypto.PublicKey{"k": key.Public()})
	if err != nil {
		c.Fatal(err)
	}
	c.until("the issuer to be trusted", func() bool {
		ctx, cancel := context.WithTimeout(c.Context(), 3*time.Second)
		defer cancel()
		_, err := c.clients[0].PutIssuer(ctx, "one", client.Rules{Issuer: issuer, JWKS: set, Algorithms: []string{"EdDSA"}, MaxLifetime: lifetime.String()})
		if err != nil {
			c.Log(err)
		}
		return err == nil
	})
}

// token is one that was issued at the time.
func (c *cluster) token(jti string, at time.Time, lifetime time.Duration) string {
	return token.Sign(c, c.key, "k", "at+jwt", map[string]any{
		"iss": issuer, "sub": "user-" + jti, "jti": jti, "iat": at.Unix(), "exp": at.Add(lifetime).Unix(),
	})
}

func id(i int) string { return fmt.Sprintf("n%d", i+1) }

func address(i int) string { return fmt.Sprintf("127.0.0.%d", 41+i) }

func (c *cluster) data(i int) string    { return fmt.Sprintf("http://%s:%d", address(i), c.port) }
func (c *cluster) control(i int) string { return fmt.Sprintf("http://%s:%d", address(i), c.port+1) }

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) log(i int) string {
	b, err := os.ReadFile(c.path(id(i) + ".log"))
	if err != nil {
		c.Fatal(err)
	}
	return string(b)
}

// setClock sets the clocks of all nodes forward by so many seconds. A reader sees the old or the new number.
func (c *cluster) setClock(seconds int) {
	c.Helper()
	name := c.path("clock")
	if err := os.WriteFile(name+".new", []byte(fmt.Sprintln(seconds)), 0o600); err != nil {
		c.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		c.Fatal(err)
	}
}

// until waits for something to be so.
func (c *cluster) until(what string, is func() bool) {
	c.Helper()
	deadline := time.After(longWait)
	for !is() {
		select {
		case <-deadline:
			for i := range c.running {
				log := c.log(i)
				c.Logf("the last words of %s:\n%s", id(i), log[max(0, len(log)-3000):])
			}
			c.Fatalf("waited %s in vain for %s", longWait, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *cluster) isReady(i int) bool {
	r, err := (&http.Client{Timeout: time.Second}).Get(c.data(i) + "/readyz")
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK
}
