package index

import (
	"context"
	"sync"
	"time"

	"veto/record"
)

const (
	// pageKeys are read from the disk before the builder rests for pagePause, so that it holds
	// nothing of the disk's for long and leaves the machine to those who look things up.
	pageKeys  = 4096
	pagePause = time.Millisecond
	// spare is the part of what there is that a new filter without a table has room for beyond
	// it: a quarter.
	spare = 4
)

// builder makes filters anew that are worn. It is one goroutine, which makes one at a time, from
// what is on disk.
type builder struct {
	index *Index
	wake  chan struct{} // of one: more news is no news
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

func startBuilder(x *Index) *builder {
	ctx, stop := context.WithCancel(context.Background())
	b := &builder{index: x, wake: make(chan struct{}, 1), stop: stop}
	b.wg.Go(func() { b.run(ctx) })
	return b
}

func (b *builder) close() {
	b.stop()
	b.wg.Wait()
}

// look wakes the builder if there is something to do. Called by the writer.
func (b *builder) look(t *tables) {
	if b.due(t) == nil {
		return
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *builder) due(t *tables) *class {
	for c := range t.classes() {
		if c.due() {
			return c
		}
	}
	return nil
}

func (b *builder) run(ctx context.Context) {
	for failures := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		t := b.index.tables.Load()
		for c := b.due(t); c != nil; c = b.due(t) {
			if err := b.build(ctx, t, c); err != nil {
				if failures++; failures&(failures-1) == 0 {
					b.index.config.Log.Error("a filter of revocations cannot be built; what is there stays in use", "times", failures, "error", err)
				}
				break
			}
			if t = b.index.tables.Load(); ctx.Err() != nil {
				return
			}
		}
	}
}

// build makes a filter of the class and shows it. Readers and the writer go on meanwhile.
func (b *builder) build(ctx context.Context, t *tables, c *class) error {
	f, buckets := c.begin()
	complete := false
	defer func() { c.end(f, complete) }()
	for _, bucket := range buckets {
		from, more := record.Entry{Bucket: bucket, Digest: record.Digest{byte(c.number)}}, true
		for more {
			var err error
			if from, more, err = b.page(c, f, from); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pagePause):
			}
			if b.index.tables.Load() != t {
				return nil // all of it was replaced
			}
		}
	}
	complete = true
	return nil
}

// page adds the next keys of a bucket, and tells where to go on.
func (b *builder) page(c *class, f *filter, from record.Entry) (next record.Entry, more bool, err error) {
	keys, added := 0, 0
	err = b.index.config.Disk.Revocations(from, func(e record.Entry) bool {
		if e.Bucket != from.Bucket || e.Digest.Class() != c.number {
			return false
		}
		if keys == pageKeys {
			next, more = e, true
			return false
		}
		keys++
		if f.add(keyOf(&e.Digest)) {
			added++
		}
		return true
	})
	c.counted(f, from.Bucket, added)
	return next, more, err
}
