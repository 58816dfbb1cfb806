package limit_test

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record/limit"
)

func TestLimitsReadAsWritten(t *testing.T) {
	for _, text := range []string{
		`{"rate":"100/s","burst":200,"quota":"1000000/month"}`, `{"rate":"600/min","burst":1}`,
		`{"quota":"1/day"}`, `{"rate":"1000000/s","burst":10000000,"quota":"1000000000000000/day"}`,
	} {
		var l limit.Limits
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(text, err)
		}
		if err := l.Check(); err != nil {
			t.Error(text, err)
		}
		if b, err := json.Marshal(l); err != nil || string(b) != text {
			t.Errorf("%s reads as %s, %v", text, b, err)
		}
	}
	l := limit.Limits{Rate: limit.Rate{Requests: 5, Seconds: 60}}
	if l.Complete(); l.Burst != 5 {
		t.Errorf("the burst is %d if none is given", l.Burst)
	}
}

func TestBadLimits(t *testing.T) {
	for _, text := range []string{
		`{"rate":""}`, `{"rate":"100"}`, `{"rate":"0/s"}`, `{"rate":"01/s"}`, `{"rate":"+1/s"}`, `{"rate":"1/h"}`, `{"rate":"1/"}`,
		`{"rate":"1000001/s"}`, `{"rate":"99999999999999999999/s"}`, `{"rate":"1.5/s"}`, `{"rate":"/s"}`, `{"rate":"4294967297/s"}`,
		`{"quota":"1/week"}`, `{"quota":"0/day"}`, `{"quota":"1000000000000001/month"}`, `{"quota":"1/day/month"}`,
		`{"burst":5}`, `{}`, `{"rate":"1/s","burst":10000001}`, `{"quota":"5/day","burst":1}`,
	} {
		var l limit.Limits
		if err := json.Unmarshal([]byte(text), &l); err == nil && l.Check() == nil {
			t.Errorf("%s is taken as %+v", text, l)
		}
	}
}

func FuzzReadLimits(f *testing.F) {
	f.Add("100/s", "5/day")
	f.Fuzz(func(t *testing.T, rate, quota string) {
		var l limit.Limits
		if err := l.Rate.UnmarshalText([]byte(rate)); err == nil && l.Rate.String() != rate {
			t.Errorf("%q is read as %s", rate, l.Rate)
		}
		if err := l.Quota.UnmarshalText([]byte(quota)); err == nil && l.Quota.String() != quota {
			t.Errorf("%q is read as %s", quota, l.Quota)
		}
	})
}

func TestWindows(t *testing.T) {
	east := time.FixedZone("east", 10*3600)
	for _, c := range []struct {
		period     limit.Period
		at         time.Time
		start, end string
	}{
		{limit.Day, time.Date(2026, 11, 26, 23, 59, 59, 0, time.UTC), "2026-11-26", "2026-11-27"},
		{limit.Day, time.Date(2026, 11, 27, 9, 0, 0, 0, east), "2026-11-26", "2026-11-27"},
		{limit.Month, time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC), "2026-12-01", "2027-01-01"},
		{limit.Month, time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC), "2028-02-01", "2028-03-01"},
	} {
		start, end := c.period.Window(c.at)
		day := func(s int64) string { return time.Unix(s, 0).UTC().Format(time.DateOnly) }
		if day(start) != c.start || day(end) != c.end || start%86400 != 0 || end%86400 != 0 {
			t.Errorf("%s at %s: %d to %d", c.period, c.at, start, end)
		}
	}
}

func TestWindowsFollowEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]limit.Period{limit.Day, limit.Month}).Draw(t, "period")
		at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "at"), 0)
		start, end := p.Window(at)
		if at.Unix() < start || at.Unix() >= end {
			t.Fatalf("%s is not in its window", at)
		}
		if next, _ := p.Window(time.Unix(end, 0)); next != end {
			t.Fatalf("the window after %d begins at %d", end, next)
		}
	})
}

// What is drawn never comes to more than the quota; only what was spent ahead may.
func TestDrawsStayWithinTheQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quota := rapid.Uint64Range(1, 1000).Draw(t, "quota")
		var u limit.Usage
		spent := uint64(0)
		window := int64(0)
		for range rapid.IntRange(1, 50).Draw(t, "draws") {
			d := limit.Draw{
				Window: rapid.Int64Range(0, 2).Draw(t, "window"), Want: rapid.Uint64Range(0, 2000).Draw(t, "want"),
				Spent: rapid.Uint64Range(0, 3).Draw(t, "spent"), Back: rapid.Uint64Range(0, 5).Draw(t, "back"), Parts: rapid.Uint32Range(0, 9).Draw(t, "parts"),
			}
			before := u
			var drawn limit.Drawn
			u, drawn = u.Apply(d, quota)
			if d.Window < window {
				if u != before || drawn.Granted > 0 {
					t.Fatalf("a window that is over gave %+v", drawn)
				}
				continue
			}
			if d.Window > window {
				window, spent = d.Window, 0
			}
			spent += d.Spent
			if u.Used > quota+spent || drawn.Granted > d.Want || drawn.Used != u.Used {
				t.Fatalf("%+v gave %+v of %d, after %d spent ahead", d, drawn, quota, spent)
			}
			if drawn.Granted > 0 && u.Used > quota {
				t.Fatalf("granted %d beyond the quota", drawn.Granted)
			}
		}
	})
}
