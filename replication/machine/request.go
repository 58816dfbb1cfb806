package machine

import (
	"crypto/sha256"
	"time"

	"veto/record"
)

// A request is remembered in the bucket of the end of its day, plus one day: so for 24 to 48
// hours, found by two look-ups, and dropped with the bucket.
const day = 24 * time.Hour

func requestKey(c record.Command, dayOf time.Time) []byte {
	sum := sha256.Sum256([]byte(c.By + "\x00" + c.Request.Key))
	kept := record.BucketUntil(dayOf.Truncate(day).Add(2 * day))
	return record.TableRequests.Key(kept.Bytes(), sum[:])
}

// recall finds what came of the request when it was done before.
func recall(s Reader, c record.Command) (record.Result, bool, error) {
	if c.Request.Key == "" {
		return record.Result{}, false, nil
	}
	for _, at := range []time.Time{c.Stamp, c.Stamp.Add(-day)} {
		r, ok, err := get[record.Remembered](s, requestKey(c, at))
		if err != nil {
			return record.Result{}, false, err
		}
		if !ok {
			continue
		}
		if r.Sum != c.Request.Sum {
			return record.Result{}, false, record.Conflict("this Idempotency-Key was used for another request; use a new one")
		}
		r.Result.Repeated = true
		return r.Result, true, nil
	}
	return record.Result{}, false, nil
}

func remember(s State, c record.Command, result record.Result) error {
	if c.Request.Key == "" {
		return nil
	}
	return put(s, requestKey(c, c.Stamp), record.Remembered{Sum: c.Request.Sum, Result: result})
}
