package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a quick run measures is added up from what it is set to: a test that took the time would depend on the machine.
func TestQuickIsQuick(t *testing.T) {
	const (
		systems, writers, apart = 11, 4, 3 // as the sections have them
		benchmarks, libraries   = 6, 3 * 5
		warm                    = 1.2 // with the warm-up, a fifth
		ways                    = 4   // between nodes until a receipt is there
		connectionsASecond      = 2000 / 1.5
	)
	z := quick()
	times := func(n float64, d time.Duration) time.Duration { return time.Duration(n * float64(d)) }
	v := z.validate
	sum := map[string]time.Duration{
		"validate": systems * (times(warm/2, v.Round) + times(warm*float64(v.Rounds), v.Round) + times(warm*float64(v.Steps), v.Step)),
		"inside":   (benchmarks + libraries) * z.inside.Long,
		"revoke":   times(float64(writers*z.revoke.Rounds*len(z.revoke.Writers)), z.revoke.Round),
	}
	require.NotZero(t, v.Steps, "rates that double have no end")
	d := z.denial
	for i, delay := range d.Delays {
		sum["denial"] += times(float64(apart*(d.Counts[i]+d.Early)), ways*delay+5*time.Millisecond)
	}
	require.False(t, d.Cached || d.Lose, "which waits for a minute, and for elections")
	s := z.scale
	sum["scale"] = times(2*warm*float64(len(s.Revocations)+len(s.Keys)+len(s.Filled)+len(s.Issuers)), s.Round) + times(float64(4*(len(s.Voters)+len(s.Replicas))), s.Round)
	for _, n := range s.Conns {
		sum["scale"] += s.Round + max(s.Round/5, times(float64(n)/connectionsASecond, time.Second))
	}
	require.True(t, d.AtOnce && s.AtOnce, "clusters are started together")
	var all time.Duration
	for name, took := range sum {
		require.NotZero(t, took, name)
		all += took
	}
	t.Log(all, sum)
	require.Less(t, all, 18*time.Second)
}

// The whole run goes as far as it is asked to.
func TestSizes(t *testing.T) {
	z := options{scale: 10_000_000, keys: 1_000_000}.sizes().scale
	require.Equal(t, []int{10_000, 100_000, 1_000_000, 10_000_000}, z.Revocations)
	require.Equal(t, []int{100_000, 1_000_000}, z.Filled)
	require.Empty(t, options{scale: 1_000_000}.sizes().scale.Filled)
	require.Error(t, sections(t.Context(), []string{"-scale", "100"}))
}
