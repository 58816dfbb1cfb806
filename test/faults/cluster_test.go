//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"veto/client"
	"veto/record"
)

// cluster is a `veto serve` in each namespace of a network, and what it has to do with outside.
type cluster struct {
	t       *testing.T
	voters  int
	nodes   int // voters first, then replicas
	net     *network
	disks   []*disk
	proc    *processes
	binary  string
	dir     string
	admin   string
	client  []*client.Client // of one node each
	given   *issuer          // its keys were given to the cluster
	fetched *issuer          // its keys are fetched
	stream  *stream          // nil if the cluster takes no events
	life    time.Duration    // of tokens: they outlive the test
	extra   []string         // more flags for every node
}

const longWait = 90 * time.Second

func startCluster(t *testing.T, voters, replicas int, life time.Duration, events bool) *cluster {
	t.Helper()
	nodes := voters + replicas
	c := &cluster{t: t, voters: voters, nodes: nodes, net: newNetwork(t, nodes), dir: t.TempDir(), proc: &processes{all: make([]*process, nodes)}, life: life}
	c.binary = filepath.Join(c.dir, "veto")
	c.run("go", "build", "-tags", "faults", "-o", c.binary, "veto/cmd/veto")
	c.run(c.binary, "certs", "authority", "--dir", c.path("certs"))
	for i := range nodes {
		c.run(c.binary, "certs", "node", id(i), "--host", c.net.address(i), "--dir", c.path("certs"))
		c.disks = append(c.disks, newDisk(t, c.path(id(i))))
		c.setClock(i, 0)
	}
	c.given = newIssuer(t, "https://given.example", "")
	c.fetched = newIssuer(t, "https://fetched.example", c.net.test()+":8080")
	if events {
		c.stream = newStream(t, c.net.test())
	}
	t.Cleanup(func() {
		for i := range nodes {
			c.kill(i)
		}
	})
	for i := range nodes {
		c.start(i)
	}
	c.admin = c.readAdmin()
	for i := range nodes {
		c.client = append(c.client, c.newClient(i))
		c.ready(i)
	}
	c.trust(c.given, client.Rules{JWKS: json.RawMessage(c.given.published())})
	c.trust(c.fetched, client.Rules{JWKSURI: "http://" + c.fetched.at + "/keys"})
	if events {
		c.letIn(c.stream)
	}
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

// start starts a node that is down.
func (c *cluster) start(i int) {
	c.t.Helper()
	join, role := "", record.NodeVoter
	for j := range c.nodes {
		join += c.net.address(j) + ","
	}
	if i >= c.voters {
		role = record.NodeReplica
	}
	log, err := os.OpenFile(c.path(id(i)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	args := []string{
		"netns", "exec", c.net.space(i), c.binary, "serve", "--role", string(role),
		"--data-dir", filepath.Join(c.disks[i].dir, "data"), "--node-id", id(i), "--bind", c.net.address(i), "--certs-dir", c.path("certs"),
		"--insecure-http", "--fetch-private", "--bootstrap-expect", fmt.Sprint(c.voters), "--join", join[:len(join)-1],
	}
	if c.stream != nil {
		args = append(args, "--events-nats-url", c.stream.server.URL, "--events-stream", streamName)
	}
	cmd := exec.Command("ip", append(args, c.extra...)...)
	cmd.Env = append(os.Environ(), "FAULTS_OF_VETO_CLOCK="+c.clock(i))
	cmd.Stdout, cmd.Stderr = log, log
	if err := c.proc.run(i, cmd); err != nil {
		c.t.Fatal(err)
	}
}

// kill is kill -9, and as good as pulling the plug on the process.
func (c *cluster) kill(i int) { c.proc.end(i, os.Kill, longWait) }

// stop lets a node end as an operator would.
func (c *cluster) stop(i int) { c.proc.end(i, syscall.SIGTERM, 15*time.Second) }

func (c *cluster) clock(i int) string { return c.path(id(i) + ".clock") }

// setClock makes the node's clock wrong by so many seconds.
func (c *cluster) setClock(i, seconds int) {
	c.t.Helper()
	if err := os.WriteFile(c.clock(i), []byte(fmt.Sprintln(seconds)), 0o600); err != nil {
		c.t.Error(err)
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
	return b[max(0, len(b)-3000):]
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

func (c *cluster) control(i int) string { return "http://" + c.net.address(i) + ":7771" }

func (c *cluster) newClient(i int) *client.Client {
	return client.New(client.Options{
		Control: []string{c.control(i)}, Data: []string{"http://" + c.net.address(i) + ":7770"},
		Token: c.admin, HTTP: &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	})
}

// trust has the cluster trust an issuer.
func (c *cluster) trust(x *issuer, rules client.Rules) {
	c.t.Helper()
	rules.Issuer, rules.Algorithms, rules.MaxLifetime = x.name, []string{"EdDSA"}, c.life.String()
	c.until(x.name+" to be trusted", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		defer cancel()
		_, err := c.at(0).PutIssuer(ctx, x.id(), rules)
		return err == nil
	})
}

// leader is who leads in the eyes of whoever answers; -1 if nobody says.
func (c *cluster) leader() int {
	for i := range c.nodes {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
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
