package load

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"veto/client"
	"veto/record"
)

var soak = flag.Duration("soak", 20*time.Second, "how long the cluster is under load; a minute is ten hours of its clock")

const (
	fast        = 600 // times as fast as they should run the nodes' clocks do
	tick        = 100 * time.Millisecond
	lifetime    = time.Hour
	sampleEvery = 500 * time.Millisecond
	importLines = 10_000
	importEvery = 5 * time.Second
	askAtOnce   = 100
	flushed     = 8
	mib         = 1 << 20
)

// bounds are what each thing may grow by, of what is there. Shorter than some minutes nothing is full yet.
func bounds() map[string]allowed {
	slack := 1.0
	if *soak < 5*time.Minute {
		slack = 4
	}
	return map[string]allowed{
		"process_resident_memory_bytes": {0.15, slack * 48 * mib},
		"go_memstats_next_gc_bytes":     {0.15, slack * 48 * mib},
		"go_goroutines":                 {0.1, 40},
		"veto_revocations":              {0.25, slack * 3 * importLines},
		"veto_index_bytes":              {0.25, slack * 4 * mib},
		"state":                         {0.2, flushed * 64 * mib}, // so many tables are flushed before they are merged: replication/store
		"state, its log":                {0.2, 6 * 64 * mib},       // as many files, of what fills a table, are used again and again
		"outbox":                        {0.2, slack * 16 * mib},
		"descriptors":                   {0.1, 16},
	}
}

// S1
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: the soak takes " + soak.String())
	}
	c := start(t, lifetime, "--max-staleness", "1h", "--log-level", "error")
	ctx, cancel := context.WithTimeout(t.Context(), *soak)
	defer cancel()
	l := &soaking{cluster: c, began: time.Now()}
	var work sync.WaitGroup
	for _, f := range []func(context.Context, int){l.ask, l.ask, l.revoke, l.revoke, l.keys, l.watch, l.importBulk, l.export} {
		for i := range nodes {
			work.Go(func() { f(ctx, i) })
		}
	}
	work.Go(func() { l.time(ctx) })
	all := [nodes]map[string]series{{}, {}, {}}
	every := time.NewTicker(sampleEvery)
	defer every.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-every.C:
			for i := range nodes {
				for name, v := range l.sample(i) {
					all[i][name] = append(all[i][name], v)
				}
			}
		}
	}
	work.Wait()
	hours := time.Duration(fast) * time.Since(l.began)
	t.Logf("%s, %.0f h of the nodes' clocks: %d validations, %d revocations one by one, %d in bulk, %d keys made and deleted, %d exports, %d streams of events; %d failed",
		time.Since(l.began).Round(time.Second), hours.Hours(), l.asked.Load(), l.revoked.Load(), l.lines.Load(), l.made.Load(), l.exported.Load(), l.streams.Load(), l.failed.Load())
	if l.asked.Load() == 0 || l.revoked.Load() == 0 || l.lines.Load() == 0 || l.made.Load() == 0 || l.exported.Load() == 0 {
		t.Error("not all was done")
	}
	limits := bounds()
	for i := range nodes {
		for _, name := range slices.Sorted(maps.Keys(all[i])) {
			s := all[i][name]
			by, too := s.grows(limits[name])
			_, held := limits[name]
			t.Logf("%s %-30s %s; grew by %s in the second half", id(i), name, s.shape(), human(by))
			if held && too {
				t.Errorf("%s: %s grows", id(i), name)
			}
		}
	}
}

// soaking is the load of a soak.
type soaking struct {
	*cluster
	began   time.Time
	forward atomic.Int64 // seconds

	asked, revoked, lines, made, exported, streams, failed atomic.Int64
}

// time lets the nodes' clocks run fast.
func (l *soaking) time(ctx context.Context) {
	every := time.NewTicker(tick)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			l.forward.Add(int64(tick.Seconds() * (fast - 1)))
			l.setClock(int(l.forward.Load()))
		}
	}
}

// now is the time by the nodes' clocks.
func (l *soaking) now() time.Time {
	return time.Now().Add(time.Duration(l.forward.Load()) * time.Second)
}

// pause waits between two of what is done over and over.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (l *soaking) did(ctx context.Context, n *atomic.Int64, more int, err error) {
	switch {
	case err == nil:
		n.Add(int64(more))
	case ctx.Err() == nil:
		if l.failed.Add(1) < 10 {
			l.Log(err)
		}
	}
}

// ask asks about tokens, some of which were asked about before.
func (l *soaking) ask(ctx context.Context, i int) {
	for round := 0; ctx.Err() == nil; round++ {
		questions := make([]client.Question, askAtOnce)
		for q := range questions {
			questions[q] = client.Question{Credential: l.token(fmt.Sprintf("asked-%d-%d-%d", i, round, q), l.now(), lifetime-time.Minute)}
		}
		for range 20 {
			verdicts, err := l.clients[i].ValidateAll(ctx, questions)
			l.did(ctx, &l.asked, len(verdicts), err)
			pause(ctx, 20*time.Millisecond)
		}
	}
}

func (l *soaking) revoke(ctx context.Context, i int) {
	for n := 0; ctx.Err() == nil; n++ {
		_, err := l.clients[i].Revoke(ctx, client.RevokeRequest{Target: "jti", Issuer: issuer, Value: fmt.Sprintf("one-%d-%d-%d", i, n, time.Now().UnixNano())}, false, 0)
		l.did(ctx, &l.revoked, 1, err)
		pause(ctx, 20*time.Millisecond)
	}
}

func (l *soaking) keys(ctx context.Context, i int) {
	for ctx.Err() == nil {
		k, err := l.clients[i].CreateKey(ctx, client.KeyFields{Roles: []record.Role{record.RoleValidator}})
		if err == nil {
			_, err = l.clients[i].DeleteKey(ctx, k.ID)
		}
		l.did(ctx, &l.made, 1, err)
		pause(ctx, 200*time.Millisecond)
	}
}

// watch listens for a while, over and over.
func (l *soaking) watch(ctx context.Context, i int) {
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, _ = l.clients[i].Events(short, "", func(client.Event) error { return nil }) // it ends with the time
		cancel()
		l.streams.Add(1)
	}
}

func (l *soaking) importBulk(ctx context.Context, i int) {
	for round := 0; ctx.Err() == nil; round++ {
		if round%nodes == i {
			key := fmt.Sprintf("bulk-%d", round)
			_, err := l.clients[i].RevokeAll(ctx, key, func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader(linesOf(key))), nil
			}, func(client.Progress) {})
			l.did(ctx, &l.lines, importLines, err)
		}
		pause(ctx, importEvery/nodes)
	}
}

func linesOf(key string) string {
	var b strings.Builder
	for n := range importLines {
		fmt.Fprintf(&b, `{"target":"jti","issuer":%q,"value":"%s-%d"}`+"\n", issuer, key, n)
	}
	return b.String()
}

func (l *soaking) export(ctx context.Context, i int) {
	for ctx.Err() == nil {
		l.did(ctx, &l.exported, 1, l.clients[i].Export(ctx, io.Discard))
		pause(ctx, 5*time.Second)
	}
}

// sample reads what a node says of itself, and how much room it takes on the disk.
func (l *soaking) sample(i int) map[string]float64 {
	of := map[string]float64{}
	r, err := http.NewRequestWithContext(l.Context(), http.MethodGet, l.control(i)+"/metrics", nil)
	if err != nil {
		l.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+l.admin)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		l.Fatal(err)
	}
	defer w.Body.Close()
	wanted := bounds()
	for s := bufio.NewScanner(w.Body); s.Scan(); {
		name, text, _ := strings.Cut(s.Text(), " ")
		if _, ok := wanted[name]; ok {
			if of[name], err = strconv.ParseFloat(text, 64); err != nil {
				l.Fatal(err)
			}
		}
	}
	for _, dir := range []string{"state", "outbox", "raft"} {
		of[dir] = size(filepath.Join(l.path(id(i)), dir), func(string) bool { return true })
	}
	of["state, its log"] = size(filepath.Join(l.path(id(i)), "state"), func(name string) bool { return filepath.Ext(name) == ".log" })
	of["state"] -= of["state, its log"]
	of["descriptors"] = l.descriptors(i)
	if len(of) != len(wanted)+1 { // and the log
		l.Fatalf("%s says only %v", id(i), of)
	}
	return of
}

// descriptors is how many files and connections a node has open, but for the tables of its stores, of which there are as many as
// what they hold makes.
func (l *soaking) descriptors(i int) (n float64) {
	dir := fmt.Sprintf("/proc/%d/fd", l.running[i].Process.Pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		l.Fatal(err)
	}
	for _, d := range open {
		// One that was closed meanwhile leads nowhere.
		if to, err := os.Readlink(filepath.Join(dir, d.Name())); err == nil && filepath.Ext(to) != ".sst" {
			n++
		}
	}
	return n
}

// size is how many bytes are in such files below. One that goes while it looks is none.
func size(dir string, such func(name string) bool) (all float64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !such(d.Name()) {
			return nil //nolint:nilerr // it has gone
		}
		if info, err := d.Info(); err == nil {
			all += float64(info.Size())
		}
		return nil
	})
	return all
}
