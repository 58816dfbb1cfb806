package limiter

import (
	"math"
	"strings"
	"sync"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/validate"
)

// entry is what is counted of one key on this node.
type entry struct {
	key string

	mu       sync.Mutex // held for what follows, and while no other of its kind is
	revision record.Revision
	limits   limit.Limits // of that revision
	nodes    int32
	share    uint32 // of the rate that is leased until then, above the floor
	until    int64
	bucket   bucket
	window   window
	usage
	urgent bool // to be told of soon
}

// usage is how much is asked for, refused or not.
type usage struct {
	asked    uint64
	before   uint64 // asked, when it was measured last
	measured int64
	rested   int64   // since when nothing was asked for
	demand   float64 // a second, averaged
}

func newEntry(k *record.APIKey, nodes int32, at int64) *entry {
	// A part of the record would keep much more.
	e := &entry{key: strings.Clone(k.ID), revision: k.Revision, limits: *k.Limits, nodes: nodes}
	e.bucket.at, e.measured, e.rested = at, at, at
	e.resize(false)
	return e
}

// request is what a key is asked for.
type request struct {
	key    *record.APIKey
	cost   uint32
	now    time.Time
	at     int64
	nodes  int32
	really bool // otherwise nothing is used up
}

const shortly = time.Second // when more of a quota may have been drawn

// use uses up the cost, of all limits or of none. It says whether the rounds are to know soon.
func (e *entry) use(r request, taken func(key string) limit.Usage) (u validate.Use, code validate.Code, urgent bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settle(r.key, r.nodes, r.at)
	e.open(r.now, taken)
	b, w := &e.bucket, &e.window
	enough, wait := w.suffices(r.cost, r.nodes), b.wait(float64(r.cost))
	switch {
	case !enough && w.pool <= 0:
		code, wait = validate.QuotaExceeded, 0
	case !enough:
		code, wait = validate.RateLimited, shortly
	case wait > 0:
		code = validate.RateLimited
	default:
		code = validate.OK
	}
	if r.really {
		e.asked += uint64(r.cost)
		if code == validate.OK && b.room > 0 {
			b.left -= float64(r.cost)
		}
		if code == validate.OK && w.quota != (limit.Quota{}) {
			w.left -= int64(r.cost)
		}
		short := (wait > 0 || b.left < b.room/2) && e.share == 0 && r.nodes > 1 || w.left < 0 || !enough && w.pool > 0
		urgent = short && !e.urgent
		e.urgent = e.urgent || short
	}
	return validate.Use{Rate: e.rateUse(wait), Quota: e.quotaUse(r.now)}, code, urgent
}

// settle brings the entry to what is in force at a time. The key is nil if there is no news of it. The caller holds the lock, also below.
func (e *entry) settle(k *record.APIKey, nodes int32, at int64) {
	if e.share > 0 && at >= e.until {
		e.share = 0
		e.resize(false)
	}
	e.bucket.fill(at)
	if k != nil && k.Revision > e.revision {
		e.revision, e.limits = k.Revision, *k.Limits
		e.resize(false)
	}
	if nodes != e.nodes {
		e.nodes = nodes
		e.resize(false)
	}
}

// resize makes the bucket one of this node's part.
func (e *entry) resize(full bool) {
	r := e.limits.Rate
	if r == (limit.Rate{}) {
		e.bucket = bucket{at: e.bucket.at}
		return
	}
	part := min(float64(limit.FloorOf(int(e.nodes)))+float64(e.share), limit.Whole) / limit.Whole
	e.bucket.resize(part*float64(r.Requests)/float64(r.Seconds), limit.BurstOf(int(e.nodes), e.share)*float64(e.limits.Burst), full)
}

// open sees to it that the window is the one that the time is in.
func (e *entry) open(now time.Time, taken func(key string) limit.Usage) {
	w, q := &e.window, e.limits.Quota
	switch {
	case q == (limit.Quota{}):
		*w = window{}
	case w.quota.Period != q.Period || !w.has(now.Unix()):
		*w = newWindow(q, now, taken(e.key))
	case w.quota != q: // what was drawn stays drawn
		left := w.left
		*w = newWindow(q, now, taken(e.key))
		w.left = left
	}
}

func (e *entry) rateUse(wait time.Duration) validate.RateUse {
	b := &e.bucket
	if b.room == 0 {
		return validate.RateUse{RetryAfter: seconds(wait)}
	}
	return validate.RateUse{
		Limit: e.limits.Rate.Requests, Window: e.limits.Rate.Seconds, Burst: e.limits.Burst,
		Remaining: uint32(max(b.left, 0)), Reset: seconds(b.wait(b.room)), RetryAfter: seconds(wait),
	}
}

func (e *entry) quotaUse(now time.Time) validate.QuotaUse {
	w := &e.window
	if w.quota == (limit.Quota{}) {
		return validate.QuotaUse{}
	}
	return validate.QuotaUse{
		Limit: w.quota.Requests, Window: uint32(w.end - w.start),
		Remaining: uint64(max(w.pool+w.left, 0)), Reset: uint32(max(w.end-now.Unix(), 0)),
	}
}

// seconds are whole ones, rounded up.
func seconds(d time.Duration) uint32 {
	return uint32(min((d+time.Second-1)/time.Second, math.MaxUint32))
}
