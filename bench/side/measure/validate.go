package measure

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	etcd "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"veto/bench/side/machine"
	"veto/bench/side/peers"
	"veto/bench/side/tokens"
	"veto/client"
)

// Sizes are how long and how much is measured.
type Sizes struct {
	Rounds int
	Round  time.Duration
	// Step is how long each rate of the open loop is held.
	Step time.Duration
	// Steps is how many rates there are, evenly up to the top; 0 for as many as doubling takes.
	Steps int `json:",omitempty"`
	// Tokens are how many good ones there are, asked about in turn.
	Tokens int
	// Revoked is how many revocations there are while validations are measured.
	Revoked int
}

// Validate is the section on validations.
type Validate struct {
	Sizes   Sizes     `json:"sizes"`
	Cases   []string  `json:"cases"`
	Systems []Measure `json:"systems"`
}

// Measure is what was measured of one system.
type Measure struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	About string `json:"about"`
	// Rates are answers a second in the closed loop, a round each; CPU and StoreCPU microseconds of processor
	// time for each answer, of what answers and of the store that it asks; Busy the generator's share of its core.
	Rates    []float64 `json:"rates"`
	CPU      []float64 `json:"cpu_us"`
	StoreCPU []float64 `json:"store_cpu_us"`
	Busy     []float64 `json:"busy"`
	// Open are the rates of the open loop, rising.
	Open []Loaded `json:"open"`
}

const (
	connections = 64
	goodTokens  = 1000
	// openFrom is the lowest rate of the open loop; each next is twice it.
	openFrom = 500
	// most is the share of a system's own throughput that the open loop goes to.
	most = 0.9
)

// RunValidate measures validations.
func RunValidate(ctx context.Context, m *machine.Machine, z Sizes) (*Validate, error) {
	all, cases, err := startAll(ctx, m, z)
	if err != nil {
		return nil, err
	}
	v := &Validate{Sizes: z, Cases: cases}
	for _, s := range all {
		v.Systems = append(v.Systems, Measure{Name: s.name, Title: s.title, About: s.about})
	}
	for _, s := range all { // so that nothing is done for the first time while it counts
		if _, err := put(ctx, m, s.spec(connections, 0, z.Round/2)); err != nil {
			return nil, err
		}
	}
	for round := range z.Rounds {
		m.Say("  closed loop, round %d of %d", round+1, z.Rounds)
		for i, s := range all {
			if err := v.Systems[i].closed(ctx, m, s, z.Round); err != nil {
				return nil, err
			}
		}
	}
	for i, s := range all {
		top := most * median(v.Systems[i].Rates)
		m.Say("  open loop, %s: to %.0f a second", s.title, top)
		for _, rate := range rates(top, z.Steps) {
			got, err := put(ctx, m, s.spec(connections, rate, z.Step))
			if err != nil {
				return nil, err
			}
			v.Systems[i].Open = append(v.Systems[i].Open, got)
		}
	}
	return v, nil
}

// rates double up to the top, which is the last; or there are so many, evenly.
func rates(top float64, steps int) (all []float64) {
	for i := range steps {
		all = append(all, top*float64(i+1)/float64(steps))
	}
	if steps > 0 {
		return all
	}
	for r := float64(openFrom); r < top*0.8; r *= 2 {
		all = append(all, r)
	}
	return append(all, top)
}

func (x *Measure) closed(ctx context.Context, m *machine.Machine, s *system, round time.Duration) error {
	spec := s.spec(connections, 0, round)
	began, stored := s.process.CPU(), time.Duration(0)
	if s.store != nil {
		stored = s.store.CPU()
	}
	got, err := put(ctx, m, spec)
	if err != nil {
		return err
	}
	answers := got.Rate * (spec.Warmup + spec.Duration).Seconds() // those of the warm-up, too
	x.Rates, x.Busy = append(x.Rates, got.Rate), append(x.Busy, got.Busy)
	x.CPU = append(x.CPU, float64((s.process.CPU()-began).Microseconds())/answers)
	if s.store != nil {
		x.StoreCPU = append(x.StoreCPU, float64((s.store.CPU()-stored).Microseconds())/answers)
	}
	return nil
}

// ready is what all systems are made with.
type ready struct {
	m               *machine.Machine
	z               Sizes
	maker, stranger *tokens.Maker
	jwks            []byte
	good            []string
	denied          []string
	redis, etcd     *machine.Stored
}

func prepare(ctx context.Context, m *machine.Machine, z Sizes) (r *ready, err error) {
	r = &ready{m: m, z: z}
	if r.maker, err = tokens.New("RS256"); err != nil {
		return nil, err
	}
	if r.stranger, err = tokens.New("RS256"); err != nil {
		return nil, err
	}
	if r.jwks, err = r.maker.JWKS(); err != nil {
		return nil, err
	}
	for i := range z.Revoked {
		r.denied = append(r.denied, tokens.JTI(firstDenied+i))
	}
	return r, together(
		func() (err error) { r.redis, err = m.StartRedis(ctx, m.Store, "127.0.0.1", "everysec"); return err },
		func() (err error) {
			r.etcd, err = m.StartEtcd(ctx, m.Store, [3]string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, machine.Direct, machine.Nothing)
			return err
		},
		func() error {
			for i := range z.Tokens {
				t, err := r.maker.Token(i)
				if err != nil {
					return err
				}
				r.good = append(r.good, t)
			}
			return nil
		},
	)
}

// firstDenied is the number of the first token that is revoked.
const firstDenied = 1_000_000

// The most that etcd takes in one transaction, as it is set.
const etcdAtOnce = 128

func (r *ready) fill(ctx context.Context) error {
	c := redis.NewClient(&redis.Options{Addr: r.redis.Addresses[0]})
	defer c.Close()
	e, err := etcd.New(etcd.Config{Endpoints: r.etcd.Addresses, Context: ctx, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer e.Close()
	for part := range slices.Chunk(r.denied, etcdAtOnce) {
		var puts []etcd.Op
		pipe := c.Pipeline()
		for _, jti := range part {
			puts = append(puts, etcd.OpPut(peers.Prefix+jti, ""))
			pipe.Set(ctx, peers.Prefix+jti, 1, time.Hour)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		if _, err := e.Txn(ctx).Then(puts...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

// startAll starts all systems, at once, and holds each against what it must say.
func startAll(ctx context.Context, m *machine.Machine, z Sizes) (all []*system, cases []string, err error) {
	m.Say("  starting Redis and etcd, Veto twice, and %d peers, each with %d revocations", len(peerNames()), z.Revoked)
	r, err := prepare(ctx, m, z)
	if err != nil {
		return nil, nil, err
	}
	var veto, others []*system
	err = together(
		func() (err error) { veto, err = r.veto(ctx); return err },
		func() (err error) {
			if err = r.fill(ctx); err == nil { // first, as some read it when they start
				others, err = r.peers(ctx)
			}
			return err
		},
	)
	if err != nil {
		return nil, nil, err
	}
	all = append(veto, others...)
	for _, s := range all {
		if s.name == "introspection" || !s.judges {
			continue
		}
		if cases, err = judged(ctx, s, r.maker, r.stranger, firstDenied+z.Revoked/2); err != nil {
			return nil, nil, err
		}
	}
	return all, cases, r.introspection(ctx, all)
}

// introspection is held against its own tokens, and then asked about those that are good.
func (r *ready) introspection(ctx context.Context, all []*system) error {
	for _, s := range all {
		if s.name != "introspection" {
			continue
		}
		if _, err := judged(ctx, s, nil, nil, 0); err != nil {
			return err
		}
		s.tokens = s.tokens[:len(s.tokens)-1]
	}
	return nil
}

// veto starts two nodes, each alone: one as it comes, and one that remembers no tokens, so that every token
// is as if it had never been seen.
func (r *ready) veto(ctx context.Context) ([]*system, error) {
	start := func(name, title, about string, args ...string) (*system, *machine.Cluster, error) {
		c, err := r.m.StartVeto(ctx, machine.NodesOn(r.m.Server, 1, args...), nil)
		if err == nil {
			err = c.Trust(ctx, r.jwks)
		}
		if err == nil {
			err = c.Revoke(ctx, "bench", len(r.denied), func(i int) string { return r.denied[i] })
		}
		if err != nil {
			return nil, nil, err
		}
		revoke := func(ctx context.Context, jti string) error {
			_, err := c.Client().Revoke(ctx, client.RevokeRequest{Target: "jti", Issuer: tokens.Issuer, Value: jti}, false, 0)
			return err
		}
		return &system{
			name: name, title: title, about: about, address: c.Data[0], process: c.Processes[0], judges: true,
			request: bearer, allowed: `"outcome":"allow"`, tokens: r.good, revoke: revoke,
		}, c, nil
	}
	var warm, cold *system
	var c *machine.Cluster
	about := fmt.Sprintf("one node as it comes; %d tokens in turn, whose signatures it has verified before. Revocation, expiry and freshness are looked up each time.", r.z.Tokens)
	err := together(
		func() (err error) { warm, c, err = start("veto-warm", "Veto, tokens seen before", about); return err },
		func() (err error) {
			cold, _, err = start("veto-cold", "Veto, tokens never seen", "the same with token_cache_bytes = 0: every signature is verified.", "--token-cache-bytes", "0")
			return err
		},
	)
	if err != nil {
		return nil, err
	}
	secret, err := c.APIKey(ctx)
	if err != nil {
		return nil, err
	}
	key := *warm
	key.name, key.title, key.about, key.tokens = "veto-apikey", "Veto, an API key", "the first node, asked for an API key of 45 bytes.", []string{secret}
	for _, s := range []*system{warm, cold} {
		if err := s.process.Await(ctx, "allowing", func() bool { ok, err := s.asks(ctx, s.tokens[0]); return ok && err == nil }); err != nil {
			return nil, err
		}
	}
	return []*system{warm, cold, &key}, nil
}

// peerNames are those that validations are measured of, in the order of the report.
func peerNames() []string {
	return []string{peers.EmptyFast, "empty", "golang-jwt-etcd", "golang-jwt-cached", "golang-jwt-redis", "jwx-redis", "opa", "introspection"}
}

func (r *ready) peers(ctx context.Context) ([]*system, error) {
	names := peerNames()
	all := make([]*system, len(names))
	starts := make([]func() error, len(names))
	for i, name := range names {
		starts[i] = func() error {
			s, err := startPeer(ctx, r.m, r.m.Server, "127.0.0.1", name, peers.Config{JWKS: r.jwks, Redis: r.redis.Addresses[0], Etcd: r.etcd.Addresses}, r.denied)
			if err != nil {
				return err
			}
			if s.tokens == nil {
				s.tokens = r.good
			}
			if slices.Contains(peers.All()[name].Needs, "redis") {
				s.store = r.redis
			}
			all[i] = s
			return nil
		}
	}
	return all, together(starts...)
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("a peer cannot listen: %w", err)
	}
	return l, nil
}
