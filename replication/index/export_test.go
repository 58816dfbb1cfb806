package index

import (
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
		f, buckets := c.begin()
		for _, b := range buckets {
			from, more := record.Entry{Bucket: b, Digest: record.Digest{byte(c.number)}}, true
			for more {
				var err error
				if from, more, err = x.builder.page(c, f, from); err != nil {
					return err
				}
			}
		}
		c.end(f, true)
	}
	return nil
}
