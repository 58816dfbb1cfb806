package consensus

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
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

// replaced is a log of entries 1 to 10 of term 2, as the node has it that has taken in a state.
func replaced(t *testing.T, state at) (l retained, failed *error) {
	t.Helper()
	failed = new(error)
	l = retained{memory{raft.NewInmemStore()}, state, &atomic.Bool{}, func(err error) { *failed = err }}
	var logs []*raft.Log
	for i := uint64(1); i <= 10; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 2})
	}
	if err := l.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	l.taken.Store(true)
	return l, failed
}

func (r retained) ends(t *testing.T) (first, last uint64) {
	t.Helper()
	first, errFirst := r.FirstIndex()
	last, errLast := r.LastIndex()
	if err := errors.Join(errFirst, errLast); err != nil {
		t.Fatal(err)
	}
	return first, last
}

// C11, C14: as Raft deletes the log once it has taken in a state.
func TestLogBehindALateStateStays(t *testing.T) {
	for name, c := range map[string]struct {
		state, term, first, last uint64
		ends                     bool
	}{
		"late":                         {5, 2, 5, 10, false},
		"of another past":              {5, 3, 0, 0, true},
		"of the last entry":            {10, 2, 10, 10, false},
		"of another past, at its end":  {10, 3, 0, 0, true},
		"further than the log":         {12, 2, 0, 0, false},
		"of another past, and further": {11, 3, 0, 0, false},
		"long ago":                     {1, 2, 1, 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, failed := replaced(t, at{Index: c.state, Term: c.term})
			if err := l.DeleteRange(1, 10); err != nil {
				t.Fatal(err)
			}
			if first, last := l.ends(t); first != c.first || last != c.last || errors.Is(*failed, ErrStartAgain) != c.ends {
				t.Errorf("%d to %d, %v", first, last, *failed)
			}
		})
	}
}

// C11: a state that comes again, when the log begins behind it.
func TestLogBehindAStateThatComesAgainStays(t *testing.T) {
	l, failed := replaced(t, at{Index: 5, Term: 2})
	if err := l.Journal.DeleteRange(1, 5); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteRange(6, 10); err != nil {
		t.Fatal(err)
	}
	if first, last := l.ends(t); first != 6 || last != 10 || *failed != nil {
		t.Errorf("%d to %d, %v", first, last, *failed)
	}
	// What a leader takes back is deleted, whatever was taken in before.
	if err := l.StoreLogs([]*raft.Log{{Index: 11, Term: 2}}); err != nil {
		t.Fatal(err)
	}
	l.taken.Store(true)
	if err := l.StoreLogs([]*raft.Log{{Index: 12, Term: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteRange(6, 12); err != nil {
		t.Fatal(err)
	}
	if first, last := l.ends(t); first != 0 || last != 0 || *failed != nil {
		t.Errorf("%d to %d, %v", first, last, *failed)
	}
}

// C14: a cut leaves the state's last entry, by which Raft tells whether what it is sent follows.
func TestCutLeavesTheStatesLastEntry(t *testing.T) {
	l, _ := replaced(t, at{Index: 5, Term: 2})
	l.taken.Store(false)
	if err := l.DeleteRange(1, 5); err != nil {
		t.Fatal(err)
	}
	if first, last := l.ends(t); first != 5 || last != 10 {
		t.Errorf("%d to %d", first, last)
	}
	if err := l.DeleteRange(5, 5); err != nil {
		t.Fatal(err)
	}
	if first, last := l.ends(t); first != 5 || last != 10 {
		t.Errorf("again: %d to %d", first, last)
	}
}
