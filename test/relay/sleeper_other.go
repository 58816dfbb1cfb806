//go:build !linux

package relay

import "time"

// Sleeper sleeps as exactly as the runtime does.
type Sleeper struct{}

// NewSleeper makes one.
func NewSleeper() (*Sleeper, error) { return &Sleeper{}, nil }

// Sleep blocks for the duration.
func (*Sleeper) Sleep(d time.Duration) error { time.Sleep(d); return nil }

// Close does nothing.
func (*Sleeper) Close() error { return nil }
