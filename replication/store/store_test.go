package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"veto/replication/store"
)

func options() store.Options {
	return store.Options{CacheBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)}
}

func open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir, options())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// padding makes a commit longer than a block of the disk, so that a crash can cut it.
var padding = make([]byte, 6<<10)

// commit writes the index under the key of every record, so that they must agree.
func commit(t testing.TB, s *store.Store, index uint64, keys ...string) {
	t.Helper()
	b := s.Begin()
	for _, k := range keys {
		if err := b.Put([]byte(k), append(binary.BigEndian.AppendUint64(nil, index), padding...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(store.Applied{Index: index, Term: 1, Configuration: []byte("c"), ConfigurationIndex: 1}); err != nil {
		t.Fatal(err)
	}
}

// agreed is the applied index, after a check that all keys were written with it.
func agreed(t testing.TB, s *store.Store, keys ...string) uint64 {
	t.Helper()
	a := s.Applied()
	for _, k := range keys {
		v, ok, err := s.Get([]byte(k))
		if err != nil || ok != (a.Index > 0) || ok && binary.BigEndian.Uint64(v) != a.Index {
			t.Fatalf("applied %d, %s is %x, %v, %v", a.Index, k, v, ok, err)
		}
	}
	return a.Index
}

// P3
func TestCrashKeepsRecordsAndAppliedTogether(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewCrashableMem()
		dir := t.TempDir()
		o := options()
		o.FS = fs
		s, err := store.Open(dir, o)
		if err != nil {
			rt.Fatal(err)
		}
		var synced uint64
		commits := rapid.Uint64Range(1, 20).Draw(rt, "commits")
		for i := uint64(1); i <= commits; i++ {
			commit(t, s, i, "xa", "xb")
			if rapid.IntRange(0, 4).Draw(rt, "sync") == 0 {
				if err := s.Sync(store.Applied{}); err != nil {
					rt.Fatal(err)
				}
				synced = i
			}
		}
		crash := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(rt, "kept"), RNG: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))})
		closed(t, s)
		o.FS = crash
		after, err := store.Open(dir, o)
		if err != nil {
			rt.Fatal(err)
		}
		if got := agreed(t, after, "xa", "xb"); got < synced {
			rt.Fatalf("applied %d after the crash, %d was durable", got, synced)
		}
		closed(t, after)
	})
}

func TestSyncOnlyRaises(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	commit(t, s, 5, "x")
	for _, i := range []uint64{3, 9, 7} {
		if err := s.Sync(store.Applied{Index: i, Term: i}); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, s)
	s = open(t, dir)
	defer closed(t, s)
	if a := s.Applied(); a.Index != 9 || a.Term != 9 || string(a.Configuration) != "c" {
		t.Errorf("%+v", a)
	}
}

func stream(t testing.TB, s *store.Store) []byte {
	t.Helper()
	n, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	size, err := n.WriteTo(&b)
	if err != nil || size != int64(b.Len()) {
		t.Fatalf("%d bytes of %d, %v", size, b.Len(), err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func contents(t testing.TB, s *store.Store) string {
	t.Helper()
	var all strings.Builder
	err := s.Scan(nil, nil, func(k, v []byte) (bool, error) {
		fmt.Fprintf(&all, "%x=%x\n", k, v)
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestStreamBringsEverything(t *testing.T) {
	from, to := open(t, t.TempDir()), open(t, t.TempDir())
	defer closed(t, from)
	for i := range uint64(500) {
		commit(t, from, i+1, fmt.Sprintf("x%d", i))
	}
	dir := t.TempDir()
	closed(t, to)
	to = open(t, dir)
	commit(t, to, 3, "xold")
	a, err := to.Restore(bytes.NewReader(stream(t, from)))
	if err != nil || a.Index != 500 || contents(t, from) != contents(t, to) {
		t.Fatalf("%+v, %v", a, err)
	}
	commit(t, to, 501, "xnew")
	if _, err := to.Restore(bytes.NewReader(stream(t, from))); !errors.Is(err, store.ErrOlder) {
		t.Error("the state went back")
	}
	want := contents(t, to)
	closed(t, to)
	to = open(t, dir)
	defer closed(t, to)
	if contents(t, to) != want {
		t.Error("another state after a restart")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "db-*")); len(left) != 1 {
		t.Errorf("databases left: %v", left)
	}
}

// S1
func TestBrokenStreamIsRefused(t *testing.T) {
	from, to := open(t, t.TempDir()), open(t, t.TempDir())
	defer closed(t, from)
	defer closed(t, to)
	for i := range uint64(50) {
		commit(t, from, i+1, fmt.Sprintf("x%d", i))
	}
	commit(t, to, 1, "xold")
	before, good := contents(t, to), stream(t, from)
	rapid.Check(t, func(rt *rapid.T) {
		b := bytes.Clone(good)
		switch rapid.IntRange(0, 2).Draw(rt, "harm") {
		case 0:
			b = b[:rapid.IntRange(0, len(b)-1).Draw(rt, "cut")]
		case 1:
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "at")] ^= byte(1 << rapid.IntRange(0, 7).Draw(rt, "bit"))
		case 2:
			b = append(b, rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(rt, "more")...)
		}
		if _, err := to.Restore(bytes.NewReader(b)); err == nil {
			// A bit that the compression does not use says nothing: then all is as sent.
			before = contents(t, from)
		}
		if contents(t, to) != before {
			rt.Fatal("the state was changed")
		}
	})
}

func FuzzRestore(f *testing.F) {
	s := open(f, f.TempDir())
	commit(f, s, 1, "xa")
	f.Add(stream(f, s))
	f.Add([]byte("VETO\x00state\x01"))
	closed(f, s)
	to := open(f, f.TempDir())
	f.Cleanup(func() { closed(f, to) })
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := to.Restore(bytes.NewReader(b)); err == nil {
			contents(t, to)
		}
	})
}

// P5
func TestReadersDuringRestore(t *testing.T) {
	from, to := open(t, t.TempDir()), open(t, t.TempDir())
	defer closed(t, from)
	defer closed(t, to)
	commit(t, to, 1, "xa", "xb")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for last := uint64(0); ; {
				select {
				case <-done:
					return
				default:
				}
				var seen []uint64
				err := to.Scan([]byte("x"), []byte("y"), func(_, v []byte) (bool, error) {
					seen = append(seen, binary.BigEndian.Uint64(v))
					return true, nil
				})
				if err != nil || len(seen) != 2 || seen[0] != seen[1] || seen[0] < last {
					t.Errorf("%v after %d, %v", seen, last, err)
					return
				}
				last = seen[0]
			}
		})
	}
	for i := uint64(2); i < 12; i++ {
		commit(t, from, i, "xa", "xb")
		if _, err := to.Restore(bytes.NewReader(stream(t, from))); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
}

// S2
func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := store.Open(dir, options()); err == nil || !strings.Contains(err.Error(), "in use by another veto process") {
		t.Errorf("%v", err)
	}
	closed(t, s)
	closed(t, open(t, dir))
}

// S2
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	if _, known, err := store.ReadIdentity(dir); known || err != nil {
		t.Errorf("%v %v", known, err)
	}
	if err := store.WriteIdentity(dir, store.Identity{NodeID: "n1"}); err != nil {
		t.Fatal(err)
	}
	if id, known, err := store.ReadIdentity(dir); !known || err != nil || id.NodeID != "n1" {
		t.Errorf("%+v %v %v", id, known, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "identity.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.ReadIdentity(dir); err == nil {
		t.Error("a damaged identity was read")
	}
}

func TestDamageIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	commit(t, s, 1, "xa")
	closed(t, s)
	manifests, err := filepath.Glob(filepath.Join(dir, "db-1", "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal("no manifest", err)
	}
	for _, m := range manifests {
		if err := os.WriteFile(m, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Open(dir, options()); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("%v", err)
	}
}

// P3: the log's snapshots sync from another goroutine than the one that commits.
func TestSyncBesideCommits(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := s.Sync(store.Applied{}); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for i := uint64(1); i <= 300; i++ {
		commit(t, s, i, "xa")
	}
	close(done)
	wg.Wait()
	closed(t, s)
	s = open(t, dir)
	defer closed(t, s)
	if got := agreed(t, s, "xa"); got != 300 {
		t.Errorf("applied %d", got)
	}
}
