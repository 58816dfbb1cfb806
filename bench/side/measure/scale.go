package measure

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
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
	// Replicas are beside three voters.
	Replicas []int
}

// curves collects points.
type curves struct {
	m     *machine.Machine
	z     ScaleSizes
	order []string
	all   map[string]*Curve
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
	c := &curves{m: m, z: z, all: map[string]*Curve{}}
	for _, part := range []func(context.Context) error{c.revocations, c.keys, c.issuers, c.voters, c.replicas, c.connections} {
		err := part(ctx)
		m.StopAll()
		if err != nil {
			return nil, err
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

// alone is a node that trusts the issuer, and is asked about good tokens.
func (c *curves) alone(ctx context.Context, args ...string) (*machine.Cluster, *system, error) {
	maker, err := tokens.New("EdDSA")
	if err != nil {
		return nil, nil, err
	}
	jwks, err := maker.JWKS()
	if err != nil {
		return nil, nil, err
	}
	x, err := c.m.StartVeto(ctx, machine.NodesOn(c.m.Server, 1, args...), nil)
	if err == nil {
		err = x.Trust(ctx, jwks)
	}
	if err != nil {
		return nil, nil, err
	}
	s := &system{name: "veto", address: x.Data[0], process: x.Processes[0], request: bearer, allowed: `"outcome":"allow"`}
	for i := range goodTokens {
		t, err := maker.Token(i)
		if err != nil {
			return nil, nil, err
		}
		s.tokens = append(s.tokens, t)
	}
	return x, s, s.process.Await(ctx, "allowing", func() bool { ok, err := s.asks(ctx, s.tokens[0]); return ok && err == nil })
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

// revocations rise on one node, which is then started again.
func (c *curves) revocations(ctx context.Context) error {
	x, s, err := c.alone(ctx)
	if err != nil {
		return err
	}
	const of = "revocations"
	empty, have := s.process.Memory(), 0
	for _, n := range c.z.Revocations {
		c.m.Say("  %d revocations", n)
		var jtis []string
		for i := have; i < n; i++ {
			jtis = append(jtis, tokens.JTI(firstDenied+i))
		}
		start := time.Now()
		if err := x.Revoke(ctx, fmt.Sprintf("to-%d", n), jtis); err != nil {
			return err
		}
		taken := time.Since(start)
		c.add(of, "taking them, a million", "s", n, taken.Seconds()/float64(n-have)*1e6, "as a stream into one node, parsing and logging on one core.")
		have = n
		cost, err := c.cpu(ctx, s)
		if err != nil {
			return err
		}
		c.add(of, "a validation over HTTP", "us of processor", n, cost, "tokens that are not revoked, seen before.")
		start = time.Now()
		if err := x.Client().Export(ctx, io.Discard); err != nil {
			return err
		}
		c.add(of, "export of all", "s", n, time.Since(start).Seconds(), "as lines of JSON, over HTTP.")
		x.Processes[0].Stop()
		start = time.Now()
		if err := errors.Join(x.StartNode(0), x.AwaitReady(ctx, 0)); err != nil {
			return err
		}
		s.process = x.Processes[0]
		c.add(of, "restart until it answers", "s", n, time.Since(start).Seconds(), "")
		c.add(of, "memory after the restart", "MiB", n, float64(s.process.Memory())/(1<<20), fmt.Sprintf("the whole process; %d MiB when it was empty.", empty>>20))
	}
	return nil
}

// keys rise on one node, one by one, as hashes of secrets that are known.
func (c *curves) keys(ctx context.Context) error {
	x, s, err := c.alone(ctx)
	if err != nil {
		return err
	}
	if _, err := x.Client().PutConsumer(ctx, "bench", client.ConsumerFields{Name: "bench"}); err != nil {
		return err
	}
	admin, have := x.Client(), 0
	s.tokens = nil
	for _, n := range c.z.Keys {
		c.m.Say("  %d API keys", n)
		var secrets []string
		for i := have; i < n; i++ {
			secrets = append(secrets, fmt.Sprintf("an-old-secret-of-another-system-%d", i))
		}
		start := time.Now()
		err := chunked(secrets, 50, 64, func(_ int, part []string) error {
			for _, secret := range part {
				sum := sha256.Sum256([]byte(secret))
				if _, err := admin.CreateKey(ctx, client.KeyFields{Consumer: "bench", SHA256: hex.EncodeToString(sum[:])}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		c.add("API keys", "making one, from 64 callers", "ms", n, 1000*time.Since(start).Seconds()/float64(n-have), "by POST /v1/keys; what a key costs to check among ten million is measured by `go test ./node -bench APIKeys -keys 10000000`.")
		have, s.tokens = n, append(s.tokens, secrets[:min(len(secrets), goodTokens)]...)
		cost, err := c.cpu(ctx, s)
		if err != nil {
			return err
		}
		c.add("API keys", "a validation over HTTP", "us of processor", n, cost, "")
		c.add("API keys", "memory", "MiB", n, float64(s.process.Memory())/(1<<20), "the whole process.")
	}
	return nil
}

// issuers rise on one node.
func (c *curves) issuers(ctx context.Context) error {
	x, s, err := c.alone(ctx)
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
		c.m.Say("  %d voters", n)
		if err := c.nodes(ctx, "voters", n, machine.NodesOn("", n)); err != nil {
			return err
		}
	}
	return nil
}

func (c *curves) replicas(ctx context.Context) error {
	for _, n := range c.z.Replicas {
		c.m.Say("  %d replicas beside 3 voters", n)
		all := machine.NodesOn("", 3+n)
		all.Replicas = n
		if err := c.nodes(ctx, "replicas beside 3 voters", n, all); err != nil {
			return err
		}
	}
	return nil
}

// nodes measures a cluster of so many.
func (c *curves) nodes(ctx context.Context, of string, n int, all machine.Nodes) error {
	defer c.m.StopAll()
	x, err := c.m.StartVeto(ctx, all, nil)
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
	_, s, err := c.alone(ctx, "--max-connections", "20000")
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
