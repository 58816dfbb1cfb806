package limit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of limits.
const (
	MaxRate  = 1_000_000
	MaxBurst = 10_000_000
	MaxQuota = 1_000_000_000_000_000
	// MaxCost bounds what one request may cost.
	MaxCost = 10_000
)

// Limits are how much a key may be used, on all nodes together.
type Limits struct {
	// Rate is how much may be used in a time again and again, such as 100/s or 600/min.
	Rate Rate `json:"rate,omitzero" cbor:"1,keyasint,omitzero"`
	// Burst is how much may be used at once after a while of rest; what the rate allows in its
	// time, if it is not given.
	Burst uint32 `json:"burst,omitempty" cbor:"2,keyasint,omitempty"`
	// Quota is how much may be used in a day or a calendar month of UTC, such as 1000000/month.
	Quota Quota `json:"quota,omitzero" cbor:"3,keyasint,omitzero"`
}

// Parse reads limits as they are written; what is empty there is not.
func Parse(rate string, burst uint32, quota string) (Limits, error) {
	l := Limits{Burst: burst}
	if rate != "" {
		if err := l.Rate.UnmarshalText([]byte(rate)); err != nil {
			return Limits{}, err
		}
	}
	if quota != "" {
		if err := l.Quota.UnmarshalText([]byte(quota)); err != nil {
			return Limits{}, err
		}
	}
	return l, nil
}

// Complete fills in what was left to the default.
func (l *Limits) Complete() {
	if l.Burst == 0 {
		l.Burst = l.Rate.Requests
	}
}

// Check reports what is wrong with the limits as an operator gave them, or nil.
func (l *Limits) Check() error {
	if err := l.Rate.check(); err != nil {
		return err
	}
	if err := l.Quota.check(); err != nil {
		return err
	}
	if *l == (Limits{}) {
		return errors.New("limits: give a rate, a quota, or both")
	}
	if l.Rate == (Rate{}) && l.Burst > 0 {
		return errors.New("limits: a burst needs a rate")
	}
	if l.Burst > MaxBurst {
		return fmt.Errorf("limits: burst: at most %d", MaxBurst)
	}
	return nil
}

// Rate is so many requests in so many seconds. The zero Rate is none.
type Rate struct {
	_        struct{} `cbor:",toarray"`
	Requests uint32
	Seconds  uint32
}

func (r Rate) check() error {
	if r == (Rate{}) {
		return nil
	}
	if r.Requests == 0 || r.Requests > MaxRate || r.Seconds != 1 && r.Seconds != 60 {
		return errRate
	}
	return nil
}

var (
	errRate  = fmt.Errorf("limits: rate: must be such as 100/s or 600/min, of at most %d", MaxRate)
	errQuota = fmt.Errorf("limits: quota: must be such as 10000/day or 1000000/month, of at most %d", uint64(MaxQuota))
)

// String is the rate as it is written: 100/s, or 600/min.
func (r Rate) String() string {
	switch {
	case r == (Rate{}):
		return ""
	case r.Seconds == 60:
		return fmt.Sprintf("%d/min", r.Requests)
	}
	return fmt.Sprintf("%d/s", r.Requests)
}

// MarshalText writes it so.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what String writes.
func (r *Rate) UnmarshalText(b []byte) error {
	n, per, ok := parse(b)
	read := Rate{Requests: uint32(min(n, MaxRate+1)), Seconds: map[string]uint32{"s": 1, "min": 60}[per]}
	if !ok || read.check() != nil {
		return errRate
	}
	*r = read
	return nil
}

// Period is the time for which a quota holds. The numbers are in the log and never change.
type Period uint8

// The periods.
const (
	Day   Period = 1
	Month Period = 2
)

// String is the name of the period.
func (p Period) String() string {
	switch p {
	case Day:
		return "day"
	case Month:
		return "month"
	}
	return ""
}

// Window is the window of the period that the time is in, in seconds since 1970: from start until
// before end.
func (p Period) Window(t time.Time) (start, end int64) {
	y, m, d := t.UTC().Date()
	if p == Month {
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).Unix()
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix(), time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC).Unix()
}

// Quota is so many requests in a day or a month. The zero Quota is none.
type Quota struct {
	_        struct{} `cbor:",toarray"`
	Requests uint64
	Period   Period
}

func (q Quota) check() error {
	if q == (Quota{}) {
		return nil
	}
	if q.Requests == 0 || q.Requests > MaxQuota || q.Period != Day && q.Period != Month {
		return errQuota
	}
	return nil
}

// String is the quota as it is written: 1000000/month.
func (q Quota) String() string {
	if q == (Quota{}) {
		return ""
	}
	return fmt.Sprintf("%d/%s", q.Requests, q.Period)
}

// MarshalText writes it so.
func (q Quota) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads what String writes.
func (q *Quota) UnmarshalText(b []byte) error {
	n, per, ok := parse(b)
	read := Quota{Requests: n, Period: map[string]Period{"day": Day, "month": Month}[per]}
	if !ok || read.check() != nil {
		return errQuota
	}
	*q = read
	return nil
}

// parse reads a number without a sign or zeros before it, and what is behind the stroke.
func parse(b []byte) (n uint64, per string, ok bool) {
	number, per, ok := strings.Cut(string(b), "/")
	n, err := strconv.ParseUint(number, 10, 64)
	return n, per, ok && err == nil && number[0] != '0'
}
