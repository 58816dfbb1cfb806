package measure

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"veto/bench"
	"veto/bench/side/machine"
	"veto/bench/side/tokens"
	"veto/client"
)

// Scale is the section on how cost grows.
type Scale struct {
	Curves []Curve `json:"curves"`
}

// Curve is how one cost grows with one amount.
type Curve struct {
	Of   string    `json:"of"`   // what grows
	Cost string    `json:"cost"` // what it costs
	Unit string    `json:"unit"`
	X    []float64 `json:"x"`
	Y    []float64 `json:"y"`
	// Slope is the power by which the cost grows with the amount: 1 is in proportion, 0 not at all. It is nil with
	// fewer than three points.
	Slope *float64 `json:"slope"`
	// Each is what one more adds, by a straight line; nil with fewer than three points. It says more than the
	// power where most of a cost is there with none.
	Each *float64 `json:"each"`
	Note string   `json:"note"`
}

// ScaleSizes say how far the curves go.
type ScaleSizes struct {
	Round                                     time.Duration
	Revocations, Keys, Issuers, Voters, Conns []int
	// Filled are more keys, written into the state of a node that is stopped.
	Filled []int
	// AtOnce is whether all clusters are started before the first is measured, and one node serves all curves of one node.
	AtOnce bool
	// Samples are how many credentials are held against what must be said, of those that are there and of others.
	Samples int
	// Replicas are beside three voters.
	Replicas []int
}

// curves collects points.
type curves struct {
	m     *machine.Machine
	z     ScaleSizes
	order []string
	all   map[string]*Curve
	// started are clusters that were started before, by what they are for.
	started map[string]*machine.Cluster
}

func (c *curves) add(of, cost, unit string, x int, y float64, note string) {
	key := of + cost
	if c.all[key] == nil {
		c.all[key] = &Curve{Of: of, Cost: cost, Unit: unit, Note: note}
		c.order = append(c.order, key)
	}
	p := c.all[key]
	p.X, p.Y = append(p.X, float64(x)), append(p.Y, y)
}

// RunScale measures how cost grows.
func RunScale(ctx context.Context, m *machine.Machine, z ScaleSizes) (*Scale, error) {
	c := &curves{m: m, z: z, all: map[string]*Curve{}, started: map[string]*machine.Cluster{}}
	if z.AtOnce {
		if err := c.startAll(ctx); err != nil {
			return nil, err
		}
	}
	for _, part := range []func(context.Context) error{c.revocations, c.keys, c.issuers, c.voters, c.replicas, c.connections} {
		err := part(ctx)
		if err != nil {
			return nil, err
		}
		if !z.AtOnce {
			m.StopAll()
		}
	}
	s := &Scale{}
	for _, key := range c.order {
		p := c.all[key]
		if slope := Slope(p.X, p.Y); len(p.X) > 2 && !math.IsNaN(slope) {
			each := Each(p.X, p.Y)
			p.Slope, p.Each = &slope, &each
		}
		s.Curves = append(s.Curves, *p)
	}
	return s, nil
}

// one is what a single node is for.
const one = "one node"

// startAll starts all clusters at once.
func (c *curves) startAll(ctx context.Context) error {
	c.m.Say("  starting all clusters")
	var mu sync.Mutex
	start := func(what string, n machine.Nodes) func() error {
		return func() error {
			x, err := c.m.StartVeto(ctx, n, nil)
			mu.Lock()
			defer mu.Unlock()
			c.started[what] = x
			return err
		}
	}
	all := []func() error{start(one, c.single())}
	for _, n := range c.z.Voters {
		all = append(all, start(votersOf(n), machine.NodesOn("", n)))
	}
	for _, n := range c.z.Replicas {
		all = append(all, start(replicasOf(n), withReplicas(n)))
	}
	return together(all...)
}

func votersOf(n int) string   { return fmt.Sprintf("%d voters", n) }
func replicasOf(n int) string { return fmt.Sprintf("%d replicas beside 3 voters", n) }

func withReplicas(n int) machine.Nodes {
	all := machine.NodesOn("", 3+n)
	all.Replicas = n
	return all
}

// single is one node, which takes as many connections as are measured.
func (c *curves) single() machine.Nodes {
	return machine.NodesOn(c.m.Server, 1, "--max-connections", "20000")
}

// cluster is one that was started before, or starts now.
func (c *curves) cluster(ctx context.Context, what string, n machine.Nodes) (*machine.Cluster, error) {
	if x, ok := c.started[what]; ok {
		return x, nil
	}
	return c.m.StartVeto(ctx, n, nil)
}

// alone is a node that trusts the issuer, and is asked about good tokens.
func (c *curves) alone(ctx context.Context) (*machine.Cluster, *system, *tokens.Maker, error) {
	maker, err := tokens.New("EdDSA")
	if err != nil {
		return nil, nil, nil, err
	}
	jwks, err := maker.JWKS()
	if err != nil {
		return nil, nil, nil, err
	}
	x, err := c.cluster(ctx, one, c.single())
	if err == nil {
		err = x.Trust(ctx, jwks)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	s := &system{name: "veto", address: x.Data[0], process: x.Processes[0], request: bearer, allowed: `"outcome":"allow"`}
	for i := range goodTokens {
		t, err := maker.Token(i)
		if err != nil {
			return nil, nil, nil, err
		}
		s.tokens = append(s.tokens, t)
	}
	return x, s, maker, s.process.Await(ctx, "allowing", func() bool { ok, err := s.asks(ctx, s.tokens[0]); return ok && err == nil })
}

// cpu is the processor time of one validation, in microseconds.
func (c *curves) cpu(ctx context.Context, s *system) (float64, error) {
	var x Measure
	_, err := put(ctx, c.m, s.spec(connections, 0, c.z.Round)) // so that every token was seen
	if err == nil {
		err = x.closed(ctx, c.m, s, c.z.Round)
	}
	return median(x.CPU), err
}

// issuers rise on one node.
func (c *curves) issuers(ctx context.Context) error {
	x, s, _, err := c.alone(ctx)
	if err != nil {
		return err
	}
	other, err := tokens.New("EdDSA")
	if err != nil {
		return err
	}
	jwks, err := other.JWKS()
	if err != nil {
		return err
	}
	have := 1
	for _, n := range c.z.Issuers {
		c.m.Say("  %d issuers", n)
		start, first := time.Now(), have
		for ; have < n; have++ {
			name := fmt.Sprintf("other-%d", have)
			if _, err := x.Client().PutIssuer(ctx, name, client.Rules{Issuer: "https://" + name + ".example", JWKS: jwks}); err != nil {
				return err
			}
		}
		if have > first {
			c.add("issuers", "trusting one more", "ms", n, 1000*time.Since(start).Seconds()/float64(have-first), "")
		}
		cost, err := c.cpu(ctx, s)
		if err != nil {
			return err
		}
		c.add("issuers", "a validation over HTTP", "us of processor", n, cost, "")
	}
	return nil
}

func (c *curves) voters(ctx context.Context) error {
	for _, n := range c.z.Voters {
		if err := c.nodes(ctx, "voters", n, votersOf(n), machine.NodesOn("", n)); err != nil {
			return err
		}
	}
	return nil
}

func (c *curves) replicas(ctx context.Context) error {
	for _, n := range c.z.Replicas {
		if err := c.nodes(ctx, "replicas beside 3 voters", n, replicasOf(n), withReplicas(n)); err != nil {
			return err
		}
	}
	return nil
}

// nodes measures a cluster of so many.
func (c *curves) nodes(ctx context.Context, of string, n int, what string, all machine.Nodes) error {
	c.m.Say("  %s", what)
	if !c.z.AtOnce {
		defer c.m.StopAll()
	}
	x, err := c.cluster(ctx, what, all)
	if err != nil {
		return err
	}
	maker, err := tokens.New("EdDSA")
	if err != nil {
		return err
	}
	jwks, err := maker.JWKS()
	if err == nil {
		err = x.Trust(ctx, jwks)
	}
	if err != nil {
		return err
	}
	admin := x.Client(0)
	used := func() (sum time.Duration) {
		for _, p := range x.Processes {
			sum += p.CPU()
		}
		return sum
	}
	before, start := used(), time.Now()
	<-time.After(c.z.Round)
	c.add(of, "doing nothing", "% of a core, all nodes", n, 100*(used()-before).Seconds()/time.Since(start).Seconds(), "")
	for _, enforced := range []bool{false, true} {
		w := &writer{one: func(ctx context.Context, _ int, jti string) error {
			_, err := admin.Revoke(ctx, client.RevokeRequest{Target: "jti", Issuer: tokens.Issuer, Value: jti}, enforced, commitLimit)
			return err
		}}
		var alone, many bench.Latencies
		if _, err := w.round(ctx, 1, fmt.Sprint("one", enforced), c.z.Round, &alone); err != nil {
			return err
		}
		if enforced {
			c.add(of, "one revocation, until all nodes have said that they enforce it", "ms", n, float64(alone.At(0.5).Microseconds())/1000, "all nodes on these cores and on one disk.")
			continue
		}
		c.add(of, "one revocation, until committed", "ms", n, float64(alone.At(0.5).Microseconds())/1000, "")
		before := used()
		rate, err := w.round(ctx, connections, "many", c.z.Round, &many)
		if err != nil {
			return err
		}
		c.add(of, "a revocation from 64 writers", "ms of processor, all nodes", n, 1000*(used()-before).Seconds()/(rate*c.z.Round.Seconds()), "")
	}
	return nil
}

// connections rise on one node, at one rate.
func (c *curves) connections(ctx context.Context) error {
	const rate = 2000
	_, s, _, err := c.alone(ctx)
	if err != nil {
		return err
	}
	for _, n := range c.z.Conns {
		c.m.Say("  %d connections", n)
		before := s.process.CPU()
		spec := s.spec(n, rate, c.z.Round)
		// Every connection has been used before anything is counted.
		spec.Warmup = max(spec.Warmup, time.Duration(1.5*float64(n)/rate*float64(time.Second)))
		got, err := put(ctx, c.m, spec)
		if err != nil {
			return err
		}
		c.add("connections", "a validation over HTTP", "us of processor", n, float64((s.process.CPU()-before).Microseconds())/(rate*(spec.Warmup+spec.Duration).Seconds()), "2,000 a second, whatever the number of connections; opening them is in it.")
		c.add("connections", "p99", "ms", n, float64(got.Latency.P99)/1000, "")
		c.add("connections", "memory", "MiB", n, float64(s.process.Memory())/(1<<20), "the whole process, with those connections just closed.")
	}
	return nil
}
