package canary

import (
	"math"
	"slices"
	"time"

	"veto/record"
)

// kept is how many outcomes of each node count.
const kept = 256

// outcome is what came of asking one node for one canary.
type outcome struct {
	number    uint64 // of the canary
	took      time.Duration
	confirmed bool
}

// window are the last outcomes of one node.
type window struct {
	region string
	last   []outcome // the oldest at next, once it is full
	next   int
	latest outcome // that of the last canary that was decided, which need not be the last to be
}

func (w *window) add(o outcome) {
	if o.number > w.latest.number {
		w.latest = o
	}
	if len(w.last) < kept {
		w.last = append(w.last, o)
		return
	}
	w.last[w.next] = o
	w.next = (w.next + 1) % kept
}

// never is longer than what any node takes.
const never = time.Duration(math.MaxInt64)

func (w *window) propagation() *record.Propagation {
	if len(w.last) == 0 {
		return nil
	}
	p := &record.Propagation{}
	all := make([]time.Duration, 0, len(w.last))
	for _, o := range w.last {
		if o.confirmed {
			p.Samples++
			all = append(all, o.took)
		} else {
			p.Failed++
			all = append(all, never)
		}
	}
	slices.Sort(all)
	p.P50Millis, p.P99Millis = w.share(all, 50), w.share(all, 99)
	return p
}

// share is the time in milliseconds within which so many percent of the sorted outcomes came; -1
// if they did not, or if the last one did not.
func (w *window) share(sorted []time.Duration, percent int) float64 {
	took := sorted[(len(sorted)*percent+99)/100-1]
	if took == never || !w.latest.confirmed {
		return -1
	}
	return float64(took.Microseconds()) / 1000
}
