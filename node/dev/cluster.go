package dev

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"veto/node"
	"veto/node/certs"
	"veto/node/demo"
)

// Step is how far apart the ports of two nodes are.
const Step = 10

const (
	host       = "127.0.0.1"
	demoPort   = 6 // after those of the first node
	secretFile = "dev-secrets.json"
	pepperFile = "pepper.key"
	maxNodes   = 9
	// leaveLimit is how long a node that leaves waits for the others.
	leaveLimit = 30 * time.Second
)

// Config is what a Cluster is made of.
type Config struct {
	// Dir holds everything, and makes the same cluster when it is used again.
	Dir string
	// Nodes is how many voters; Port the first one's data plane.
	Nodes, Port int
	Version     string
	Now         func() time.Time
	Log         *slog.Logger
	// Ready is told when each node has caught up. It must not block.
	Ready func(nodeID string)
	// Adjust, if set, changes the configuration of a node before each start.
	Adjust func(c *node.Config)
}

// Check refuses what makes no cluster.
func (c *Config) Check() error {
	if c.Nodes < 1 || c.Nodes > maxNodes {
		return fmt.Errorf("a cluster on one machine has 1 to %d nodes", maxNodes)
	}
	return nil
}

// holdsNoMore refuses a directory with a node that would not be started: without it the others might not decide, or,
// if they have left, found another cluster.
func (c *Config) holdsNoMore() error {
	for i := maxNodes - 1; i >= c.Nodes; i-- {
		_, err := os.Stat(filepath.Join(c.Dir, ID(i)))
		if err == nil {
			err = fmt.Errorf("%s holds a cluster with node %s; give --nodes %d, or another --data-dir", c.Dir, ID(i), i+1)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Cluster is a running cluster.
type Cluster struct {
	config Config
	issuer *demo.Issuer

	mu      sync.Mutex
	secrets secrets
	nodes   []*node.Node // nil where one was stopped

	ended chan Ended
	watch sync.WaitGroup
}

// Ended is a node that does not run any more, though nobody stopped it: it has left, if Err is nil.
type Ended struct {
	Node string
	Err  error
}

func (e Ended) String() string {
	if e.Err == nil {
		return fmt.Sprintf("node %s has left", e.Node)
	}
	return fmt.Sprintf("node %s has ended: %v", e.Node, e.Err)
}

// secrets are what the directory keeps for the next start.
type secrets struct {
	AdminToken string       `json:"admin_token"`
	Demo       demo.Secrets `json:"demo"`
}

// Start starts all nodes and waits until all are ready, or the context ends. The caller closes
// the cluster.
func Start(ctx context.Context, c Config) (*Cluster, error) {
	if err := errors.Join(c.Check(), c.holdsNoMore()); err != nil {
		return nil, err
	}
	x := &Cluster{config: c, nodes: make([]*node.Node, c.Nodes), ended: make(chan Ended, c.Nodes)}
	if err := x.start(ctx); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

func (x *Cluster) start(ctx context.Context) error {
	if err := x.prepare(); err != nil {
		return err
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(x.config.Port+demoPort)))
	if err != nil {
		return fmt.Errorf("the demo issuer: %w; give another --port", err)
	}
	if x.issuer, err = demo.Start(l, x.secrets.Demo, x.config.Now, x.config.Log); err != nil {
		return errors.Join(err, l.Close())
	}
	for i := range x.nodes {
		if err := x.StartNode(i); err != nil {
			return err
		}
	}
	for i := range x.nodes {
		if err := x.AwaitReady(ctx, i); err != nil {
			return err
		}
		x.config.Ready(ID(i))
	}
	// One that came when the others had founded the cluster follows at first, and others count on all.
	for i := range x.nodes {
		if err := x.await(ctx, i, "become a voter", (*node.Node).Votes); err != nil {
			return err
		}
	}
	if x.AdminToken() == "" {
		return fmt.Errorf("the admin's key of the cluster in %s is not known; give an empty --data-dir", x.config.Dir)
	}
	return nil
}

// prepare makes or reads the secrets and certificates.
func (x *Cluster) prepare() error {
	if err := os.MkdirAll(x.config.Dir, 0o700); err != nil {
		return err
	}
	b, err := os.ReadFile(x.path(secretFile))
	switch {
	case err == nil:
		err = json.Unmarshal(b, &x.secrets)
	case errors.Is(err, os.ErrNotExist):
		if x.secrets.Demo, err = demo.NewSecrets(); err == nil {
			err = x.save()
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", x.path(secretFile), err)
	}
	return errors.Join(x.pepperKey(), x.certificates())
}

// pepperKey makes the key that wraps the peppers of API keys, if it is not there.
func (x *Cluster) pepperKey() error {
	if _, err := os.Stat(x.path(pepperFile)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	return os.WriteFile(x.path(pepperFile), []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600)
}

// certificates makes those that are missing: more nodes may be asked for than last time.
func (x *Cluster) certificates() error {
	dir, now := x.path("certs"), x.config.Now()
	authority, err := certs.LoadAuthority(dir)
	if errors.Is(err, os.ErrNotExist) {
		authority, err = certs.NewAuthority(dir, now)
	}
	if err != nil {
		return err
	}
	for i := range x.nodes {
		file, _ := certs.NodeFiles(ID(i))
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			continue
		}
		if err := authority.Issue(dir, ID(i), []string{host}, now); err != nil {
			return err
		}
	}
	return nil
}

func (x *Cluster) path(name string) string { return filepath.Join(x.config.Dir, name) }

// save is called with the lock held, or before anything runs.
func (x *Cluster) save() error {
	b, err := json.Marshal(x.secrets)
	if err != nil {
		return err
	}
	return os.WriteFile(x.path(secretFile), b, 0o600)
}

// ID is the id of the node with the number, from zero.
func ID(i int) string { return "n" + strconv.Itoa(i+1) }

// Data and Control are the base URLs of a node's listeners.
func (x *Cluster) Data(i int) string { return x.url(i, 0) }

// Control is the base URL of a node's control plane.
func (x *Cluster) Control(i int) string { return x.url(i, 1) }

// NATS is the URL of a node's NATS server for clients.
func (x *Cluster) NATS(i int) string {
	return "nats://" + net.JoinHostPort(host, strconv.Itoa(x.config.Port+i*Step+4))
}

func (x *Cluster) url(i, port int) string {
	return "http://" + net.JoinHostPort(host, strconv.Itoa(x.config.Port+i*Step+port))
}

// NodeConfig is a node's configuration.
func (x *Cluster) NodeConfig(i int) node.Config {
	c := node.DefaultConfig()
	c.DataDir, c.NodeID, c.CertsDir = x.path(ID(i)), ID(i), x.path("certs")
	c.Bind, c.Port, c.BootstrapExpect, c.FetchPrivate = host, x.config.Port+i*Step, x.config.Nodes, true
	c.PepperKeyFile = x.path(pepperFile)
	if x.config.Nodes > 1 {
		for j := range x.config.Nodes {
			c.Join = append(c.Join, net.JoinHostPort(host, strconv.Itoa(x.config.Port+j*Step+3)))
		}
	}
	if x.config.Adjust != nil {
		x.config.Adjust(&c)
	}
	return c
}

// StartNode starts a node that does not run.
func (x *Cluster) StartNode(i int) error {
	n, err := node.Start(x.NodeConfig(i), node.Surroundings{
		Version: x.config.Version, Now: x.config.Now, Log: x.config.Log.With("node", ID(i)), AdminToken: x.keepToken,
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", ID(i), err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.nodes[i] = n
	x.watch.Go(func() { x.attend(i, n) })
	return nil
}

// attend waits until the node ends, or is to leave, and tells of it. The others go on.
func (x *Cluster) attend(i int, n *node.Node) {
	var err error
	select {
	case err = <-n.Failed():
		err = errors.Join(err, x.end(i, n))
	case <-n.Leaving():
		ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
		defer cancel()
		if err = errors.Join(n.Leave(ctx), x.end(i, n)); err == nil {
			err = os.RemoveAll(x.NodeConfig(i).DataDir) // of no more use: with the next start it joins as a new node
		}
	case <-n.Closed():
		return
	}
	select {
	case x.ended <- Ended{ID(i), err}:
	default: // nobody listens
	}
}

// Ended has each node that ends.
func (x *Cluster) Ended() <-chan Ended { return x.ended }

func (x *Cluster) keepToken(secret string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.secrets.AdminToken = secret
	return x.save()
}

// StopNode stops a node as a signal would. Where it ends already, for another reason or by another call, it returns at once.
func (x *Cluster) StopNode(i int) error {
	if n := x.Node(i); n != nil {
		return x.end(i, n)
	}
	return nil
}

// end closes a node, and waits also if that has begun.
func (x *Cluster) end(i int, n *node.Node) error {
	x.mu.Lock()
	if x.nodes[i] == n {
		x.nodes[i] = nil
	}
	x.mu.Unlock()
	return n.Close()
}

// Node is a running node; nil if it was stopped.
func (x *Cluster) Node(i int) *node.Node {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.nodes[i]
}

// AwaitReady waits until the node has caught up.
func (x *Cluster) AwaitReady(ctx context.Context, i int) error {
	return x.await(ctx, i, "become ready", (*node.Node).Ready)
}

func (x *Cluster) await(ctx context.Context, i int, what string, is func(*node.Node) bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := x.Node(i); n == nil || !is(n); { // nil if it has ended, of which x.ended tells
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s did not %s: %w", ID(i), what, ctx.Err())
		case e := <-x.ended:
			return errors.New(e.String())
		case <-tick.C:
		}
	}
	return nil
}

// AdminToken is the first admin's key.
func (x *Cluster) AdminToken() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.secrets.AdminToken
}

// Issuer is the demo issuer, and Demo its secrets.
func (x *Cluster) Issuer() *demo.Issuer { return x.issuer }

// Demo are the demo issuer's secrets.
func (x *Cluster) Demo() demo.Secrets { return x.secrets.Demo }

// Close stops all nodes at once, and then the issuer.
func (x *Cluster) Close() error {
	errs := make([]error, len(x.nodes)+1)
	var wg sync.WaitGroup
	for i := range x.nodes {
		wg.Go(func() { errs[i] = x.StopNode(i) })
	}
	wg.Wait()
	x.watch.Wait()
	if x.issuer != nil {
		errs[len(x.nodes)] = x.issuer.Close()
	}
	return errors.Join(errs...)
}
