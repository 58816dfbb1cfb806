//go:build faults

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

// clockVariable names the file that says by how many seconds this program's clock is wrong. No other
// build than that for test/faults has it.
const clockVariable = "FAULTS_OF_VETO_CLOCK"

const lookAgain = 20 * time.Millisecond

// clock is the machine's, set forward or back as the file says. A program that is linked statically
// and asks the kernel without libc has its clock set in no other way, but for the whole machine's.
func clock() func() time.Time {
	path := os.Getenv(clockVariable)
	if path == "" {
		return time.Now
	}
	began := time.Now()
	var wrong, looked atomic.Int64
	looked.Store(-int64(lookAgain))
	return func() time.Time {
		now := time.Now()
		since := int64(now.Sub(began))
		if last := looked.Load(); since-last >= int64(lookAgain) && looked.CompareAndSwap(last, since) {
			text, err := os.ReadFile(path)
			seconds, ok := int64(0), err == nil
			if ok {
				seconds, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			}
			if ok && err == nil { // what is just being written is read the next time
				wrong.Store(seconds)
			}
		}
		return set(now, wrong.Load())
	}
}

// set moves the time of day and leaves the monotonic reading as it is, as whoever sets a clock does:
// Add would move both, and nothing that measures would notice. Times of time.Now have their seconds
// from bit 30 of their first word on.
func set(t time.Time, seconds int64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(seconds) << 30
	return t
}
