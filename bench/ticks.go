package bench

import "time"

// ticks come at an interval.
type ticks interface {
	// wait blocks until the next one has come; at once if one came since.
	wait() error
	stop()
}

// ticker is good to a millisecond, as the runtime's timers are where little else happens.
type ticker struct{ t *time.Ticker }

func newTicker(interval time.Duration) (ticks, error) { return ticker{time.NewTicker(interval)}, nil }

func (t ticker) wait() error { <-t.t.C; return nil }
func (t ticker) stop()       { t.t.Stop() }
