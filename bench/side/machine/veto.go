package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"veto/bench/side/tokens"
	"veto/client"
)

// Cluster is one of Veto that runs.
type Cluster struct {
	Processes []*Process
	// Data and Control are host and port of each node's planes.
	Data, Control []string
	Token         string

	m     *Machine
	lines [][]string
	core  Core
}

// Nodes says which nodes a cluster has.
type Nodes struct {
	Core Core
	// Hosts are addresses that nodes bind, one each; Told are those under which others reach them.
	Hosts, Told []string
	// Replicas is how many of them, the last ones, are none of the voters.
	Replicas int
	// Args are more for each.
	Args []string
}

// The ports of a node, after its first.
const (
	PeerPort   = 2
	GossipPort = 3
	RoutePort  = 5
)

// NodesOn is so many nodes on loopback.
func NodesOn(core Core, n int, args ...string) Nodes {
	all := Nodes{Core: core, Args: args}
	for i := range n {
		all.Hosts = append(all.Hosts, fmt.Sprintf("127.0.2.%d", i+1))
	}
	all.Told = all.Hosts
	return all
}

// StartVeto starts nodes and waits until all are ready. Between is called with their first port, before they start.
func (m *Machine) StartVeto(ctx context.Context, n Nodes, between func(port int) error) (*Cluster, error) {
	dir, err := m.Dir("veto")
	if err != nil {
		return nil, err
	}
	certs := filepath.Join(dir, "certs")
	if err := m.run(ctx, "certs", "authority", "--dir", certs); err != nil {
		return nil, err
	}
	port := m.Ports(n.Hosts...)
	if between != nil {
		if err := between(port); err != nil {
			return nil, err
		}
	}
	c := &Cluster{m: m, core: n.Core}
	var join []string
	for _, told := range n.Told {
		join = append(join, net.JoinHostPort(told, strconv.Itoa(port+GossipPort)))
	}
	admin := filepath.Join(dir, "admin")
	for i, host := range n.Hosts {
		id := fmt.Sprintf("n%d", i+1)
		if err := m.run(ctx, "certs", "node", id, "--host", host, "--dir", certs); err != nil {
			return nil, err
		}
		line := append([]string{
			"serve", "--node-id", id, "--data-dir", filepath.Join(dir, id), "--certs-dir", certs, "--bind", host, "--advertise", n.Told[i], "--port", strconv.Itoa(port),
			"--insecure-http", "--admin-token-file", admin + id, "--caller-rate", "0", "--canary-interval", "0s", "--log-level", "error",
		}, n.Args...)
		if len(n.Hosts) > 1 {
			line = append(line, "--join", strings.Join(join[:min(len(join), 3)], ","))
		}
		if voters := len(n.Hosts) - n.Replicas; i >= voters {
			line = append(line, "--role", "replica")
		} else if voters > 1 {
			line = append(line, "--bootstrap-expect", strconv.Itoa(voters))
		}
		c.lines = append(c.lines, line)
		c.Data = append(c.Data, net.JoinHostPort(host, strconv.Itoa(port)))
		c.Control = append(c.Control, net.JoinHostPort(host, strconv.Itoa(port+1)))
		c.Processes = append(c.Processes, nil)
		if err := c.StartNode(i); err != nil {
			return nil, err
		}
	}
	for i := range c.Data {
		if err := c.AwaitReady(ctx, i); err != nil {
			return nil, err
		}
	}
	return c, c.findToken(ctx, admin)
}

// run runs the program to its end.
func (m *Machine) run(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, m.Veto, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("veto %s: %w: %s", args[0], err, out)
	}
	return nil
}

// StartNode starts a node that does not run.
func (c *Cluster) StartNode(i int) (err error) {
	c.Processes[i], err = c.m.Start(fmt.Sprintf("veto-n%d", i+1), c.core, c.m.Veto, c.lines[i]...)
	return err
}

// AwaitReady waits until the node has caught up.
func (c *Cluster) AwaitReady(ctx context.Context, i int) error {
	return c.Processes[i].Await(ctx, "ready", func() bool {
		r, err := http.Get("http://" + c.Data[i] + "/readyz") //nolint:noctx // Await bounds it
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// findToken finds the first admin's key: whoever led first has it.
func (c *Cluster) findToken(ctx context.Context, admin string) error {
	return c.Processes[0].Await(ctx, "founded", func() bool {
		for i := range c.Data {
			if b, err := os.ReadFile(fmt.Sprintf("%sn%d", admin, i+1)); err == nil && len(b) > 0 {
				c.Token = strings.TrimSpace(string(b))
				return true
			}
		}
		return false
	})
}

// Client is one for some of the nodes, all if none are named.
func (c *Cluster) Client(nodes ...int) *client.Client {
	var control []string
	for i, address := range c.Control {
		if len(nodes) == 0 || i == nodes[0] {
			control = append(control, "http://"+address)
		}
	}
	return client.New(client.Options{Control: control, Token: c.Token, HTTP: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 1024},
	}})
}

// Trust makes the cluster trust the issuer of tokens.
func (c *Cluster) Trust(ctx context.Context, jwks []byte) error {
	_, err := c.Client().PutIssuer(ctx, "bench", client.Rules{
		Issuer: tokens.Issuer, JWKS: jwks, Audiences: []string{tokens.Audience}, Types: []string{"at+jwt"}, MaxLifetime: "2h",
	})
	return err
}

// Revoke revokes jtis as a stream.
func (c *Cluster) Revoke(ctx context.Context, key string, jtis []string) error {
	var stream bytes.Buffer
	e := json.NewEncoder(&stream)
	for _, jti := range jtis {
		if err := e.Encode(client.RevokeRequest{Target: "jti", Issuer: tokens.Issuer, Value: jti}); err != nil {
			return err
		}
	}
	last, err := c.Client().RevokeAll(ctx, key, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(stream.Bytes())), nil }, func(client.Progress) {})
	if err == nil && (last.Refused > 0 || last.Through != uint64(len(jtis))) {
		err = errors.New("not all were taken")
	}
	return err
}

// APIKey makes an API key.
func (c *Cluster) APIKey(ctx context.Context) (string, error) {
	admin := c.Client()
	if _, err := admin.PutConsumer(ctx, "bench", client.ConsumerFields{Name: "bench"}); err != nil {
		return "", err
	}
	k, err := admin.CreateKey(ctx, client.KeyFields{Consumer: "bench"})
	return k.Secret, err
}
