package index

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"veto/record"
)

const (
	// parts of all digests are loaded one beside the other. Digests are spread evenly, so one
	// part also tells how many there are in all.
	parts         = 64
	shardsPerPart = shards / parts
)

// loader reads the disk's revocations into tables that nobody sees yet.
type loader struct {
	disk   Disk
	tables *tables
	runs   []run
	taken  atomic.Int64 // of parts
}

// run is one class in one bucket: what stands together on disk.
type run struct {
	class  record.Class
	bucket record.Bucket
	held   atomic.Int64 // digests that were added of it
}

// load takes in what is on disk, with all processors.
func (t *tables) load(disk Disk) error {
	l := &loader{disk: disk, tables: t}
	if err := l.findRuns(); err != nil || len(l.runs) == 0 {
		return err
	}
	if err := l.prepare(); err != nil {
		return err
	}
	workers := min(runtime.GOMAXPROCS(0), parts)
	failed := make([]error, workers)
	var wg sync.WaitGroup
	for i := range failed {
		wg.Go(func() { failed[i] = l.work() })
	}
	wg.Wait()
	for i := range l.runs {
		c := t.class(l.runs[i].class)
		c.mu.Lock()
		c.shown.Load().filter.tally(l.runs[i].bucket, int(l.runs[i].held.Load()))
		c.bound()
		c.mu.Unlock()
	}
	return errors.Join(failed...)
}

// findRuns finds which classes there are in which buckets.
func (l *loader) findRuns() error {
	for from, more := (record.Entry{}), true; more; {
		var r *run
		err := l.disk.Revocations(from, func(e record.Entry) bool {
			r = &run{class: e.Digest.Class(), bucket: e.Bucket}
			return false
		})
		if err != nil || r == nil {
			return err
		}
		if r.class >= record.Classes {
			return fmt.Errorf("index: there are revocations of class %d, which this version does not know", r.class)
		}
		l.runs = append(l.runs, run{class: r.class, bucket: r.bucket})
		from, more = r.after()
	}
	return nil
}

// after is where the next run may begin.
func (r *run) after() (from record.Entry, more bool) {
	switch {
	case r.class < 1<<8-1:
		return record.Entry{Bucket: r.bucket, Digest: record.Digest{byte(r.class + 1)}}, true
	case r.bucket < record.Forever:
		return record.Entry{Bucket: r.bucket + 1}, true
	}
	return record.Entry{}, false
}

// prepare makes each class's filter and table, big enough for what one part of the digests tells.
func (l *loader) prepare() error {
	var sample [record.Classes]int
	for i := range l.runs {
		r := &l.runs[i]
		if err := l.part(r, 0, func(record.Entry) { sample[r.class]++ }); err != nil {
			return err
		}
	}
	for i := range l.runs {
		r := &l.runs[i]
		c := l.tables.revocations[r.class].Load()
		if c == nil {
			c = newClass(r.class, sample[r.class]*parts, l.tables.exactMax)
			use(l.tables.used, record.Digest{byte(r.class)})
			l.tables.revocations[r.class].Store(c)
		}
		c.mu.Lock()
		c.use(r.bucket)
		c.mu.Unlock()
	}
	return nil
}

// work loads parts until none is left. Each has shards of its own in the tables, and a
// piece of its own of the filters.
func (l *loader) work() error {
	for n := l.taken.Add(1) - 1; n < parts; n = l.taken.Add(1) - 1 {
		for i := range l.runs {
			r := &l.runs[i]
			s := l.tables.revocations[r.class].Load().shown.Load()
			held := int64(0)
			err := l.part(r, int(n), func(e record.Entry) {
				k := keyOf(&e.Digest)
				if s.exact != nil {
					s.exact.add(k, newRule(e.Bucket, e.Cutoff))
				}
				if s.filter.add(k) {
					held++
				}
			})
			r.held.Add(held)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// part goes through one part of a run.
func (l *loader) part(r *run, n int, fn func(record.Entry)) error {
	from := record.Entry{Bucket: r.bucket, Digest: record.Digest{byte(r.class), byte(n * shardsPerPart)}}
	return l.disk.Revocations(from, func(e record.Entry) bool {
		if e.Bucket != r.bucket || e.Digest.Class() != r.class || int(e.Digest[1])/shardsPerPart != n {
			return false
		}
		fn(e)
		return true
	})
}
