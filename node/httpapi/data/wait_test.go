package data_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/node/httpapi/data"
	"veto/record"
	"veto/validate"
)

// progress is how far a node has come, and who waits for it to come further.
type progress struct {
	mu     sync.Mutex
	fresh  record.Freshness
	wake   chan struct{}
	waited []record.Revision // for which questions waited, in their order
	waits  chan int          // how many wait, whenever one more does
	now    int
}

func newProgress() *progress {
	return &progress{fresh: record.Freshness{Revision: 7, Ready: true}, wake: make(chan struct{}), waits: make(chan int, 100)}
}

func (p *progress) Freshness() record.Freshness {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fresh
	f.AsOf = time.Now()
	return f
}

func (p *progress) AwaitRevision(ctx context.Context, r record.Revision) error {
	p.mu.Lock()
	p.waited = append(p.waited, r)
	p.now++
	p.waits <- p.now
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.now--
	}()
	for p.fresh.Revision < r {
		wake := p.wake
		p.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.mu.Lock()
	}
	p.mu.Unlock()
	return nil
}

func (p *progress) reach(r record.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fresh.Revision = r
	close(p.wake)
	p.wake = make(chan struct{})
}

func (p *progress) all() []record.Revision {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.waited)
}

// waiting is a data plane on which questions may wait.
func waiting(t *testing.T, limit time.Duration, most int) *plane {
	t.Helper()
	return start(t, func(c *data.Config) { c.Wait = httpapi.Wait{Limit: limit, Most: most} })
}

func (p *plane) verdict(body string, headers ...string) validate.Verdict {
	p.Helper()
	var v validate.Verdict
	a := p.send("POST", "/v1/validate", body, headers...)
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		p.Errorf("%s: %v", a.body, err)
	}
	return v
}

// asks sends a question that will wait, and gives its verdict later.
func (p *plane) asks(body string, headers ...string) <-chan validate.Verdict {
	p.Helper()
	answered := make(chan validate.Verdict, 1)
	go func() { answered <- p.verdict(body, headers...) }()
	return answered
}

func (p *plane) question(more string) string { return `{"credential": "` + p.secret + `"` + more + `}` }

// Q8
func TestWaitsForItsRevision(t *testing.T) {
	p := waiting(t, time.Minute, 10)
	waits := []<-chan validate.Verdict{
		p.asks(p.question(`, "min_revision": 9`)), p.asks("", "Authorization", "Bearer "+p.secret, "Veto-Min-Revision", "9"),
	}
	p.asked.operator = &record.APIKey{ID: "key_2", Roles: []record.Role{record.RoleValidator}}
	waits = append(waits, p.asks(p.question(`, "min_revision": 9, "explain": true`), "Authorization", "Bearer op"))
	for range waits {
		<-p.progress.waits
	}
	for _, body := range []string{``, `, "min_revision": 7`} {
		if v := p.verdict(p.question(body)); v.Code != validate.OK {
			t.Errorf("beside those that wait: %+v", v)
		}
	}
	p.progress.reach(9)
	for _, w := range waits {
		if v := <-w; v.Code != validate.OK || v.Revision != 9 {
			t.Errorf("after it was reached: %+v", v)
		}
	}
	if all := p.progress.all(); len(all) != len(waits) {
		t.Errorf("waited for %v", all)
	}
}

// Q8
func TestWaitIsBounded(t *testing.T) {
	p := waiting(t, 30*time.Millisecond, 10)
	begin := time.Now()
	if v := p.verdict(p.question(`, "min_revision": 9`)); v.Code != validate.BehindMinRevision || time.Since(begin) < 30*time.Millisecond {
		t.Errorf("after %s: %+v", time.Since(begin), v)
	}
	for name, p := range map[string]*plane{"no wait": waiting(t, 0, 10), "not ready": waiting(t, time.Minute, 10)} {
		want := validate.BehindMinRevision
		if name == "not ready" {
			p.progress.fresh.Ready, want = false, validate.NotReady
		}
		if v := p.verdict(p.question(`, "min_revision": 9`)); v.Code != want || len(p.progress.all()) > 0 {
			t.Errorf("%s: waited for %v: %+v", name, p.progress.all(), v)
		}
	}
	// As many wait as may: one more is answered at once, and one that finds a place later waits.
	p = waiting(t, time.Minute, 2)
	first, second := p.asks(p.question(`, "min_revision": 9`)), p.asks(p.question(`, "min_revision": 8`))
	<-p.progress.waits
	<-p.progress.waits
	if v := p.verdict(p.question(`, "min_revision": 9`)); v.Code != validate.BehindMinRevision {
		t.Errorf("one too many: %+v", v)
	}
	p.progress.reach(8)
	if v := <-second; v.Code != validate.OK {
		t.Errorf("reached: %+v", v)
	}
	third := p.asks(p.question(`, "min_revision": 10`))
	<-p.progress.waits
	p.progress.reach(10)
	for _, w := range []<-chan validate.Verdict{first, third} {
		if v := <-w; v.Code != validate.OK {
			t.Errorf("reached: %+v", v)
		}
	}
}

// Q8
func TestBatchWaitsOnce(t *testing.T) {
	p := waiting(t, time.Minute, 10)
	answered := make(chan answer, 1)
	go func() {
		answered <- p.send("POST", "/v1/validate/batch", `{"requests": [`+p.question(`, "min_revision": 8`)+`,`+p.question(`, "min_revision": 9`)+`,`+p.question(``)+`]}`)
	}()
	<-p.progress.waits
	p.progress.reach(9)
	var got struct{ Verdicts []validate.Verdict }
	if err := json.Unmarshal([]byte((<-answered).body), &got); err != nil || len(got.Verdicts) != 3 {
		t.Fatal(err)
	}
	for i, v := range got.Verdicts {
		if v.Code != validate.OK {
			t.Errorf("verdict %d: %+v", i, v)
		}
	}
	if all := p.progress.all(); len(all) != 1 || all[0] != 9 {
		t.Errorf("waited for %v", all)
	}
}

// Q8
func TestCloseEndsTheWait(t *testing.T) {
	p := waiting(t, time.Hour, 10)
	w := p.asks(p.question(`, "min_revision": 9`))
	<-p.progress.waits
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.server.Close(ctx); err != nil {
		t.Error(err)
	}
	if v := <-w; v.Code != validate.BehindMinRevision {
		t.Errorf("%+v", v)
	}
}
