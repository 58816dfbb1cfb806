package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"veto/record"
	"veto/replication/store"
)

// failing is a disk that fails at one of its operations that write: at that alone, or at all from there on.
type failing struct {
	memory *vfs.MemFS
	with   syscall.Errno
	at     int64
	once   bool
	seen   atomic.Int64

	died  chan struct{}
	dying sync.Once
}

func (f *failing) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || f.with == syscall.ENOSPC && !takesRoom(op.Kind) {
		return nil
	}
	if n := f.seen.Add(1); n == f.at || n > f.at && !f.once {
		return f.with
	}
	return nil
}

func takesRoom(k errorfs.OpKind) bool {
	switch k {
	case errorfs.OpCreate, errorfs.OpMkdirAll, errorfs.OpLink, errorfs.OpReuseForWrite, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate:
		return true
	}
	return false
}

func (f *failing) String() string { return "failing" }

func (f *failing) options() store.Options {
	o := options()
	o.FS = errorfs.Wrap(f.memory, f)
	o.Fatal = func(string) {
		f.dying.Do(func() { close(f.died) })
		select {} // in the place of the process: what defers would run as in no process that has ended
	}
	return o
}

// do is one step of a node, whose process may die of it; it tells whether the step was answered with
// no error.
func (f *failing) do(step func() error) bool {
	answered := make(chan bool, 1)
	go func() {
		err := step()
		select {
		case <-f.died: // nobody was told any more
		default:
			answered <- err == nil
		}
	}()
	select {
	case ok := <-answered:
		return ok
	case <-f.died:
		return false
	}
}

// eachFailure runs the life of a node for every operation of its disk that may fail, and its next life on
// what the machine then has on disk, of what was not synced any part.
func eachFailure(t *testing.T, life func(f *failing), after func(f *failing, o store.Options)) {
	t.Helper()
	for _, once := range []bool{true, false} {
		for at := int64(1); ; at++ {
			f := &failing{memory: vfs.NewCrashableMem(), with: syscall.EIO, at: at, once: once, died: make(chan struct{})}
			life(f)
			random := rand.New(rand.NewPCG(uint64(at), 0))
			o := options()
			o.FS = f.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: random})
			after(f, o)
			if t.Failed() {
				t.Fatalf("the disk failed at its operation %d, once: %v", at, once)
			}
			if f.seen.Load() < at {
				break
			}
		}
	}
}

// P7: what the outbox has answered is there, though the disk had failed, or was failing already.
func TestOutboxOnAFailingDisk(t *testing.T) {
	var kept map[uint64]string
	eachFailure(t, func(f *failing) {
		kept = map[uint64]string{}
		var b *store.Outbox
		if !f.do(func() (err error) {
			b, err = store.OpenOutbox("outbox", bytes.NewReader(make([]byte, 64)), f.options())
			return err
		}) {
			return
		}
		for number := uint64(1); number <= 6; number++ {
			value := fmt.Sprint("v", number)
			item := record.Taken{Revocation: record.Revocation{Name: record.Name{Target: record.TargetJTI, Issuer: "i", Value: value}}}
			if f.do(func() error { return b.Append(number, []record.Taken{item}) }) {
				kept[number] = value
				continue
			}
			return // the node closes its outbox, and tells who asked that it took nothing
		}
		f.do(b.Close)
	}, func(_ *failing, o store.Options) {
		b, err := store.OpenOutbox("outbox", bytes.NewReader(make([]byte, 64)), o)
		if err != nil {
			if len(kept) > 0 { // one that was never made whole has taken nothing, and may be moved away
				t.Error(err)
			}
			return
		}
		defer b.Close()
		items, next, err := b.Load(0)
		if err != nil || len(items) < len(kept) || next < uint64(len(kept)+1) {
			t.Errorf("%d items, the next is %d, %v; %d were answered", len(items), next, err, len(kept))
			return
		}
		for number, value := range kept {
			if got := items[number-1].Revocation.Value; got != value {
				t.Errorf("item %d is %q, and was %q", number, got, value)
			}
		}
	})
}

// P3, on a disk that fails: what was synced is there, records and applied index together.
func TestStoreOnAFailingDisk(t *testing.T) {
	var dir string
	var synced uint64
	eachFailure(t, func(f *failing) {
		dir, synced = t.TempDir(), 0
		var s *store.Store
		if !f.do(func() (err error) { s, err = store.Open(dir, f.options()); return err }) {
			return
		}
		for i := uint64(1); i <= 5; i++ {
			ok := f.do(func() error {
				b := s.Begin()
				for _, k := range []string{"xa", "xb"} {
					if err := b.Put([]byte(k), append(binary.BigEndian.AppendUint64(nil, i), padding...)); err != nil {
						return err
					}
				}
				return b.Commit(store.Applied{Index: i, Term: 1})
			})
			if !ok || !f.do(func() error { return s.Sync(store.Applied{}) }) {
				break
			}
			synced = i
		}
		f.do(s.Close)
	}, func(f *failing, o store.Options) {
		s, err := store.Open(dir, o)
		if err != nil {
			if synced > 0 {
				t.Error(err)
			}
			return
		}
		if got := agreed(t, s, "xa", "xb"); got < synced {
			t.Errorf("applied %d, and %d was synced", got, synced)
		}
		closed(t, s)
	})
}

// S7: so much comes that the log of the new database must be begun anew.
func TestRestoreOnAFailingDisk(t *testing.T) {
	from := open(t, t.TempDir())
	random := rand.New(rand.NewPCG(1, 1))
	b := from.Begin()
	for range 100 {
		value := make([]byte, 8<<10)
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		if err := b.Put(append([]byte("x"), value[:8]...), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(store.Applied{Index: 9, Term: 1}); err != nil {
		t.Fatal(err)
	}
	state := stream(t, from)
	closed(t, from)

	var dir string
	var answered bool
	eachFailure(t, func(f *failing) {
		dir, answered = t.TempDir(), false
		f.do(func() error {
			s, err := store.Open(dir, f.options())
			if err != nil {
				return err
			}
			_, err = s.Restore(bytes.NewReader(state))
			answered = err == nil
			return errors.Join(err, s.Close())
		})
	}, func(_ *failing, o store.Options) {
		s, err := store.Open(dir, o)
		if err != nil {
			if answered {
				t.Error(err)
			}
			return
		}
		if got := s.Applied().Index; got != 9 && (answered || got != 0) {
			t.Errorf("applied %d; told that it is there: %t", got, answered)
		}
		closed(t, s)
	})
}

// S5: what a log holds must go to tables when it is opened, for which there may be no room.
func TestOpenOnAFullDisk(t *testing.T) {
	whole := vfs.NewCrashableMem()
	o := options()
	o.FS = whole
	s, err := store.Open("state", o)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, 7, "xa", "xb")
	closed(t, s)
	b, err := store.OpenOutbox("outbox", bytes.NewReader(make([]byte, 64)), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Append(1, []record.Taken{{}}), b.Close()); err != nil {
		t.Fatal(err)
	}

	for at := int64(1); ; at++ {
		f := &failing{memory: whole.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), with: syscall.ENOSPC, at: at, died: make(chan struct{})}
		var s *store.Store
		var b *store.Outbox
		var err error
		opened := f.do(func() error {
			if s, err = store.Open("state", f.options()); err == nil {
				b, err = store.OpenOutbox("outbox", bytes.NewReader(make([]byte, 64)), f.options())
			}
			return err
		})
		if opened {
			f.do(func() error { return errors.Join(b.Close(), s.Close()) })
			if f.seen.Load() < at { // it had room for all
				return
			}
		}
		select {
		case <-f.died:
		default:
			if !opened && (strings.Contains(err.Error(), "damaged") || !store.NoRoom(err)) {
				t.Errorf("full at %d: %v", at, err)
			}
		}
		// And nothing is lost when there is room again.
		o.FS = f.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
		again, err := store.Open("state", o)
		if err != nil {
			t.Fatalf("full at %d: %v", at, err)
		}
		if got := agreed(t, again, "xa", "xb"); got != 7 {
			t.Errorf("full at %d: applied %d", at, got)
		}
		closed(t, again)
		box, err := store.OpenOutbox("outbox", bytes.NewReader(make([]byte, 64)), o)
		if err != nil {
			t.Fatalf("full at %d: %v", at, err)
		}
		if items, _, err := box.Load(0); err != nil || len(items) != 1 {
			t.Errorf("full at %d: %v %v", at, items, err)
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	}
}
