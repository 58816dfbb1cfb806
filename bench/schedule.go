package bench

import (
	"math"
	"sync"
	"time"
)

// schedule hands out requests to connections, in the order in which they are due. What is due and not
// taken yet is a number only, so that it needs no room however much it grows.
type schedule struct {
	start time.Time
	rate  float64 // a second; 0 in the closed loop, where each is due when it is taken

	mu    sync.Mutex
	next  int64 // the first that nobody has taken
	due   int64 // how many were due by now
	ended bool
	// idle are those who wait, the longest first, from head on.
	idle []chan int64
	head int
}

// at is when the n-th is due, from zero.
func (s *schedule) at(n int64) time.Time {
	return s.start.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
}

// take waits for a request that is due and gives its number; -1 if there are no more. Wake is of the
// caller's own, with room for one.
func (s *schedule) take(wake chan int64) int64 {
	s.mu.Lock()
	switch {
	case s.rate == 0 && !s.ended, s.next < s.due:
		n := s.next
		s.next++
		s.mu.Unlock()
		return n
	case s.ended:
		s.mu.Unlock()
		return -1
	}
	if s.head > len(s.idle)/2 {
		s.idle = append(s.idle[:0], s.idle[s.head:]...)
		s.head = 0
	}
	s.idle = append(s.idle, wake)
	s.mu.Unlock()
	return <-wake
}

// release makes due what is due by now, but none that is due at the end or after.
func (s *schedule) release(now, end time.Time) {
	due := int64(now.Sub(s.start).Seconds()*s.rate) + 1
	if !now.Before(end) {
		due = int64(math.Ceil(end.Sub(s.start).Seconds() * s.rate))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = max(s.due, due)
	for s.next < s.due && s.head < len(s.idle) {
		s.idle[s.head] <- s.next
		s.head++
		s.next++
	}
}

// end lets nobody wait any more. What is due already is still handed out.
func (s *schedule) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, wake := range s.idle[s.head:] {
		wake <- -1
	}
	s.idle, s.head = nil, 0
}

// drop takes all that is due and was not handed out: first is the first of these, count how many.
func (s *schedule) drop() (first, count int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, count = s.next, s.due-s.next
	s.next, s.ended = s.due, true
	return first, max(count, 0)
}
