package replication

import (
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"veto/record"
	"veto/replication/index"
	"veto/replication/store"
)

// BenchmarkIndexCalm says how long the slowest look-ups of a whole token take while something else
// goes on in the node, beside the same when nothing does. Only the ratio of both says anything.
func BenchmarkIndexCalm(b *testing.B) {
	s := benchOpen(b, benchStore(b))
	defer func() { _ = s.Close() }()
	for _, mode := range []struct {
		name     string
		exactMax int
	}{{"exact", 1 << 40}, {"filter", 1000}} {
		b.Run(mode.name, func(b *testing.B) {
			x := benchIndex(s, mode.exactMax)
			defer func() { _ = x.Close() }()
			if err := x.Load(func(func(record.Change, error) bool) {}, "c", benchKey, x.Revision()); err != nil {
				b.Fatal(err)
			}
			benchAwaitRead(x)
			quiet := 0.0
			for _, c := range []struct {
				name string
				do   func() error
			}{
				{"quiet", nil},
				{"expiring", func() error { // of nothing: all is looked at
					x.Apply([]record.Change{{Record: &record.Expiry{Before: 1}, Gone: true}}, x.Revision()+1)
					return nil
				}},
				{"collecting garbage", func() error { runtime.GC(); return nil }},
				{"snapshot", func() error { return benchSnapshot(s) }},
				{"revoking and compacting", func() error { return benchRevoke(b, s, x) }},
				{"building", func() error { benchForget(x); return nil }},
			} {
				b.Run(c.name, func(b *testing.B) {
					p99, p999 := benchCalm(b, x, c.do)
					if c.do == nil {
						quiet = p99
					}
					b.ReportMetric(p99, "p99-ns")
					b.ReportMetric(p999, "p99.9-ns")
					b.ReportMetric(p99/quiet, "p99/quiet")
				})
			}
		})
	}
}

// benchCalm looks tokens up while something is done again and again.
func benchCalm(b *testing.B, x *index.Index, do func() error) (p99, p999 float64) {
	b.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	if do != nil {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	times, t := make([]int64, 0, 1<<24), newTokens()
	for b.Loop() {
		tokens := t.next()
		start := time.Now()
		if x.FirstDenied(tokens[:], 1) >= 0 {
			b.Fatal("denied")
		}
		if len(times) < cap(times) {
			times = append(times, time.Since(start).Nanoseconds())
		}
	}
	close(stop)
	wg.Wait()
	slices.Sort(times)
	return float64(times[len(times)*99/100]), float64(times[len(times)*999/1000])
}

func benchSnapshot(s *store.Store) error {
	n, err := s.Snapshot()
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }()
	_, err = n.WriteTo(io.Discard)
	return err
}

// benchRevoke revokes a thousand sessions more, as the applier does.
func benchRevoke(b *testing.B, s *store.Store, x *index.Index) error {
	b.Helper()
	at := s.Applied()
	at.Index++
	batch := s.Begin()
	changes := make([]record.Change, 1000)
	for i := range changes {
		n := *benchRevocations + int(at.Index)*1000 + i
		benchPut(b, batch, record.TargetSession, n)
		r := &record.Revocation{Name: benchName(record.TargetSession, n)}
		changes[i] = record.Change{Record: r, Digest: benchKey.Digest(r.Name)}
	}
	if err := batch.Commit(at); err != nil {
		return err
	}
	x.Apply(changes, x.Revision()+1)
	return nil
}

// benchForget tells the index of lifted revocations until a filter is made anew, from the disk,
// where they still are. In a table it takes the place of what a node does that lifts.
func benchForget(x *index.Index) {
	changes := make([]record.Change, 10_000)
	for i := range changes {
		r := &record.Revocation{Name: benchName(record.TargetJTI, i), At: now, KeptUntil: now.Add(time.Duration(i%benchHours) * time.Hour)}
		changes[i] = record.Change{Record: r, Gone: true, Digest: benchKey.Digest(r.Name)}
	}
	x.Apply(changes, x.Revision()+1)
}
