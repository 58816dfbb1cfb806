package bench

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// maxReasons is how many reasons of failures are told apart.
const maxReasons = 16

// Result is what came of a load.
type Result struct {
	// Seconds is how long was counted.
	Seconds float64 `json:"seconds"`
	// Wanted is the rate of the open loop, 0 in the closed one; Rate is good answers a second.
	Wanted float64 `json:"wanted_rate"`
	Rate   float64 `json:"rate"`
	// Good were answered as wanted, Bad otherwise, by Statuses; Failed had no answer, for Reasons;
	// Unanswered were due and had none when the run ended.
	Good       int64            `json:"good"`
	Bad        int64            `json:"bad"`
	Failed     int64            `json:"failed"`
	Unanswered int64            `json:"unanswered"`
	Statuses   map[int]int64    `json:"statuses"`
	Reasons    map[string]int64 `json:"reasons,omitempty"`
	// Latency is of all that were due, answered or not: from when they were due in the open loop, and
	// from when they were sent in the closed one.
	Latency Latencies `json:"latency"`
	// Late is how long after it was due each answered request was sent: for want of a free connection, or as
	// this program was not quick enough.
	Late Latencies `json:"late"`
}

// tally counts for some connections.
type tally struct {
	mu sync.Mutex
	Result
}

func (t *tally) answered(status int, good bool, latency, late time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if good {
		t.Good++
	} else {
		t.Bad++
	}
	if t.Statuses == nil {
		t.Statuses = map[int]int64{}
	}
	t.Statuses[status]++
	t.Latency.Add(latency)
	t.Late.Add(late)
}

func (t *tally) failed(err error, latency time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Failed++
	t.Latency.Add(latency)
	if t.Reasons == nil {
		t.Reasons = map[string]int64{}
	}
	reason := reasonOf(err)
	if _, ok := t.Reasons[reason]; !ok && len(t.Reasons) >= maxReasons {
		reason = "others"
	}
	t.Reasons[reason]++
}

// reasonOf leaves out ports, which would make every reason another.
func reasonOf(err error) string {
	var op *net.OpError
	var number syscall.Errno
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return err.Error()
}

// unanswered counts a request that nobody answered, if it counts.
func (t *tally) unanswered(r *run, n int64) {
	due := r.end
	if r.Rate > 0 {
		due = r.schedule.at(n)
	}
	if due.Before(r.counted) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Unanswered++
	t.Latency.Add(time.Since(due))
}

// result puts together what the connections counted. None runs any more.
func (r *run) result() *Result {
	first, left := r.schedule.drop()
	for n := first; r.Rate > 0 && n < first+left; n++ {
		r.tally[0].unanswered(r, n)
	}
	all := &Result{Seconds: r.Duration.Seconds(), Wanted: r.Rate, Statuses: map[int]int64{}, Reasons: map[string]int64{}}
	for i := range r.tally {
		t := &r.tally[i]
		all.Good += t.Good
		all.Bad += t.Bad
		all.Failed += t.Failed
		all.Unanswered += t.Unanswered
		for s, n := range t.Statuses {
			all.Statuses[s] += n
		}
		for s, n := range t.Reasons {
			all.Reasons[s] += n
		}
		all.Latency.Merge(&t.Latency)
		all.Late.Merge(&t.Late)
	}
	all.Rate = float64(all.Good) / all.Seconds
	return all
}
