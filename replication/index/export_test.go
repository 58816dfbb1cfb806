package index

import "runtime"

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
