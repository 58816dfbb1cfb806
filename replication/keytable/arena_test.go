package keytable

import (
	"encoding/binary"
	"testing"
)

// Y7: where a form was there is nothing, also when the number of its chunk is another's.
func TestWhatWasMovedIsGone(t *testing.T) {
	a := newArena()
	f := make(form, chunkSize/2)
	binary.LittleEndian.PutUint32(f, uint32(len(f)))
	seen := map[ref]bool{}
	for range 200 {
		first, second := a.add(f), a.add(f)
		if seen[first] || a.at(first) == nil {
			t.Fatalf("%x", first)
		}
		a.add(f)
		a.drop(first)
		moved := ref(0)
		a.compact(func(at ref, f form) {
			if at == second {
				moved = a.add(f)
			}
		})
		if a.at(first) != nil || a.at(second) != nil || moved == 0 || a.at(moved) == nil {
			t.Fatalf("%x, %x, %x", first, second, moved)
		}
		a.drop(moved)
		seen[first] = true
		for r := range seen {
			if a.at(r) != nil {
				t.Fatalf("%x is there again", r)
			}
		}
	}
	if n := len(*a.chunks.Load()); n > 256 {
		t.Errorf("%d chunks", n)
	}
}
