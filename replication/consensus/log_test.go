package consensus

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"veto/replication/store"
)

// C8
func TestEndOfTheLogIsTakenBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	open := func() *wal.WAL {
		t.Helper()
		l, err := openLog(dir, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	last, term := uint64(0), uint64(1)
	written := map[uint64]string{}
	write := func(n int) {
		t.Helper()
		for range n {
			last++
			written[last] = fmt.Sprint(term, ".", last)
			if err := l.StoreLog(&raft.Log{Index: last, Term: term, Data: []byte(written[last])}); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(when string) {
		t.Helper()
		if got, err := l.LastIndex(); err != nil || got != last {
			t.Fatalf("%s: the log ends at %d, want %d; %v", when, got, last, err)
		}
		for i := uint64(1); i <= last; i++ {
			var e raft.Log
			if err := l.GetLog(i, &e); err != nil || string(e.Data) != written[i] {
				t.Fatalf("%s: entry %d is %q, want %q; %v", when, i, e.Data, written[i], err)
			}
		}
	}
	write(10)
	for _, back := range []uint64{1, 3, 1, 5} {
		if err := l.DeleteRange(last-back+1, last); err != nil {
			t.Fatal(err)
		}
		last -= back
		term++
		check("taken back")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open()
		check("taken back, and opened again")
		write(4)
		check("gone on")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// at is a state that ends at an entry.
type at store.Applied

func (a at) Applied() store.Applied { return store.Applied(a) }

// C11: as Raft deletes the log once it has taken in a state.
func TestLogBehindALateStateStays(t *testing.T) {
	for name, c := range map[string]struct{ state, term, first, last uint64 }{
		"late":                 {5, 2, 6, 10},
		"of another past":      {5, 3, 0, 0},
		"of the last entry":    {10, 2, 0, 0},
		"further than the log": {12, 2, 0, 0},
		"long ago":             {1, 2, 2, 10},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := openLog(filepath.Join(t.TempDir(), "log"), 64<<10)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			var logs []*raft.Log
			for i := uint64(1); i <= 10; i++ {
				logs = append(logs, &raft.Log{Index: i, Term: 2})
			}
			if err := w.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
			l := retained{w, at{Index: c.state, Term: c.term}}
			if err := l.DeleteRange(1, 10); err != nil {
				t.Fatal(err)
			}
			first, errFirst := l.FirstIndex()
			last, errLast := l.LastIndex()
			if first != c.first || last != c.last || errFirst != nil || errLast != nil {
				t.Errorf("%d to %d, %v, %v", first, last, errFirst, errLast)
			}
		})
	}
}
