package index

import (
	"context"
	"runtime"

	"veto/record"
)

// Settle waits until the builder has nothing to do.
func (x *Index) Settle() {
	for {
		t := x.tables.Load()
		idle := true
		for c := range t.classes() {
			c.mu.Lock()
			idle = idle && c.next == nil && !c.shown.Load().filter.worn()
			c.mu.Unlock()
		}
		if idle {
			return
		}
		x.builder.look(t)
		runtime.Gosched()
	}
}

// Renew makes every filter anew at once. The index must be closed: there is one builder.
func (x *Index) Renew() error {
	for c := range x.tables.Load().classes() {
		live, err := x.builder.live(context.Background(), c)
		if err != nil {
			return err
		}
		x.builder.keys = 0
		for _, b := range c.begin(live) {
			from, more := record.Entry{Bucket: b, Digest: record.Digest{byte(c.number)}}, true
			for more {
				x.builder.keys = 0 // it has no time to rest
				if from, more, err = x.builder.page(c, from); err != nil {
					return err
				}
			}
		}
		c.end(true)
	}
	return nil
}
