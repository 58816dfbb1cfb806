package validate

import (
	"fmt"
	"strconv"
	"time"

	"veto/record"
)

// Limiter counts how much API keys are used that have limits.
type Limiter interface {
	// Take uses up the cost, if all the key's limits have room for it, and nothing otherwise. It does
	// not block on the network.
	Take(k *record.APIKey, cost uint32, now time.Time) (Use, Code)
	// Look says what Take would, and uses up nothing.
	Look(k *record.APIKey, cost uint32, now time.Time) (Use, Code)
}

// Use is what is left of a key's limits.
type Use struct {
	Rate  RateUse
	Quota QuotaUse
}

// RateUse is what is left of a rate, here and now. Limit and Window, Remaining and Reset are the
// parameters q and w, r and t of the fields RateLimit-Policy and RateLimit, and RetryAfter is what
// the field of that name says (draft-ietf-httpapi-ratelimit-headers-11).
type RateUse struct {
	// Limit is how much the key may be used in Window seconds, and Burst at once, on all nodes.
	Limit  uint32 `json:"limit,omitempty"`
	Window uint32 `json:"window_seconds,omitempty"`
	Burst  uint32 `json:"burst,omitempty"`
	// Remaining is what this node may let through at once, and Reset when its share of the burst
	// is whole again, in seconds.
	Remaining uint32 `json:"remaining"`
	Reset     uint32 `json:"reset_seconds"`
	// RetryAfter is, if it was refused, when it is worth while to ask again, in seconds.
	RetryAfter uint32 `json:"retry_after_seconds,omitempty"`
}

// QuotaUse is what is left of a quota, as far as this node knows.
type QuotaUse struct {
	// Limit is how much the key may be used in the window, which is Window seconds long.
	Limit  uint64 `json:"limit"`
	Window uint32 `json:"window_seconds"`
	// Remaining is what is left of it, and Reset when the next window begins, in seconds.
	Remaining uint64 `json:"remaining"`
	Reset     uint32 `json:"reset_seconds"`
}

// String is for people.
func (u Use) String() string {
	text := ""
	if r := u.Rate; r.Limit > 0 {
		text = fmt.Sprintf("%d of a burst of %d left on this node, at %d in %d s", r.Remaining, r.Burst, r.Limit, r.Window)
	}
	if q := u.Quota; q.Limit > 0 {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("%d of a quota of %d left, for %s", q.Remaining, q.Limit, time.Duration(q.Reset)*time.Second)
	}
	return text
}

// limited takes in what came of the limits.
func (d *Verdict) limited(u Use, code Code) {
	d.Code, d.RateLimit, d.Quota = code, u.Rate, u.Quota
	d.Outcome = code.Outcome()
}

func appendUse(b []byte, r RateUse, q QuotaUse) []byte {
	if r != (RateUse{}) {
		b = append(b, `,"rate_limit":{`...)
		b = appendCount(b, `"limit":`, uint64(r.Limit))
		b = appendCount(b, `"window_seconds":`, uint64(r.Window))
		b = appendCount(b, `"burst":`, uint64(r.Burst))
		b = strconv.AppendUint(append(b, `"remaining":`...), uint64(r.Remaining), 10)
		b = strconv.AppendUint(append(b, `,"reset_seconds":`...), uint64(r.Reset), 10)
		if r.RetryAfter > 0 {
			b = strconv.AppendUint(append(b, `,"retry_after_seconds":`...), uint64(r.RetryAfter), 10)
		}
		b = append(b, '}')
	}
	if q != (QuotaUse{}) {
		b = strconv.AppendUint(append(b, `,"quota":{"limit":`...), q.Limit, 10)
		b = strconv.AppendUint(append(b, `,"window_seconds":`...), uint64(q.Window), 10)
		b = strconv.AppendUint(append(b, `,"remaining":`...), q.Remaining, 10)
		b = strconv.AppendUint(append(b, `,"reset_seconds":`...), uint64(q.Reset), 10)
		b = append(b, '}')
	}
	return b
}

// appendCount appends a member and a comma, unless the number is zero.
func appendCount(b []byte, name string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return append(strconv.AppendUint(append(b, name...), n, 10), ',')
}
