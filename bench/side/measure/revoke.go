package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	etcd "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"veto/bench"
	"veto/bench/side/machine"
	"veto/bench/side/peers"
	"veto/bench/side/tokens"
	"veto/client"
	"veto/record"
)

// Revoke is the section on committing revocations.
type Revoke struct {
	Systems []Revoked `json:"systems"`
}

// Revoked is what was measured of one system.
type Revoked struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	About string `json:"about"`
	// Loses says what is lost of what was answered, when one machine stops.
	Loses string `json:"loses"`
	// At are what was found, by the number of writers.
	At []RevokedAt `json:"at"`
	// Bulk is a second, by the way that the system has for many at once.
	Bulk []float64 `json:"bulk"`
}

// RevokedAt are the rounds with so many writers.
type RevokedAt struct {
	Writers int       `json:"writers"`
	Rates   []float64 `json:"rates"`
	// CPU is microseconds of processor time for each, of all that commits it, without who asks.
	CPU []float64 `json:"cpu_us"`
	P50 float64   `json:"p50_us"`
	P99 float64   `json:"p99_us"`
}

// RevokeSizes say how much is measured.
type RevokeSizes struct {
	Rounds  int
	Round   time.Duration
	Writers []int
	// Bulk is how many are revoked at once.
	Bulk int
}

// writer commits revocations, from as many callers at once as there are.
type writer struct {
	revoked Revoked
	// one revokes a jti and waits until that is committed. The number is the caller's.
	one func(ctx context.Context, caller int, jti string) error
	// bulk revokes many.
	bulk func(ctx context.Context, round int, jtis []string) error
	// cpu is what its processes have used.
	cpu func() time.Duration
}

// RunRevoke measures how many revocations are committed.
func RunRevoke(ctx context.Context, m *machine.Machine, z RevokeSizes) (*Revoke, error) {
	starts := []func(context.Context, *machine.Machine) (*writer, error){
		vetoWriter, etcdWriter, redisWriter("always", "nothing that was answered, but everything with its disk"),
		redisWriter("everysec", "up to a second of what was answered, and everything with its disk"),
	}
	all := make([]*writer, len(starts))
	var at []func() error
	for i, start := range starts {
		at = append(at, func() (err error) { all[i], err = start(ctx, m); return err })
	}
	if err := together(at...); err != nil {
		return nil, err
	}
	for _, n := range z.Writers {
		m.Say("  %d writers", n)
		latency := make([]bench.Latencies, len(all))
		for _, w := range all {
			w.revoked.At = append(w.revoked.At, RevokedAt{Writers: n})
		}
		for round := range z.Rounds {
			for i, w := range all {
				before, start := w.cpu(), time.Now()
				rate, err := w.round(ctx, n, fmt.Sprintf("%d-%d", n, round), z.Round, &latency[i])
				if err != nil {
					return nil, fmt.Errorf("%s: %w", w.revoked.Title, err)
				}
				at := &w.revoked.At[len(w.revoked.At)-1]
				at.Rates = append(at.Rates, rate)
				at.CPU = append(at.CPU, float64((w.cpu()-before).Microseconds())/(rate*time.Since(start).Seconds()))
				at.P50, at.P99 = float64(latency[i].At(0.5).Microseconds()), float64(latency[i].At(0.99).Microseconds())
			}
		}
	}
	for round := range z.Rounds {
		m.Say("  %d at once, round %d of %d", z.Bulk, round+1, z.Rounds)
		for _, w := range all {
			jtis := make([]string, z.Bulk)
			for i := range jtis {
				jtis[i] = tokens.JTI(firstDenied + round*z.Bulk + i)
			}
			start := time.Now()
			if err := w.bulk(ctx, round, jtis); err != nil {
				return nil, fmt.Errorf("%s: %w", w.revoked.Title, err)
			}
			w.revoked.Bulk = append(w.revoked.Bulk, float64(z.Bulk)/time.Since(start).Seconds())
		}
	}
	r := &Revoke{}
	for _, w := range all {
		r.Systems = append(r.Systems, w.revoked)
	}
	return r, nil
}

// round has so many callers, each of whom revokes as soon as the last is committed. It is the closed loop: a
// program that waits for its receipt.
func (w *writer) round(ctx context.Context, callers int, name string, long time.Duration, latency *bench.Latencies) (float64, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	done, start := 0, time.Now()
	for caller := range callers {
		wg.Go(func() {
			var own bench.Latencies
			n := 0
			for ; time.Since(start) < long; n++ {
				began := time.Now()
				if err := w.one(ctx, caller, fmt.Sprintf("%s-%d-%d", name, caller, n)); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				own.Add(time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			latency.Merge(&own)
			done += n
		})
	}
	wg.Wait()
	return float64(done) / time.Since(start).Seconds(), failed
}

func vetoWriter(ctx context.Context, m *machine.Machine) (*writer, error) {
	c, err := m.StartVeto(ctx, machine.NodesOn("", regions), nil)
	if err != nil {
		return nil, err
	}
	maker, err := tokens.New("EdDSA")
	if err != nil {
		return nil, err
	}
	jwks, err := maker.JWKS()
	if err == nil {
		err = c.Trust(ctx, jwks)
	}
	if err != nil {
		return nil, err
	}
	var clients []*client.Client
	for i := range regions {
		clients = append(clients, c.Client(i))
	}
	w := &writer{cpu: func() time.Duration { return (&machine.Stored{Processes: c.Processes}).CPU() }, revoked: Revoked{
		Name: "veto", Title: "Veto", Loses: "nothing that was answered as committed",
		About: "three nodes, each asked by a third of the writers over HTTP, with TLS between them, an audit trail, and a copy in the outbox of who took it; a stream of lines for many.",
	}}
	w.one = func(ctx context.Context, caller int, jti string) error {
		got, err := clients[caller%regions].Revoke(ctx, client.RevokeRequest{Target: "jti", Issuer: tokens.Issuer, Value: jti}, false, commitLimit)
		if err == nil && got.State != record.StateCommitted {
			err = fmt.Errorf("it is %s", got.State)
		}
		return err
	}
	w.bulk = func(ctx context.Context, round int, jtis []string) error {
		return c.Revoke(ctx, fmt.Sprintf("bulk-%d", round), len(jtis), func(i int) string { return jtis[i] })
	}
	return w, nil
}

func etcdWriter(ctx context.Context, m *machine.Machine) (*writer, error) {
	s, err := m.StartEtcd(ctx, "", [3]string{host(6, 0), host(6, 1), host(6, 2)}, machine.Direct, machine.Nothing)
	if err != nil {
		return nil, err
	}
	var clients []*etcd.Client
	for i := range regions {
		c, err := etcd.New(etcd.Config{Endpoints: s.Addresses[i : i+1], Context: ctx, Logger: zap.NewNop()})
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	w := &writer{cpu: s.CPU, revoked: Revoked{
		Name: "etcd", Title: "etcd", Loses: "nothing that was answered",
		About: "three members without TLS, each asked by a third of the writers over its client; transactions of 128 puts from 16 writers for many.",
	}}
	w.one = func(ctx context.Context, caller int, jti string) error {
		_, err := clients[caller%regions].Put(ctx, peers.Prefix+jti, "")
		return err
	}
	w.bulk = func(ctx context.Context, _ int, jtis []string) error {
		return chunked(jtis, etcdAtOnce, 16, func(caller int, part []string) error {
			var puts []etcd.Op
			for _, jti := range part {
				puts = append(puts, etcd.OpPut(peers.Prefix+jti, ""))
			}
			_, err := clients[caller%regions].Txn(ctx).Then(puts...).Commit()
			return err
		})
	}
	return w, nil
}

func redisWriter(fsync, loses string) func(context.Context, *machine.Machine) (*writer, error) {
	return func(ctx context.Context, m *machine.Machine) (*writer, error) {
		s, err := m.StartRedis(ctx, "", "127.0.0.1", fsync)
		if err != nil {
			return nil, err
		}
		c := redis.NewClient(&redis.Options{Addr: s.Addresses[0], PoolSize: 512})
		w := &writer{cpu: s.CPU, revoked: Revoked{
			Name: "redis-" + fsync, Title: "Redis, appendfsync " + fsync, Loses: loses,
			About: "one process, no replica: SET with an expiry; pipelines of 1,000 for many.",
		}}
		w.one = func(ctx context.Context, _ int, jti string) error {
			return c.Set(ctx, peers.Prefix+jti, 1, time.Hour).Err()
		}
		w.bulk = func(ctx context.Context, _ int, jtis []string) error {
			return chunked(jtis, 1000, 4, func(_ int, part []string) error {
				pipe := c.Pipeline()
				for _, jti := range part {
					pipe.Set(ctx, peers.Prefix+jti, 1, time.Hour)
				}
				_, err := pipe.Exec(ctx)
				return err
			})
		}
		return w, nil
	}
}

// chunked hands parts of them to callers.
func chunked(all []string, size, callers int, do func(caller int, part []string) error) error {
	parts := make(chan []string)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for part := range parts {
				errs[caller] = errors.Join(errs[caller], do(caller, part))
			}
		})
	}
	for part := range slices.Chunk(all, size) {
		parts <- part
	}
	close(parts)
	wg.Wait()
	return errors.Join(errs...)
}
