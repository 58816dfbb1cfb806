package index

import (
	"context"
	"slices"
	"sync"
	"time"

	"veto/record"
)

const (
	// pageKeys are read from the disk before the builder rests for pagePause, so that it holds
	// nothing of the disk's for long and leaves the machine to those who look things up.
	pageKeys  = 4096
	pagePause = time.Millisecond
	// takeKeys of them are taken in at once: the writer waits for no more.
	takeKeys = 256
	// spare is the part of what there is that a new filter without a table has room for beyond
	// it: a quarter.
	spare = 4
	// sample is the part of the digests that is counted to tell how many there are: they are spread evenly.
	sample = 64
)

// builder reads what is on disk: after the start, and to make filters anew that are worn. It is one
// goroutine, which makes one at a time.
type builder struct {
	index *Index
	wake  chan struct{} // of one: more news is no news
	stop  context.CancelFunc
	wg    sync.WaitGroup
	keys  int // read since the last rest
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

// read is what a revocation's key on disk says, but for its bucket.
type read struct {
	key  key
	rule rule
}

// build makes what readers look in for the class, and shows it. They and the writer go on meanwhile.
func (b *builder) build(ctx context.Context, t *tables, c *class) error {
	live, err := b.live(ctx, c)
	if err != nil {
		return err
	}
	buckets, exact := c.begin(live)
	complete := false
	defer func() { c.end(complete) }()
	if exact != nil {
		complete = b.copy(ctx, t, c, exact)
		return nil
	}
	for _, bucket := range buckets {
		from, more := record.Entry{Bucket: bucket, Digest: record.Digest{byte(c.number)}}, true
		for more {
			if from, more, err = b.page(c, from); err != nil {
				return err
			}
			if b.rest(ctx); ctx.Err() != nil || b.index.tables.Load() != t {
				return nil // all of it was replaced, or is not wanted any more
			}
		}
	}
	complete = true
	return nil
}

// copy takes in what a table has, which is in memory, and tells whether that is all.
func (b *builder) copy(ctx context.Context, t *tables, c *class, from *table) bool {
	for i := range from.shards {
		for some := range slices.Chunk(*from.shards[i].slots.Load(), takeKeys) {
			c.take(livingIn(some))
			b.keys += len(some)
			if b.rest(ctx); ctx.Err() != nil || b.index.tables.Load() != t {
				return false // as above
			}
		}
	}
	return true
}

// rest does so when it is time.
func (b *builder) rest(ctx context.Context) {
	if b.keys < pageKeys {
		return
	}
	b.keys = 0
	select {
	case <-ctx.Done():
	case <-time.After(pagePause):
	}
}

// live is about how many revocations there are of the class.
func (b *builder) live(ctx context.Context, c *class) (n int, err error) {
	if !c.unread() {
		return c.size(), nil
	}
	for _, bucket := range *c.inUse.Load() {
		from := record.Entry{Bucket: bucket, Digest: record.Digest{byte(c.number)}}
		err := b.index.config.Disk.Revocations(from, func(e record.Entry) bool {
			if e.Bucket != bucket || e.Digest.Class() != c.number || int(e.Digest[1])*sample >= 1<<8 {
				return false
			}
			b.keys++
			n += sample
			return ctx.Err() == nil
		})
		if err != nil {
			return 0, err
		}
		b.rest(ctx)
	}
	return n, nil
}

// page takes in the next keys of a bucket, and tells where to go on.
func (b *builder) page(c *class, from record.Entry) (next record.Entry, more bool, err error) {
	some := make([]read, 0, takeKeys)
	err = b.index.config.Disk.Revocations(from, func(e record.Entry) bool {
		if e.Bucket != from.Bucket || e.Digest.Class() != c.number {
			return false
		}
		if b.keys == pageKeys {
			next, more = e, true
			return false
		}
		b.keys++
		if some = append(some, read{keyOf(&e.Digest), newRule(e.Bucket, e.Cutoff)}); len(some) == takeKeys {
			c.take(some)
			some = some[:0]
		}
		return true
	})
	c.take(some)
	return next, more, err
}
