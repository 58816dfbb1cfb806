package load

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"veto/client"
	"veto/record"
)

const (
	askers = 32
	phase  = 3 * time.Second
)

var flooders = flag.Int("flooders", 24, "how many flood, beside the import")

var part = flag.Float64("part", 0.5, "of what one node can answer at most, how much is asked")

// BenchmarkFlood measures, in each round, the p99 of validations at half of what one node can do at most (-part): quiet, and
// while its control plane is flooded and revocations are imported in bulk. Latency is counted from when a
// question was due, whether or not whoever asks was held up. Aim: at most 3 times the quiet one, the median of the rounds.
func BenchmarkFlood(b *testing.B) {
	c := start(b, time.Hour)
	tok := c.token("asked", time.Now(), 50*time.Minute)
	full := c.closed(tok, 2*time.Second)
	b.Logf("full load: %.0f validations a second, by %d who ask without a pause", full, askers)
	var quiet, flooded, ratios []float64
	for round := 0; b.Loop(); round++ {
		q := p99(c.open(tok, full*(*part), phase))
		stop := c.flood(round)
		f := p99(c.open(tok, full*(*part), phase))
		did := stop()
		b.Logf("quiet %.2f ms, flooded %.2f ms: %.2fx; meanwhile %s", q, f, f/q, did)
		quiet, flooded, ratios = append(quiet, q), append(flooded, f), append(ratios, f/q)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(quiet), "ms-quiet-p99")
	b.ReportMetric(median(flooded), "ms-flooded-p99")
	b.ReportMetric(median(ratios), "x-quiet")
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// p99 is in milliseconds.
func p99(of []time.Duration) float64 {
	slices.Sort(of)
	return float64(of[len(of)*99/100]) / float64(time.Millisecond)
}

// asker asks the first node about the token, over a connection of its own.
func (c *cluster) asker(tok string) (ask func(), end func()) {
	h := &fasthttp.HostClient{Addr: strings.TrimPrefix(c.data(0), "http://"), MaxConns: 1}
	q, a := new(fasthttp.Request), new(fasthttp.Response)
	q.SetRequestURI(c.data(0) + "/v1/validate")
	q.Header.SetMethod("POST")
	q.Header.Set("Authorization", "Bearer "+tok)
	return func() {
		if err := h.Do(q, a); err != nil || a.StatusCode() != 200 || !strings.Contains(string(a.Body()), `"outcome":"allow"`) {
			c.Errorf("%v %d %s", err, a.StatusCode(), a.Body())
		}
	}, h.CloseIdleConnections
}

// closed has all ask as fast as they are answered, and says how many a second were.
func (c *cluster) closed(tok string, during time.Duration) float64 {
	var count atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range askers {
		wg.Go(func() {
			ask, end := c.asker(tok)
			defer end()
			for time.Since(begin) < during {
				ask()
				count.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(count.Load()) / time.Since(begin).Seconds()
}

// open asks so often a second whatever becomes of it, and gives how long each answer took from when it was due.
func (c *cluster) open(tok string, rate float64, during time.Duration) []time.Duration {
	all := make([][]time.Duration, askers)
	var wg sync.WaitGroup
	begin := time.Now().Add(50 * time.Millisecond)
	every := time.Duration(float64(time.Second) * askers / rate)
	end := begin.Add(3 * during) // who is so far behind asks no more
	for w := range askers {
		wg.Go(func() {
			ask, hangUp := c.asker(tok)
			defer hangUp()
			ask() // connects
			for due := begin.Add(every * time.Duration(w) / askers); due.Sub(begin) < during && time.Now().Before(end); due = due.Add(every) {
				if wait := time.Until(due); wait > 0 {
					<-time.After(wait)
				}
				ask()
				all[w] = append(all[w], time.Since(due))
			}
		})
	}
	wg.Wait()
	return slices.Concat(all...)
}

// did counts what a flood did.
type did struct{ keys, revoked, listed, exported, lines, refused atomic.Int64 }

func (d *did) String() string {
	return fmt.Sprintf("%d keys made, %d revocations, %d lists, %d exports, %d lines imported, %d refused",
		d.keys.Load(), d.revoked.Load(), d.listed.Load(), d.exported.Load(), d.lines.Load(), d.refused.Load())
}

// flood has many change, list and export at the node that is asked, and imports in bulk there, until it is told to stop. They
// are in a process of their own, as who asks must not wait for them: only the nodes may be what is slow.
func (c *cluster) flood(round int) (stop func() string) {
	c.Helper()
	cmd := exec.Command("nice", "-n", "19", os.Args[0], "-test.run", "^TestFloodClients$", "-test.v", fmt.Sprintf("-flooders=%d", *flooders))
	cmd.Env = append(os.Environ(), floodAt+"="+c.control(0), floodToken+"="+c.admin, fmt.Sprintf("%s=%d", floodRound, round))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.Fatal(err)
	}
	return func() string {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			c.Errorf("who floods: %v %s", err, &out)
		}
		_, said, _ := strings.Cut(out.String(), "did: ")
		said, _, _ = strings.Cut(said, "\n")
		return said
	}
}

const floodAt, floodToken, floodRound = "VETO_FLOOD_AT", "VETO_FLOOD_TOKEN", "VETO_FLOOD_ROUND"

// TestFloodClients is the process of BenchmarkFlood that floods. It is as nice as can be: elsewhere it would have
// processors of its own.
func TestFloodClients(t *testing.T) {
	if os.Getenv(floodAt) == "" {
		t.Skip("it is BenchmarkFlood's")
	}
	ctx, cancel := context.WithCancel(t.Context())
	d, round := new(did), os.Getenv(floodRound)
	at := client.New(client.Options{
		Control: []string{os.Getenv(floodAt)}, Token: os.Getenv(floodToken),
		HTTP: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	})
	var wg sync.WaitGroup
	count := func(n *atomic.Int64, err error) {
		if err == nil {
			n.Add(1)
		} else if ctx.Err() == nil {
			d.refused.Add(1)
		}
	}
	for f := range *flooders {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("%s-%d-%d", round, f, i)
				switch f % 4 {
				case 0:
					_, err := at.CreateKey(ctx, client.KeyFields{Name: name, Roles: []record.Role{record.RoleValidator}})
					count(&d.keys, err)
				case 1:
					_, err := at.Revoke(ctx, client.RevokeRequest{Target: "jti", Issuer: issuer, Value: name}, false, 0)
					count(&d.revoked, err)
				case 2:
					_, err := at.Keys(ctx, record.KeyQuery{}, client.List{Limit: 100})
					count(&d.listed, err)
				case 3:
					count(&d.exported, at.Export(ctx, io.Discard))
				}
			}
		})
	}
	wg.Go(func() {
		key := "bulk-" + round
		_, err := at.RevokeAll(ctx, key, func() (io.ReadCloser, error) { return io.NopCloser(&lines{key: key}), nil }, func(p client.Progress) {
			d.lines.Store(int64(max(p.Through, uint64(d.lines.Load()))))
		})
		if ctx.Err() == nil {
			t.Errorf("the import: %v", err)
		}
	})
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is closed
	cancel()
	wg.Wait()
	t.Logf("did: %s", d)
}

// lines are revocations without an end.
type lines struct {
	key  string
	n    int
	rest []byte
}

func (l *lines) Read(b []byte) (int, error) {
	for len(l.rest) < len(b) && len(l.rest) < 16<<10 {
		l.n++
		l.rest = fmt.Appendf(l.rest, `{"target":"jti","issuer":%q,"value":"%s-%d"}`+"\n", issuer, l.key, l.n)
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}
