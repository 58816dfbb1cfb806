//go:build !faults

package main

import "time"

// clock is the machine's.
func clock() func() time.Time { return time.Now }
