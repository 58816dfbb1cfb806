//go:build faults

package faults

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"veto/client"
	"veto/validate/keyset"
)

// cluster is a `veto serve` in each namespace of a network.
type cluster struct {
	t      *testing.T
	net    *network
	binary string
	dir    string
	admin  string
	key    ed25519.PrivateKey
	client []*client.Client // of one node each

	mu    sync.Mutex
	nodes []*exec.Cmd // nil while a node is down
}

const (
	issuer   = "https://issuer.example"
	longWait = 60 * time.Second
)

func startCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	c := &cluster{t: t, net: newNetwork(t, nodes), dir: t.TempDir(), nodes: make([]*exec.Cmd, nodes)}
	c.binary = filepath.Join(c.dir, "veto")
	c.run("go", "build", "-o", c.binary, "veto/cmd/veto")
	c.run(c.binary, "certs", "authority", "--dir", c.path("certs"))
	for i := range nodes {
		c.run(c.binary, "certs", "node", id(i), "--host", c.net.address(i), "--dir", c.path("certs"))
	}
	for i := range nodes {
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range nodes {
			c.kill(i)
		}
	})
	c.admin = c.readAdmin()
	for i := range nodes {
		c.client = append(c.client, c.newClient(i))
		c.ready(i)
	}
	c.trust()
	return c
}

func id(i int) string { return fmt.Sprintf("n%d", i+1) }

func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) run(name string, args ...string) {
	c.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func (c *cluster) start(i int) {
	c.t.Helper()
	join := ""
	for j := range c.nodes {
		join += c.net.address(j) + ","
	}
	log, err := os.OpenFile(c.path(id(i)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("ip", "netns", "exec", c.net.space(i), c.binary, "serve",
		"--data-dir", c.path(id(i)), "--node-id", id(i), "--bind", c.net.address(i), "--certs-dir", c.path("certs"),
		"--insecure-http", "--bootstrap-expect", fmt.Sprint(len(c.nodes)), "--join", join[:len(join)-1])
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i] = cmd
}

// kill is kill -9, and as good as pulling the plug on the process.
func (c *cluster) kill(i int) {
	c.mu.Lock()
	cmd := c.nodes[i]
	c.nodes[i] = nil
	c.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// signal freezes a node (SIGSTOP), or lets it go on (SIGCONT).
func (c *cluster) signal(i int, s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cmd := c.nodes[i]; cmd != nil {
		_ = cmd.Process.Signal(s)
	}
}

// readAdmin finds the first admin's key in what one of the nodes printed.
func (c *cluster) readAdmin() string {
	c.t.Helper()
	found := ""
	c.until("an admin's key", func() bool {
		for i := range c.nodes {
			b, err := os.ReadFile(c.path(id(i) + ".log"))
			if err != nil {
				continue
			}
			if key := regexp.MustCompile(`veto_op_\w+`).Find(b); key != nil {
				found = string(key)
			}
		}
		return found != ""
	})
	return found
}

// until waits for something to be so.
func (c *cluster) until(what string, is func() bool) {
	c.t.Helper()
	deadline := time.After(longWait)
	for !is() {
		select {
		case <-deadline:
			for i := range c.nodes {
				c.t.Logf("the last words of %s:\n%s", id(i), c.lastWords(i))
			}
			c.t.Fatalf("waited %s in vain for %s", longWait, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords is the end of what the node printed.
func (c *cluster) lastWords(i int) []byte {
	b, err := os.ReadFile(c.path(id(i) + ".log"))
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-4000):]
}

func (c *cluster) ready(i int) {
	c.t.Helper()
	c.until(id(i)+" to be ready", func() bool {
		r, err := (&http.Client{Timeout: time.Second}).Get("http://" + c.net.address(i) + ":7770/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// at is a client of one node only.
func (c *cluster) at(i int) *client.Client { return c.client[i] }

func (c *cluster) newClient(i int) *client.Client {
	return client.New(client.Options{
		Control: []string{"http://" + c.net.address(i) + ":7771"}, Data: []string{"http://" + c.net.address(i) + ":7770"},
		Token: c.admin, HTTP: &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
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
	set, err := keyset.PublicJWKS(map[string]crypto.PublicKey{"k": key.Public()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.until("the issuer to be trusted", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		defer cancel()
		_, err := c.at(0).PutIssuer(ctx, "one", client.Rules{Issuer: issuer, JWKS: set, Algorithms: []string{"EdDSA"}})
		return err == nil
	})
}

func (c *cluster) token(jti string) string {
	c.t.Helper()
	at := time.Now().Unix()
	body, err := json.Marshal(map[string]any{"iss": issuer, "sub": "user-" + jti, "jti": jti, "iat": at, "exp": at + 3600})
	if err != nil {
		c.t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(`{"alg":"EdDSA","kid":"k","typ":"at+jwt"}`)) + "." + encode(body)
	return input + "." + encode(ed25519.Sign(c.key, []byte(input)))
}

// leader is who leads in the eyes of whoever answers; -1 if nobody says.
func (c *cluster) leader() int {
	for i := range c.nodes {
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		s, err := c.at(i).Cluster(ctx)
		cancel()
		if err == nil && s.Leader != "" {
			for j := range c.nodes {
				if id(j) == s.Leader {
					return j
				}
			}
		}
	}
	return -1
}
