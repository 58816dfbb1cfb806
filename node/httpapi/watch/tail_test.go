package watch_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"veto/node/httpapi/gate"
	"veto/node/httpapi/watch"
)

// W6: what many streams follow is read once for all of them.
func TestManyStreamsReadOnce(t *testing.T) {
	const streams, revisions = 50, 40
	s := serve(t, func(c *watch.Config) { c.Places = gate.NewPlaces(streams + 1) })
	var all []*reader
	for range streams {
		all = append(all, s.open("after=0.0"))
	}
	for range revisions {
		s.happen(3, "")
		for _, r := range all {
			for range 3 {
				r.event()
			}
		}
	}
	s.mu.Lock()
	reads := s.reads
	s.mu.Unlock()
	// Each stream looks whether it can begin, and what there is at first; then each revision is read once, and at
	// most once more to see that there is nothing behind it.
	if most := 2*streams + 2*revisions + 2; reads > most {
		t.Errorf("events were read %d times for %d streams and %d revisions, want %d at most", reads, streams, revisions, most)
	}
}

// W6, W1: what happens while a stream rests goes in one page, and none is left out: not even of a revision that
// has more than is read at once, or for who is behind all that is kept in memory.
func TestStreamsRest(t *testing.T) {
	var rests atomic.Int64
	wake, resting := make(chan time.Time), make(chan time.Duration, 1)
	s := serve(t, func(c *watch.Config) {
		c.Space = time.Second
		c.After = func(d time.Duration) <-chan time.Time {
			rests.Add(1)
			select {
			case resting <- d:
			default:
			}
			return wake
		}
	})
	r := s.open("")
	<-resting // what is there at first
	for range 100 {
		s.happen(1, "")
	}
	s.happen(700, "")
	wake <- time.Time{}
	for i := range 100 {
		if e := r.event(); e.ID != fmt.Sprintf("%d.1", i+1) {
			t.Fatalf("%s, want that of revision %d", e.ID, i+1)
		}
	}
	for i := range 700 {
		if e := r.event(); e.ID != fmt.Sprintf("101.%d", i+1) {
			t.Fatalf("%s, want 101.%d", e.ID, i+1)
		}
	}
	if n := rests.Load(); n > 4 {
		t.Errorf("it rested %d times: each revision woke it", n)
	}
	if d := <-resting; d != time.Second {
		t.Errorf("one stream rests %s", d)
	}
	close(wake)
	late := s.open("after=7.0")
	if e := late.event(); e.ID != "7.1" {
		t.Errorf("%s", e.ID)
	}
}

// W1: who is behind what is kept in memory, and who is ahead of it, miss nothing.
func TestTailIsBounded(t *testing.T) {
	s := serve(t, func(*watch.Config) {})
	first := s.open("after=0.0")
	const revisions = 60
	for range revisions {
		s.happen(100, "") // more in all than is kept
	}
	read := func(r *reader, from int) {
		t.Helper()
		for rev := from; rev <= revisions; rev++ {
			for n := range 100 {
				if e := r.event(); e.ID != fmt.Sprintf("%d.%d", rev, n+1) {
					t.Fatalf("%s, want %d.%d", e.ID, rev, n+1)
				}
			}
		}
	}
	read(first, 1)
	read(s.open("after=0.0"), 1)
	read(s.open(fmt.Sprintf("after=%d.100", revisions-1)), revisions)
	now := s.open("")
	s.happen(1, "")
	for _, r := range []*reader{first, now} {
		if e := r.event(); e.ID != fmt.Sprintf("%d.1", revisions+1) {
			t.Errorf("%s", e.ID)
		}
	}
}

// turn counts those that are held.
type turn struct{ taken, held *atomic.Int64 }

func (o turn) Take(context.Context) error {
	o.taken.Add(1)
	o.held.Add(1)
	return nil
}

func (o turn) Leave() { o.held.Add(-1) }

// W6: who is far behind reads in a turn, which others have afterwards.
func TestFarBehindReadsInATurn(t *testing.T) {
	var taken, held atomic.Int64
	s := serve(t, func(c *watch.Config) { c.Turn = func() watch.Turn { return turn{&taken, &held} } })
	first := s.open("after=0.0")
	const revisions = 60
	for range revisions {
		s.happen(100, "") // more in all than is kept
	}
	read := func(r *reader) {
		for range 100 * revisions {
			r.event()
		}
	}
	read(first)
	read(s.open("after=0.0"))
	if taken.Load() == 0 || held.Load() != 0 {
		t.Errorf("%d turns were taken, and %d are held", taken.Load(), held.Load())
	}
}

// W6: who begins where the others are not yet does not leave them behind what is kept.
func TestNewcomersLeaveTheTail(t *testing.T) {
	var alone atomic.Int64
	wake, resting := make(chan time.Time), make(chan struct{}, 10)
	s := serve(t, func(c *watch.Config) {
		c.Turn = func() watch.Turn { alone.Add(1); return (*gate.Turn)(nil) }
		c.After = func(time.Duration) <-chan time.Time { resting <- struct{}{}; return wake }
	})
	s.happen(1, "")
	first := s.open("")
	<-resting
	const revisions = 50
	for range revisions {
		s.happen(10, "")
	}
	s.open(fmt.Sprintf("after=%d.10", revisions+1))
	<-resting
	close(wake)
	for i := range 10 * revisions {
		if e := first.event(); e.ID != fmt.Sprintf("%d.%d", i/10+2, i%10+1) {
			t.Fatalf("%s, want event %d", e.ID, i)
		}
	}
	if n := alone.Load(); n > 0 {
		t.Errorf("it read by itself %d times", n)
	}
}
