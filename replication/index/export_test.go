package index

import (
	"context"
	"runtime"
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
	t := x.tables.Load()
	for c := range t.classes() {
		if err := x.builder.build(context.Background(), t, c); err != nil {
			return err
		}
	}
	return nil
}
