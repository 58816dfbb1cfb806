package limiter_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/record/limit"
	"veto/validate"
	"veto/validate/limiter"
)

func key(id string, rev record.Revision, l limit.Limits) *record.APIKey {
	l.Complete()
	return &record.APIKey{ID: id, Consumer: "shop", Limits: &l, Revision: rev}
}

func perSecond(requests, burst uint32) limit.Limits {
	return limit.Limits{Rate: limit.Rate{Requests: requests, Seconds: 1}, Burst: burst}
}

func perDay(requests uint64) limit.Limits {
	return limit.Limits{Quota: limit.Quota{Requests: requests, Period: limit.Day}}
}

func unused(string) limit.Usage { return limit.Usage{} }

func newLimiter(nodes int) *limiter.Limiter {
	l := limiter.New(limiter.Config{Now: start, Usage: unused})
	l.SetNodes(nodes)
	return l
}

func code(t testing.TB, l *limiter.Limiter, k *record.APIKey, cost uint32, at time.Time, want validate.Code) validate.Use {
	t.Helper()
	use, got := l.Take(k, cost, at)
	if got != want {
		t.Fatalf("%s for %d at %s, not %s: %s", got, cost, at.Sub(start), want, use)
	}
	return use
}

// lend gives a node a share of all its keys' rates, as a leader would.
func lend(l *limiter.Limiter, share uint32, now time.Time) {
	for _, r := range l.Begin(now, false) {
		a := limit.Answer{Grants: make([]limit.Grant, len(r.Report.Asks))}
		for i := range a.Grants {
			a.Grants[i].Share = share
		}
		l.Granted(r, a, now)
	}
}

// G1
func TestBucketNeverExceedsItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate, burst := rapid.Uint32Range(1, 500).Draw(t, "rate"), rapid.Uint32Range(1, 500).Draw(t, "burst")
		nodes := rapid.IntRange(1, 4).Draw(t, "nodes")
		l, now := newLimiter(nodes), start
		k := key("key_1", 1, perSecond(rate, burst))
		type event struct {
			at   time.Time
			cost uint32
		}
		var allowed []event
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(400*time.Millisecond)).Draw(t, "pause")))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				lend(l, rapid.Uint32Range(0, limit.Whole-limit.Floors).Draw(t, "share"), now)
			case 1:
				l.SetNodes(rapid.IntRange(1, 4).Draw(t, "nodes"))
			default:
				cost := rapid.Uint32Range(1, max(burst/8, 1)).Draw(t, "cost")
				if _, c := l.Take(k, cost, now); c == validate.OK {
					allowed = append(allowed, event{now, cost})
				}
			}
		}
		for i := range allowed {
			sum := 0.0
			for _, e := range allowed[i:] {
				sum += float64(e.cost)
				past := e.at.Sub(allowed[i].at).Seconds()
				// A request may cost more than a small share of the burst holds.
				if bound := float64(rate)*past + float64(burst) + float64(max(burst/8, 1)) + 1e-3; sum > bound {
					t.Fatalf("%.0f were let through in %.3f s, of at most %.3f", sum, past, bound)
				}
			}
		}
	})
}

// G1
func TestManyAtOnce(t *testing.T) {
	const rate, burst = 1000, 500
	l := limiter.New(limiter.Config{Now: start, Usage: func(string) limit.Usage {
		return limit.Usage{Window: start.Truncate(24 * time.Hour).Unix(), Used: 0}
	}})
	l.SetNodes(2)
	limits := perSecond(rate, burst)
	limits.Quota = limit.Quota{Requests: 1e9, Period: limit.Day}
	k := key("key_1", 1, limits)
	var allowed, clock atomic.Int64
	stop := make(chan struct{})
	var shares, takers sync.WaitGroup
	shares.Go(func() {
		for i := uint32(0); ; i++ {
			select {
			case <-stop:
				return
			default:
				lend(l, i*7919%(limit.Whole-limit.Floors), start.Add(time.Duration(clock.Load())))
			}
		}
	})
	for range 8 {
		takers.Go(func() {
			for range 5000 {
				at := start.Add(time.Duration(clock.Add(int64(20 * time.Microsecond))))
				if _, c := l.Take(k, 1, at); c == validate.OK {
					allowed.Add(1)
				}
			}
		})
	}
	takers.Wait()
	close(stop)
	shares.Wait()
	past := time.Duration(clock.Load()).Seconds()
	if bound := rate*past + burst + 1; float64(allowed.Load()) > bound {
		t.Errorf("%d were let through in %.3f s, of at most %.0f", allowed.Load(), past, bound)
	}
}

// G3
func TestFirstRequest(t *testing.T) {
	for _, l := range []limit.Limits{
		perSecond(1, 1), {Rate: limit.Rate{Requests: 1, Seconds: 60}}, perDay(1), {Quota: limit.Quota{Requests: 1000, Period: limit.Month}},
	} {
		x := newLimiter(100)
		code(t, x, key("key_1", 1, l), 1, start, validate.OK)
	}
}

// G1
func TestReadingsOutOfOrder(t *testing.T) {
	l := newLimiter(1)
	k := key("key_1", 1, perSecond(10, 5))
	code(t, l, k, 1, start.Add(10*time.Second), validate.OK)
	code(t, l, k, 4, start, validate.OK)
	code(t, l, k, 1, start.Add(10*time.Second), validate.RateLimited)
}

// G1: whoever comes brings no burst, and whoever is left alone has all.
func TestNodesComeAndGo(t *testing.T) {
	l, now := newLimiter(1), start
	k := key("key_1", 1, perSecond(10, 100))
	code(t, l, k, 1, now, validate.OK)
	l.SetNodes(2)
	code(t, l, k, 25, now, validate.OK) // the floor
	code(t, l, k, 1, now, validate.RateLimited)
	l.SetNodes(1)
	code(t, l, k, 1, now, validate.RateLimited)
	code(t, l, k, 100, now.Add(10*time.Second), validate.OK)
}

// G2: what is held is told of as long as it is, and a node alone has nobody to tell.
func TestWhatIsTold(t *testing.T) {
	l, k := newLimiter(3), key("key_1", 1, perSecond(1000, 1000))
	code(t, l, k, 1, start, validate.OK)
	code(t, l, k, 200, start, validate.RateLimited)
	lend(l, 1<<20, start)
	for range 3 {
		if r := l.Begin(start, false); len(r) != 1 || len(r[0].Report.Asks) != 1 || r[0].Report.Asks[0].Held != 1<<20 || r[0].Report.Asks[0].Refill != 1000 {
			t.Errorf("%+v", r)
		}
	}
	for len(l.Wake()) > 0 {
		<-l.Wake()
	}
	l.Take(k, 1000, start)
	if len(l.Wake()) > 0 {
		t.Error("a share that is used up is urgent, though it is told of all the time")
	}
	alone := newLimiter(1)
	code(t, alone, k, 1000, start, validate.OK)
	code(t, alone, k, 1, start, validate.RateLimited)
	if r := alone.Begin(start, false); len(alone.Wake()) > 0 || len(r) > 0 {
		t.Errorf("a node alone is urgent, or tells %+v", r)
	}
}

// G2: an answer that there is not, to a report that came late, changes nothing.
func TestNoAnswer(t *testing.T) {
	l := newLimiter(3)
	limits := perSecond(10, 5)
	limits.Quota = limit.Quota{Requests: 1000, Period: limit.Day}
	code(t, l, key("key_1", 1, limits), 1, start, validate.OK)
	for _, r := range l.Begin(start, false) {
		l.Granted(r, limit.Answer{}, start)
	}
	for _, d := range l.Draws(start, false) {
		l.Drawn(d, nil)
	}
	if use, c := l.Look(key("key_1", 1, limits), 1, start); c != validate.RateLimited || use.Quota.Remaining != 999 {
		t.Errorf("%s, %+v", c, use)
	}
}

// G5
func TestRefusedUsesNothing(t *testing.T) {
	l, limits := newLimiter(1), perSecond(10, 5)
	limits.Quota = limit.Quota{Requests: 1000, Period: limit.Day}
	k := key("key_1", 1, limits)
	if use := code(t, l, k, 5, start, validate.OK); use.Rate.Remaining != 0 || use.Quota.Remaining != 995 || use.Quota.Reset != 12*3600 {
		t.Errorf("%+v", use)
	}
	for range 50 {
		if use := code(t, l, k, 1, start, validate.RateLimited); use.Quota.Remaining != 995 || use.Rate.RetryAfter != 1 {
			t.Fatalf("%+v", use)
		}
	}
	at := start.Add(100 * time.Millisecond)
	for range 50 {
		if use, c := l.Look(k, 1, at); c != validate.OK || use.Rate.Remaining != 1 || use.Quota.Remaining != 995 {
			t.Fatalf("%s, %+v", c, use)
		}
	}
	code(t, l, k, 1, at, validate.OK)
	code(t, l, k, 1, at, validate.RateLimited)

	// A quota that refuses leaves the rate as it is.
	exhausted := limiter.New(limiter.Config{Now: start, Usage: func(string) limit.Usage {
		return limit.Usage{Window: start.Truncate(24 * time.Hour).Unix(), Used: 1000}
	}})
	exhausted.SetNodes(1)
	for range 50 {
		if use := code(t, exhausted, k, 1, start, validate.QuotaExceeded); use.Rate.Remaining != 5 || use.Quota.Remaining != 0 {
			t.Fatalf("%+v", use)
		}
	}
}

// A request that costs more than the share is let through when the bucket is full, and paid off.
func TestCostsMoreThanTheShare(t *testing.T) {
	l := newLimiter(1)
	k := key("key_1", 1, perSecond(10, 5))
	code(t, l, k, 20, start, validate.OK)
	code(t, l, k, 1, start.Add(1500*time.Millisecond), validate.RateLimited)
	code(t, l, k, 1, start.Add(1600*time.Millisecond), validate.OK)
	code(t, l, k, 20, start.Add(1900*time.Millisecond), validate.RateLimited)
}

// G6
func TestMemoryIsBounded(t *testing.T) {
	l := limiter.New(limiter.Config{Now: start, Usage: unused, MaxKeys: 100})
	l.SetNodes(3)
	for i := range 150 {
		want := validate.OK
		if i >= 100 {
			want = validate.RateLimited
		}
		code(t, l, key(fmt.Sprintf("key_%d", i), 1, perSecond(10, 5)), 1, start, want)
	}
	if s := l.Stats(); s.Keys != 100 || s.Refused != 50 {
		t.Errorf("%+v", s)
	}
	now := start
	for range 200 {
		now = now.Add(500 * time.Millisecond)
		lend(l, 0, now)
	}
	if s := l.Stats(); s.Keys != 0 {
		t.Errorf("after a rest, %d are still counted", s.Keys)
	}
	code(t, l, key("key_149", 1, perSecond(10, 5)), 1, now, validate.OK)
}

// G6: what is forgotten has nothing that would come back otherwise.
func TestWhatOwesIsNotForgotten(t *testing.T) {
	l, now := newLimiter(1), start
	k := key("key_1", 1, limit.Limits{Rate: limit.Rate{Requests: 1, Seconds: 60}, Burst: 100})
	code(t, l, k, 100, now, validate.OK)
	for range 300 {
		now = now.Add(500 * time.Millisecond)
		lend(l, 0, now)
	}
	code(t, l, k, 3, now, validate.RateLimited)
}

// G6
func TestReportsAreBounded(t *testing.T) {
	const keys = limit.MaxAsks + 100
	l := newLimiter(3)
	limits := perSecond(10, 5)
	limits.Quota = limit.Quota{Requests: 1000, Period: limit.Day}
	for i := range keys {
		l.Take(key(fmt.Sprint(i), 1, limits), 1, start)
	}
	number, told := uint64(0), 0
	tell := func(urgent bool) {
		t.Helper()
		all := l.Begin(start, urgent)
		for i, r := range all {
			if len(r.Report.Asks) > limit.MaxAsks || r.Report.Number <= number || r.Report.Last != (!urgent && i == len(all)-1) {
				t.Errorf("of %d the report %d of %d keys has number %d after %d, last: %t", len(all), i, len(r.Report.Asks), r.Report.Number, number, r.Report.Last)
			}
			number = r.Report.Number
			told += len(r.Report.Asks)
		}
	}
	if tell(true); told != keys {
		t.Errorf("%d of %d urgent ones are told of", told, keys)
	}
	drawn := 0
	for _, d := range l.Draws(start, false) {
		if len(d.Draws) > limit.MaxDraws {
			t.Errorf("%d are drawn at once", len(d.Draws))
		}
		drawn += len(d.Draws)
	}
	if drawn != keys {
		t.Errorf("%d of %d are drawn", drawn, keys)
	}
	if tell(false); told != keys {
		t.Errorf("%d are told of that hold nothing, and need nothing", told-keys)
	}
	l = limiter.New(limiter.Config{Now: start.Add(time.Second), Usage: unused}) // it starts anew
	l.SetNodes(3)
	if r := l.Begin(start.Add(time.Second), false); len(r) != 1 || r[0].Report.Number <= number {
		t.Errorf("%+v after number %d", r, number)
	}
}

// G7
func TestNoAllocation(t *testing.T) {
	l, limits := newLimiter(3), perSecond(1000, 1000)
	limits.Quota = limit.Quota{Requests: 1 << 40, Period: limit.Month}
	k := key("key_1", 1, limits)
	now := start
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		l.Take(k, 1, now)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	tight := key("key_2", 1, perSecond(1, 1))
	code(t, l, tight, 1, now, validate.OK)
	if n := testing.AllocsPerRun(1000, func() { l.Take(tight, 1, now) }); n > 0 {
		t.Errorf("%v allocations of what is refused", n)
	}
}

// G8
func TestLimitsChange(t *testing.T) {
	l := newLimiter(1)
	code(t, l, key("key_1", 1, perSecond(10, 5)), 5, start, validate.OK)
	more := key("key_1", 2, perSecond(1000, 500))
	code(t, l, more, 1, start, validate.RateLimited)
	code(t, l, more, 100, start.Add(100*time.Millisecond), validate.OK)
	code(t, l, more, 1, start.Add(100*time.Millisecond), validate.RateLimited)
	less := key("key_1", 3, perSecond(1, 2))
	code(t, l, less, 2, start.Add(time.Hour), validate.OK)
	code(t, l, less, 1, start.Add(time.Hour), validate.RateLimited)
	// A request that still has the record from before does not bring the limits back.
	code(t, l, more, 1, start.Add(time.Hour), validate.RateLimited)
	code(t, l, less, 2, start.Add(time.Hour+time.Second), validate.RateLimited)

	quota := key("key_1", 4, perDay(10))
	code(t, l, quota, 1, start.Add(time.Hour), validate.OK)
	if use := code(t, l, key("key_1", 5, perDay(100)), 1, start.Add(time.Hour), validate.OK); use.Quota.Remaining != 98 || use.Rate != (validate.RateUse{}) {
		t.Errorf("%+v", use)
	}
}
