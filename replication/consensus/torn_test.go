package consensus

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"

	"veto/replication/store"
)

// brittle is a disk under the log that fails at one of its writes or syncs, and knows what a machine
// that falls may lose: what was written since the last sync that was answered.
type brittle struct {
	types.VFS
	at, seen int
	whole    bool // it has not failed at all

	mu    sync.Mutex
	files map[string]*written
}

// written is a file as it was synced last, and what was written to it since.
type written struct {
	isNamed bool // its directory was synced with it in it
	synced  []byte
	since   []piece
}

type piece struct {
	at   int64
	data []byte
}

func newBrittle(at int) *brittle {
	return &brittle{VFS: fs.New(), at: at, files: map[string]*written{}}
}

func (b *brittle) open(dir string) (*wal.WAL, error) {
	return openLogOn(dir, tornSegment, disk{b, b.makeDir, b.openFile})
}

func (b *brittle) fails() bool { b.seen++; return b.seen == b.at }

// hasFailed tells whether it has. The log makes its next file beside whoever asks.
func (b *brittle) hasFailed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen >= b.at
}

// failsAt changes at which of its writes or syncs it fails: 0 for none.
func (b *brittle) failsAt(at func(seen int) int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = at(b.seen)
}

func (b *brittle) makeDir(dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.files {
		w.isNamed = true
	}
	return store.MakeDir(dir)
}

func (b *brittle) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := b.VFS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	path := filepath.Join(dir, name)
	b.files[path] = &written{}
	return &brittleNew{f, b, path}, nil
}

func (b *brittle) openFile(path string) (store.File, error) {
	f, err := store.OpenFile(path)
	return store.File{File: &brittleFile{f, b, path}}, err
}

func (b *brittle) Delete(dir, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.files, filepath.Join(dir, name))
	return b.VFS.Delete(dir, name)
}

func (b *brittle) sync(path string) (*written, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails() {
		return nil, syscall.EIO
	}
	content, err := os.ReadFile(path)
	w := b.files[path]
	w.synced, w.since = content, nil
	return w, err
}

// brittleNew is a file that was just made.
type brittleNew struct {
	types.WritableFile
	disk *brittle
	path string
}

func (f *brittleNew) Sync() error {
	w, err := f.disk.sync(f.path)
	if err == nil {
		w.isNamed = true
	}
	return err
}

type brittleFile struct {
	store.File
	disk *brittle
	path string
}

func (f *brittleFile) WriteAt(p []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	w := f.disk.files[f.path]
	if f.disk.fails() {
		half := p[:len(p)/2]
		n, err := f.File.WriteAt(half, at)
		w.since = append(w.since, piece{at, append([]byte(nil), half...)})
		return n, errors.Join(err, syscall.ENOSPC)
	}
	w.since = append(w.since, piece{at, append([]byte(nil), p...)})
	return f.File.WriteAt(p, at)
}

func (f *brittleFile) Sync() error { return f.SyncData() }

func (f *brittleFile) SyncData() error {
	_, err := f.disk.sync(f.path)
	return err
}

// fall leaves of the files what a machine that falls does: of what was not synced any part, a sector at
// a time, but each piece from its beginning; and whether a file is there itself.
func (b *brittle) fall(random *rand.Rand) error {
	const sector = 512
	for _, path := range slices.Sorted(maps.Keys(b.files)) {
		w := b.files[path]
		if !w.isNamed && random.IntN(2) == 0 {
			delete(b.files, path)
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		content := append([]byte(nil), w.synced...)
		for _, p := range w.since {
			if end := int(p.at) + len(p.data); end > len(content) {
				content = append(content, make([]byte, end-len(content))...)
			}
			kept := len(p.data)
			if random.IntN(3) > 0 { // up to a border between sectors
				kept = max(0, min(kept, (int(p.at)+random.IntN(kept+sector))/sector*sector-int(p.at)))
			}
			copy(content[p.at:], p.data[:kept])
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		b.files[path] = &written{isNamed: true, synced: content}
	}
	return nil
}

// C9
func TestLogOnAFailingDisk(t *testing.T) {
	for run := 0; ; run++ {
		at, random := 1+run/4, rand.New(rand.NewPCG(uint64(run), 0))
		disk := newBrittle(at)
		dir := filepath.Join(t.TempDir(), "log")
		answered, _ := write(dir, disk, random) // the log may not open on such a disk
		disk.whole = !disk.hasFailed()
		if run%2 == 1 { // the process is killed, and the machine falls later
			disk.failsAt(func(seen int) int { return min(at, seen) })
			var err error
			if answered, err = write(dir, disk, random); err != nil {
				t.Fatalf("the disk failed at its operation %d, and the log was opened again: %v", at, err)
			}
		}
		if err := disk.fall(random); err != nil {
			t.Fatal(err)
		}
		disk.failsAt(func(int) int { return 0 })
		l, err := disk.open(dir)
		if err != nil {
			t.Fatalf("the disk failed at its operation %d: %v", at, err)
		}
		if last, err := l.LastIndex(); err != nil || last < answered {
			t.Errorf("the disk failed at its operation %d: the log ends at %d, and %d was answered; %v", at, last, answered, err)
		}
		for i := uint64(1); i <= answered; i++ {
			var e raft.Log
			if err := l.GetLog(i, &e); err != nil || string(e.Data[:len(tornEntry(i))]) != tornEntry(i) {
				t.Errorf("the disk failed at its operation %d: entry %d is %.20q; %v", at, i, e.Data, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if disk.whole || t.Failed() {
			return
		}
	}
}

const tornSegment = 16 << 10

func tornEntry(i uint64) string { return fmt.Sprint("entry ", i) }

// write writes entries of many sizes, through the failure, as Raft does: what was refused is written
// again, unless the process ends first. It gives the last that was answered, or that was there when the log was opened. It fails if that cannot be opened.
func write(dir string, disk *brittle, random *rand.Rand) (answered uint64, err error) {
	l, err := disk.open(dir)
	if err != nil {
		return 0, err
	}
	if answered, err = l.LastIndex(); err != nil {
		return 0, err
	}
	for i := answered + 1; i <= 20; i++ {
		if disk.hasFailed() && random.IntN(3) == 0 {
			break // the machine falls soon after
		}
		data := append([]byte(tornEntry(i)), make([]byte, random.IntN(3000))...)
		refused := true
		for range 1 + random.IntN(2) {
			if refused = l.StoreLog(&raft.Log{Index: i, Term: 1, Data: data}) != nil; !refused {
				answered = i
				break
			}
		}
		if refused {
			break // the log takes nothing more, or the process ends
		}
	}
	_ = l.Close() // as a process that ends lets go of its files
	return answered, nil
}
