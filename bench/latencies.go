package bench

import (
	"encoding/json"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// What a Latencies tells apart: microseconds to a part in a thousand, up to two minutes.
const (
	coarsest = 2 * time.Minute
	digits   = 3
)

// Latencies are durations, kept as an HDR histogram. The zero value holds none. It is not for use from
// several goroutines at once.
type Latencies struct{ h *hdr.Histogram }

// Add counts a duration; one that is longer than two minutes as two minutes.
func (l *Latencies) Add(d time.Duration) {
	if l.h == nil {
		l.h = hdr.New(1, coarsest.Microseconds(), digits)
	}
	_ = l.h.RecordValue(min(max(d, time.Microsecond), coarsest).Microseconds()) // it is within the bounds
}

// Merge adds what the other holds.
func (l *Latencies) Merge(other *Latencies) {
	switch {
	case other.h == nil:
	case l.h == nil:
		l.h = hdr.Import(other.h.Export())
	default:
		l.h.Merge(other.h)
	}
}

// Count is how many there are.
func (l *Latencies) Count() int64 {
	if l.h == nil {
		return 0
	}
	return l.h.TotalCount()
}

// At is the duration that the share of them, from 0 to 1, does not exceed; 0 if there are none.
func (l *Latencies) At(share float64) time.Duration {
	if l.h == nil {
		return 0
	}
	return time.Duration(l.h.ValueAtQuantile(share*100)) * time.Microsecond
}

// Max is the longest.
func (l *Latencies) Max() time.Duration { return l.At(1) }

// MarshalJSON gives the count and the quantiles that people ask for, in microseconds.
func (l *Latencies) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Count int64 `json:"count"`
		P50   int64 `json:"p50_us"`
		P90   int64 `json:"p90_us"`
		P99   int64 `json:"p99_us"`
		P999  int64 `json:"p999_us"`
		Max   int64 `json:"max_us"`
	}{l.Count(), l.At(0.5).Microseconds(), l.At(0.9).Microseconds(), l.At(0.99).Microseconds(), l.At(0.999).Microseconds(), l.Max().Microseconds()})
}
