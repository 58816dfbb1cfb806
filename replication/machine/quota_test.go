package machine_test

import (
	"maps"
	"testing"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/replication/machine"
)

// M19
func TestQuotaIsDrawn(t *testing.T) {
	s, rev := founded(t)
	day, end := limit.Day.Window(stamp)
	put := func(l limit.Limits) {
		t.Helper()
		if r := apply(t, s, rev, stamp, record.UpdateKey{ID: "key_s", Limits: &l}); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
	}
	put(limit.Limits{Quota: limit.Quota{Requests: 100, Period: limit.Day}})
	draw := func(at time.Time, d limit.Draw) limit.Drawn {
		t.Helper()
		d.Key = "key_s"
		audited := len(entries(t, s))
		r, changes, err := machine.Apply(s, record.Command{Stamp: at, Body: record.DrawQuota{Draws: []limit.Draw{{Key: "gone", Window: day, Want: 5}, d}}}, *rev+1)
		if *rev++; err != nil || r.Rejection != nil || len(r.Drawn) != 2 || r.Drawn[0] != (limit.Drawn{}) {
			t.Fatalf("%+v, %v", r, err)
		}
		if len(changes) > 0 || len(entries(t, s)) != audited {
			t.Errorf("a draw is told of: %+v", changes)
		}
		return r.Drawn[1]
	}
	for _, c := range []struct {
		at   time.Time
		draw limit.Draw
		want limit.Drawn
	}{
		{stamp, limit.Draw{Window: day, Want: 10, Parts: 2}, limit.Drawn{Granted: 10, Used: 10}},
		{stamp, limit.Draw{Window: day, Want: 90, Parts: 2}, limit.Drawn{Granted: 45, Used: 55}},
		{stamp, limit.Draw{Window: day, Spent: 3, Back: 8}, limit.Drawn{Used: 50}},
		{stamp, limit.Draw{Window: end, Want: 10}, limit.Drawn{}}, // has not begun
		{stamp, limit.Draw{Window: day - 86400, Want: 10}, limit.Drawn{Used: 100}},
		{stamp, limit.Draw{Window: day, Want: 1000}, limit.Drawn{Granted: 50, Used: 100}},
		{stamp, limit.Draw{Window: day, Want: 1}, limit.Drawn{Used: 100}},
		{time.Unix(end, 0), limit.Draw{Window: end, Want: 10}, limit.Drawn{Granted: 10, Used: 10}},
	} {
		if got := draw(c.at, c.draw); got != c.want {
			t.Errorf("%+v gave %+v, not %+v", c.draw, got, c.want)
		}
	}
	if u, ok, err := machine.Usage(s, "key_s"); !ok || err != nil || u != (limit.Usage{Window: end, Used: 10}) {
		t.Errorf("%+v, %t, %v", u, ok, err)
	}
	month, _ := limit.Month.Window(time.Unix(end, 0))
	put(limit.Limits{Quota: limit.Quota{Requests: 1000, Period: limit.Month}})
	if got := draw(time.Unix(end, 0), limit.Draw{Window: month, Want: 10}); got != (limit.Drawn{Granted: 10, Used: 10}) {
		t.Errorf("of the month after the day: %+v", got)
	}
	put(limit.Limits{Rate: limit.Rate{Requests: 5, Seconds: 1}})
	before := maps.Clone(s)
	if got := draw(stamp, limit.Draw{Window: end, Want: 10}); got != (limit.Drawn{}) || !maps.Equal(before, s) {
		t.Errorf("%+v was drawn where there is no quota", got)
	}
	if r := apply(t, s, rev, stamp, record.DeleteKey{ID: "key_s"}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	if _, ok, _ := machine.Usage(s, "key_s"); ok {
		t.Error("the usage outlives its key")
	}
}

// The limits of a key are completed, bounded, in the audit trail, and taken away.
func TestLimitsOfKeys(t *testing.T) {
	s, rev := founded(t)
	rate := limit.Rate{Requests: 5, Seconds: 60}
	for name, c := range map[string]struct {
		id     string
		limits limit.Limits
		ok     bool
	}{
		"rate":           {"key_s", limit.Limits{Rate: rate}, true},
		"burst alone":    {"key_s", limit.Limits{Burst: 5}, false},
		"operator's key": {"key_a", limit.Limits{Rate: rate}, false},
		"none":           {"key_s", limit.Limits{}, true},
	} {
		r := apply(t, s, rev, stamp, record.UpdateKey{ID: c.id, Limits: &c.limits})
		if (r.Rejection == nil) != c.ok {
			t.Errorf("%s: %v", name, r.Rejection)
		}
	}
	for _, l := range []limit.Limits{{}, {Rate: rate}} {
		apply(t, s, rev, stamp, record.UpdateKey{ID: "key_s", Limits: &l})
	}
	all := entries(t, s)
	last := all[len(all)-1]
	if len(last.Changes) != 1 || last.Changes[0].Field != "limits" || last.Changes[0].To != `{"rate":"5/min","burst":5}` {
		t.Errorf("%+v", last.Changes)
	}
}
