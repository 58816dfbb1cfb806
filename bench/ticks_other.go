//go:build !linux

package bench

import "time"

func newTicks(interval time.Duration) (ticks, error) { return newTicker(interval) }
