package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"veto/bench/side/machine"
	"veto/bench/side/tokens"
	"veto/test/relay"
)

// Denial is the section on how long a revocation takes to be enforced.
type Denial struct {
	Systems []Denied `json:"systems"`
}

// Denied is what was measured of one system.
type Denied struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	About string `json:"about"`
	Veto  bool   `json:"veto"`
	// At are what was found, by the delay between nodes.
	At []DeniedAt `json:"at"`
	// LeaderLostMS is from the request to the denial on all that are left, while the leader is gone; 0 if it was
	// not measured, below 0 if it was not denied at all within the limit.
	LeaderLostMS float64 `json:"leader_lost_ms"`
}

// DeniedAt are times in microseconds.
type DeniedAt struct {
	DelayMS float64 `json:"delay_ms"`
	Count   int     `json:"count"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Max     float64 `json:"max_us"`
}

// DenialSizes say how much is measured.
type DenialSizes struct {
	Delays []time.Duration
	// Counts are how many revocations, for each of the delays.
	Counts []int
	// Early are revocations that are not counted, until all connections are there.
	Early int
	// AtOnce is whether all are started before the first is measured, and not each when its turn comes.
	AtOnce bool
	// Lose is whether it is measured while the leader is gone, too.
	Lose bool
	// Cached is whether the minute is waited for that a cache keeps what it was told.
	Cached bool
	// Limit is how long is waited for a denial.
	Limit time.Duration
}

const (
	// pause is how long after an answer the next question is asked.
	pause = 100 * time.Microsecond
	// commitLimit is how long is waited for a receipt.
	commitLimit = 10 * time.Second
)

// RunDenial measures the time to denial.
func RunDenial(ctx context.Context, m *machine.Machine, z DenialSizes) (*Denial, error) {
	maker, err := tokens.New("RS256")
	if err != nil {
		return nil, err
	}
	jwks, err := maker.JWKS()
	if err != nil {
		return nil, err
	}
	d := &Denial{Systems: []Denied{
		{Name: "veto", Title: "Veto", Veto: true, About: "three voters. A revocation is told to all as soon as it is taken, ahead of the log."},
		{Name: "etcd", Title: "golang-jwt + etcd's watch", About: "three members, and three servers with a map fed by the watch of the member in their region."},
		{Name: "redis", Title: "golang-jwt + Redis pub/sub", About: "one Redis in the first region, where nothing has to be agreed on, and three servers that subscribe. What is published while a connection is broken is lost."},
	}}
	var all []*trial
	for i, make := range []distant{vetoApart, etcdApart, redisApart("golang-jwt-pubsub")} {
		for k := range z.Delays {
			all = append(all, &trial{of: &d.Systems[i], make: make, k: k, m: m, z: z, maker: maker, jwks: jwks})
		}
	}
	atOnce := 1
	if z.AtOnce {
		atOnce = len(all)
	}
	for some := range slices.Chunk(all, atOnce) {
		if err := inTurn(ctx, m, some); err != nil {
			return nil, err
		}
	}
	if z.Cached {
		cached := Denied{Name: "cached", Title: "golang-jwt + Redis, cached for 60 s", About: "as measured for validations: what a server has asked about lives on for as long as it keeps the answer."}
		m.Say("  %s: this takes a minute", cached.Title)
		if err := cached.wait(ctx, m, maker, jwks); err != nil {
			return nil, err
		}
		d.Systems = append(d.Systems, cached)
	}
	return d, nil
}

// trial is one system at one delay.
type trial struct {
	of    *Denied
	make  distant
	k     int
	m     *machine.Machine
	z     DenialSizes
	maker *tokens.Maker
	jwks  []byte

	relay *relay.Relay
	nodes *apart
}

func (t *trial) delay() time.Duration { return t.z.Delays[t.k] }

// inTurn starts them at once, measures one after the other, and stops them.
func inTurn(ctx context.Context, m *machine.Machine, all []*trial) error {
	defer m.StopAll()
	var starts []func() error
	for _, t := range all {
		t.relay = relay.New(t.delay())
		defer t.relay.Close()
		m.Say("  starting %s, %s one way", t.of.Title, t.delay())
		starts = append(starts, func() (err error) {
			if t.nodes, err = t.make(ctx, m, t.jwks, t.relay, t.delay()); err != nil {
				err = fmt.Errorf("%s: %w", t.of.Title, err)
			}
			return err
		})
	}
	if err := together(starts...); err != nil {
		return err
	}
	for _, t := range all {
		m.Say("  %s, %s one way", t.of.Title, t.delay())
		if err := t.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", t.of.Title, err)
		}
	}
	return nil
}

func (t *trial) measure(ctx context.Context) error {
	count, early := t.z.Counts[t.k], t.z.Early
	var all []float64
	for i := range count + early {
		took, err := t.nodes.denied(ctx, t.maker, i, i%regions, []int{0, 1, 2}, commitLimit)
		if err != nil {
			return err
		}
		if i >= early {
			all = append(all, float64(took.Microseconds()))
		}
	}
	slices.Sort(all)
	at := func(share float64) float64 { return all[min(int(share*float64(len(all))), len(all)-1)] }
	t.of.At = append(t.of.At, DeniedAt{DelayMS: float64(t.delay().Milliseconds()), Count: count, P50: at(0.5), P99: at(0.99), Max: at(1)})
	if t.k > 0 || !t.z.Lose {
		return nil
	}
	left, err := t.nodes.lose(ctx)
	if err != nil {
		return err
	}
	took, err := t.nodes.denied(ctx, t.maker, count+early, left[0], left, t.z.Limit)
	t.of.LeaderLostMS = float64(took.Microseconds()) / 1000
	if err != nil && ctx.Err() == nil { // it never was, which is a finding
		t.of.LeaderLostMS = -1
	}
	return ctx.Err()
}

// denied revokes the n-th token in a region and gives the time until all of some nodes deny it.
func (x *apart) denied(ctx context.Context, maker *tokens.Maker, n, region int, nodes []int, limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	token, err := maker.Token(n)
	if err != nil {
		return 0, err
	}
	for _, i := range nodes {
		if err := x.nodes[i].await(ctx, token, true); err != nil {
			return 0, fmt.Errorf("a good token: %w", err)
		}
	}
	start := time.Now()
	said := make(chan error, len(nodes)+1)
	for _, i := range nodes {
		go func() { said <- x.nodes[i].await(ctx, token, false) }()
	}
	revoked := make(chan error, 1)
	go func() { revoked <- x.revoke(ctx, region, tokens.JTI(n)) }()
	var failed error
	for range nodes {
		failed = errors.Join(failed, <-said)
	}
	took := time.Since(start)
	return took, errors.Join(failed, <-revoked)
}

// await asks until the answer is the one that is waited for.
func (s *system) await(ctx context.Context, token string, allowed bool) error {
	alarm, err := relay.NewAlarm()
	if err != nil {
		return err
	}
	defer func() { _ = alarm.Close() }()
	for {
		got, err := s.asks(ctx, token)
		if err != nil || got == allowed {
			return err
		}
		if err := alarm.Wait(pause); err != nil {
			return err
		}
	}
}

// wait finds out how long tokens live on in a cache: some are asked about, and revoked at once.
func (d *Denied) wait(ctx context.Context, m *machine.Machine, maker *tokens.Maker, jwks []byte) error {
	defer m.StopAll()
	x, err := redisApart("golang-jwt-cached")(ctx, m, jwks, nil, 0)
	if err != nil {
		return err
	}
	const count = 9
	type answer struct {
		took time.Duration
		err  error
	}
	said := make(chan answer, count)
	for n := range count {
		token, err := maker.Token(n)
		if err != nil {
			return err
		}
		for _, s := range x.nodes {
			if _, err := s.asks(ctx, token); err != nil {
				return err
			}
		}
		start := time.Now()
		if err := x.revoke(ctx, n%regions, tokens.JTI(n)); err != nil {
			return err
		}
		go func() { said <- answer{err: x.gone(ctx, token), took: time.Since(start)} }()
	}
	var all []float64
	for range count {
		a := <-said
		if a.err != nil {
			return a.err
		}
		all = append(all, float64(a.took.Microseconds()))
	}
	slices.Sort(all)
	d.At = []DeniedAt{{Count: count, P50: all[count/2], P99: all[count-1], Max: all[count-1]}}
	return nil
}

// gone waits, asking ten times a second, until all nodes deny.
func (x *apart) gone(ctx context.Context, token string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for _, s := range x.nodes {
		for {
			allowed, err := s.asks(ctx, token)
			if err != nil {
				return err
			}
			if !allowed {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	}
	return nil
}
