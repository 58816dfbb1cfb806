package gate

import (
	"sync"
	"sync/atomic"
	"time"
)

// Rate is how often a caller may come: so many a second, and so many at once.
type Rate struct {
	PerSecond, Burst float64
}

// maxCallers is how many callers are told apart. It is twice that for a moment.
const maxCallers = 1 << 14

// Rates keeps a rate for each caller. Callers that did not come for a while are forgotten, which is as
// if they had rested: when there are too many of them, sooner.
type Rates struct {
	rate    Rate
	refused atomic.Uint64

	mu          sync.Mutex
	young, aged map[string]*bucket
	turned      time.Time
}

type bucket struct {
	left float64
	at   time.Time
}

// NewRates makes Rates, by which each caller has the same rate.
func NewRates(r Rate) *Rates { return &Rates{rate: r, young: map[string]*bucket{}} }

// Take counts that the caller comes. If that is too often, it is not counted, and it says when to
// come again.
func (r *Rates) Take(caller string, now time.Time) (wait time.Duration, ok bool) {
	if r.rate.PerSecond <= 0 {
		return 0, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.of(caller, now)
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left, b.at = min(b.left+passed*r.rate.PerSecond, r.rate.Burst), now
	}
	if b.left < 1 {
		r.refused.Add(1)
		return time.Duration((1 - b.left) / r.rate.PerSecond * float64(time.Second)), false
	}
	b.left--
	return 0, true
}

// Refused is how often somebody was told to come again.
func (r *Rates) Refused() uint64 { return r.refused.Load() }

// of finds the caller's bucket. One that nobody used for as long as it takes to fill it is as good as a
// new one.
func (r *Rates) of(caller string, now time.Time) *bucket {
	full := time.Duration(r.rate.Burst / r.rate.PerSecond * float64(time.Second))
	if len(r.young) >= maxCallers || now.Sub(r.turned) > full {
		r.young, r.aged, r.turned = map[string]*bucket{}, r.young, now
	}
	b, ok := r.young[caller]
	if ok {
		return b
	}
	if b, ok = r.aged[caller]; !ok {
		b = &bucket{left: r.rate.Burst, at: now}
	}
	r.young[caller] = b
	return b
}
