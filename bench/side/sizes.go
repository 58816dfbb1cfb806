package main

import (
	"time"

	"veto/bench/side/measure"
)

// sizes are how much each section measures.
type sizes struct {
	validate measure.Sizes
	inside   measure.InsideSizes
	revoke   measure.RevokeSizes
	denial   measure.DenialSizes
	scale    measure.ScaleSizes
}

const ms = time.Millisecond

func (o options) sizes() sizes {
	if o.quick {
		return quick()
	}
	z := sizes{
		validate: measure.Sizes{Rounds: 3, Round: 1500 * ms, Step: time.Second, Revoked: 100_000, Tokens: 1000},
		inside:   measure.InsideSizes{Long: time.Second, Revoked: 100_000},
		revoke:   measure.RevokeSizes{Rounds: 3, Round: 2 * time.Second, Writers: []int{1, 64, 512}, Bulk: 200_000},
		denial: measure.DenialSizes{
			Delays: []time.Duration{0, 10 * ms, 40 * ms, 80 * ms}, Counts: []int{300, 100, 60, 30}, Early: 15, Lose: true, Cached: true, Limit: 10 * time.Second,
		},
		scale: measure.ScaleSizes{
			Round: time.Second, Samples: 500, Keys: []int{1000, 5000, 20_000}, Issuers: []int{1, 10, 100, 1000},
			Voters: []int{1, 3, 5, 7}, Replicas: []int{1, 5, 15, 27}, Conns: []int{10, 100, 1000, 10_000},
		},
	}
	for n := fewestRevocations; n <= o.scale; n *= 10 {
		z.scale.Revocations = append(z.scale.Revocations, n)
	}
	for n := fewestFilled; n <= o.keys; n *= 10 {
		z.scale.Filled = append(z.scale.Filled, n)
	}
	return z
}

func powerOfTen(n int) bool {
	for n > 1 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// Where curves begin: of revocations, and of keys that are not made one by one.
const (
	fewestRevocations = 10_000
	fewestFilled      = 100_000
	defaultScale      = 1_000_000
)

// quick has one short round of each, fewer points, and starts together what the whole run starts when its turn comes. What is
// measured in it takes some 17 s (TestQuickIsQuick), and starting all some 20 more.
func quick() sizes {
	return sizes{
		validate: measure.Sizes{Rounds: 1, Round: 150 * ms, Step: 120 * ms, Steps: 2, Revoked: 5000, Tokens: 200},
		inside:   measure.InsideSizes{Long: 40 * ms, Revoked: 10_000},
		revoke:   measure.RevokeSizes{Rounds: 1, Round: 200 * ms, Writers: []int{1, 64}, Bulk: 10_000},
		denial:   measure.DenialSizes{Delays: []time.Duration{0, 40 * ms}, Counts: []int{12, 4}, Early: 3, AtOnce: true},
		scale: measure.ScaleSizes{
			Round: 200 * ms, Samples: 50, AtOnce: true, Revocations: []int{20_000}, Keys: []int{100, 1000}, Issuers: []int{1, 20},
			Voters: []int{3}, Replicas: []int{2}, Conns: []int{10, 500},
		},
	}
}
