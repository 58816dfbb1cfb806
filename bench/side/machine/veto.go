package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	dirs  []string
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
		c.lines, c.dirs = append(c.lines, line), append(c.dirs, filepath.Join(dir, id))
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

// AwaitRead waits until a node that has started has read its revocations: it tells then how many of each kind there are.
func (c *Cluster) AwaitRead(ctx context.Context, i int) error {
	return c.Processes[i].Await(ctx, "read", func() bool {
		text := c.metrics(ctx, i)
		kinds := bytes.Count(text, []byte("\nveto_index_filtered{"))
		return len(text) > 0 && bytes.Count(text, []byte("\nveto_revocations_active{")) == kinds
	})
}

// metrics are a node's, and nothing if it does not give them now.
func (c *Cluster) metrics(ctx context.Context, i int) []byte {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Control[i]+"/metrics", nil)
	if err != nil {
		return nil
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusOK {
		return nil
	}
	return text
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

// Revoke revokes so many jtis as a stream, which is made as it is sent: any number takes no more memory here.
func (c *Cluster) Revoke(ctx context.Context, key string, n int, jti func(i int) string) error {
	told, start := c.m.Progress(), time.Now()
	last, err := c.Client().RevokeAll(ctx, key, func() (io.ReadCloser, error) { return io.NopCloser(&lines{n: n, jti: jti}), nil }, func(p client.Progress) {
		told("    %d of %d revocations, %s", p.Through, n, time.Since(start).Round(time.Second))
	})
	if err == nil && (last.Refused > 0 || last.Through != uint64(n)) {
		err = fmt.Errorf("not all were taken: %d of %d, and %d were refused", last.Through, n, last.Refused)
	}
	return err
}

// lines are those of a stream of revocations.
type lines struct {
	n, next int
	jti     func(i int) string
	made    bytes.Buffer
}

// linesAtOnce are some 64 KB.
const linesAtOnce = 500

// Read makes the next lines.
func (l *lines) Read(p []byte) (int, error) {
	if l.made.Len() == 0 {
		l.made.Reset()
		e := json.NewEncoder(&l.made)
		for end := min(l.next+linesAtOnce, l.n); l.next < end; l.next++ {
			if err := e.Encode(client.RevokeRequest{Target: "jti", Issuer: tokens.Issuer, Value: l.jti(l.next)}); err != nil {
				return 0, err
			}
		}
	}
	return l.made.Read(p) // io.EOF when nothing more was made
}

// Fill writes revocations or keys into the state of a node that does not run, as bench/fill says: count of them from the
// number first on. Of is the issuer or the consumer, and form their names or secrets.
func (c *Cluster) Fill(ctx context.Context, i int, what, of, form string, first, count int) error {
	cmd := exec.CommandContext(ctx, c.m.Fill, "-data-dir", c.dirs[i], "-what", what, "-of", of, "-form", form, "-first", strconv.Itoa(first), "-count", strconv.Itoa(count))
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(lockedWriter{c.m}, &said)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("filling a node: %w: %s", err, &said)
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	c.m.Say("    %d written, with %s of processor", count, used.Round(10*time.Millisecond))
	return nil
}

// Stored is how many bytes a node that does not run has on the disk.
func (c *Cluster) Stored(i int) (sum int64, err error) {
	err = filepath.WalkDir(c.dirs[i], func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
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
