package machine

import (
	"crypto/sha256"
	"fmt"
	"time"

	"veto/record"
)

// A request is remembered in the bucket of the end of its day, plus one day: so for 24 to 48
// hours, found by two look-ups, and dropped with the bucket.
const day = 24 * time.Hour

func requestKey(sum [sha256.Size]byte, dayOf time.Time) []byte {
	kept := record.BucketUntil(dayOf.Truncate(day).Add(2 * day))
	return record.TableRequests.Key(kept.Bytes(), sum[:])
}

func requestSum(c record.Command) [sha256.Size]byte {
	return sha256.Sum256([]byte(c.By + "\x00" + c.Request.Key))
}

// recall finds what came of the request when it was done before.
func recall(s Reader, c record.Command) (record.Result, bool, error) {
	if c.Request.Key == "" {
		return record.Result{}, false, nil
	}
	days, err := daysOf(s, c.Stamp)
	if err != nil {
		return record.Result{}, false, err
	}
	sum := requestSum(c)
	for _, at := range days {
		r, ok, err := get[record.Remembered](s, requestKey(sum, at))
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

// daysOf are those in which a request can have been done that is known at the time: the day, the one before,
// and just before midnight the one after, as the clock of the leader before may have been ahead.
func daysOf(s Reader, now time.Time) ([]time.Time, error) {
	days := []time.Time{now, now.Add(-day)}
	if now.Add(skew).Truncate(day).Equal(now.Truncate(day)) {
		return days, nil
	}
	level, err := Level(s)
	if level >= record.LevelTrail {
		days = append(days, now.Add(day))
	}
	return days, err
}

// skew is how far the clocks of two leaders may be apart: a node warns of half as much.
const skew = time.Hour

func remember(s State, c record.Command, result record.Result) error {
	if c.Request.Key == "" {
		return nil
	}
	return put(s, requestKey(requestSum(c), c.Stamp), record.Remembered{Sum: c.Request.Sum, Result: result})
}

// meets refuses a command whose condition is not met by the record that it is about, as that is now.
func (x *change) meets(c record.Command) error {
	if c.Condition.When == record.WhenAny {
		return nil
	}
	now, err := x.revisionOf(c.Body)
	if err != nil || c.Condition.Met(now) {
		return err
	}
	if now == 0 && c.Condition.When != record.WhenAbsent && !creates(c.Body) {
		return nil // that it is not there the command itself says
	}
	detail := "this is not there, and so not as the condition says; leave the condition out to make it"
	switch {
	case c.Condition.When == record.WhenAbsent:
		detail = fmt.Sprintf("this is there already, and has revision %d; read it, and change it on the condition that it has that", now)
	case now != 0:
		detail = fmt.Sprintf("this was changed meanwhile, and has revision %d; read it again before you change it", now)
	}
	return &record.Rejection{Reason: record.ReasonPrecondition, Detail: detail, Present: now}
}

func creates(b record.Body) bool {
	switch b.(type) {
	case record.PutIssuer, record.PutConsumer, record.PutRole:
		return true
	}
	return false
}

// revisionOf is that of the record that a command is about; 0 if there is none.
func (x *change) revisionOf(b record.Body) (record.Revision, error) {
	switch b := b.(type) {
	case record.PutIssuer:
		return revisionAt(x, issuerKey(b.Issuer.ID), issuerRevision)
	case record.DeleteIssuer:
		return revisionAt(x, issuerKey(b.ID), issuerRevision)
	case record.PutConsumer:
		return revisionAt(x, consumerKey(b.Consumer.ID), consumerRevision)
	case record.UpdateConsumer:
		return revisionAt(x, consumerKey(b.ID), consumerRevision)
	case record.DeleteConsumer:
		return revisionAt(x, consumerKey(b.ID), consumerRevision)
	case record.UpdateKey:
		return revisionAt(x, keyKey(b.ID), keyRevision)
	case record.RollKey:
		return revisionAt(x, keyKey(b.ID), keyRevision)
	case record.DeleteKey:
		return revisionAt(x, keyKey(b.ID), keyRevision)
	case record.PutRole:
		return revisionAt(x, roleKey(b.Role.ID), roleRevision)
	case record.DeleteRole:
		return revisionAt(x, roleKey(b.ID), roleRevision)
	case record.Lift:
		return x.shownRevision(b.Digest)
	}
	return 0, record.Invalid("a change of this kind takes no condition")
}

func issuerRevision(i record.Issuer) record.Revision     { return i.Revision }
func consumerRevision(c record.Consumer) record.Revision { return c.Revision }
func keyRevision(k record.APIKey) record.Revision        { return k.Revision }
func roleRevision(r record.DefinedRole) record.Revision  { return r.Revision }

func revisionAt[T any](x *change, key []byte, of func(T) record.Revision) (record.Revision, error) {
	r, ok, err := get[T](x.state, key)
	if err != nil || !ok {
		return 0, err
	}
	return of(r), nil
}

// shownRevision is that of the revocation of a name that is shown: the one that denies most, and of
// several the one that is kept longest.
func (x *change) shownRevision(d record.Digest) (record.Revision, error) {
	all, err := x.allOf(d)
	var shown record.Revocation
	for _, one := range all { // by the time until which they are kept
		if r := one.revocation; shown.Revision == 0 || r.Cutoff() >= shown.Cutoff() {
			shown = r
		}
	}
	return shown.Revision, err
}
