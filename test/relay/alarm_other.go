//go:build !linux

package relay

import "time"

// Alarm rings as exactly as the runtime does.
type Alarm struct{}

// NewAlarm makes one.
func NewAlarm() (*Alarm, error) { return &Alarm{}, nil }

// Wait blocks for the duration.
func (*Alarm) Wait(d time.Duration) error { <-time.After(d); return nil }

// Close does nothing.
func (*Alarm) Close() error { return nil }
