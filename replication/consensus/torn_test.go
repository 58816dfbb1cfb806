package consensus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
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
	synced []byte
	since  []piece
}

type piece struct {
	at   int64
	data []byte
}

func newBrittle(at int) *brittle {
	return &brittle{VFS: disk{fs.New()}, at: at, files: map[string]*written{}}
}

func (b *brittle) fails() bool { b.seen++; return b.seen == b.at }

func (b *brittle) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := b.VFS.Create(dir, name, size)
	return b.watch(f, filepath.Join(dir, name), err)
}

func (b *brittle) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := b.VFS.OpenWriter(dir, name)
	return b.watch(f, filepath.Join(dir, name), err)
}

func (b *brittle) watch(f types.WritableFile, path string, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[path] = &written{synced: content}
	return &brittleFile{f, b, path}, nil
}

func (b *brittle) Delete(dir, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.files, filepath.Join(dir, name))
	return b.VFS.Delete(dir, name)
}

type brittleFile struct {
	types.WritableFile
	disk *brittle
	path string
}

func (f *brittleFile) WriteAt(p []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	w := f.disk.files[f.path]
	if f.disk.fails() {
		half := p[:len(p)/2]
		n, err := f.WritableFile.WriteAt(half, at)
		w.since = append(w.since, piece{at, append([]byte(nil), half...)})
		return n, errors.Join(err, syscall.ENOSPC)
	}
	w.since = append(w.since, piece{at, append([]byte(nil), p...)})
	return f.WritableFile.WriteAt(p, at)
}

func (f *brittleFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.fails() {
		return syscall.EIO
	}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	f.disk.files[f.path] = &written{synced: content}
	return nil
}

// fall leaves of the files what a machine that falls does: of what was not synced any part, a sector at
// a time, but each piece from its beginning.
func (b *brittle) fall(random *rand.Rand) error {
	const sector = 512
	for path, w := range b.files {
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
	}
	return nil
}

// C9
func TestLogOnAFailingDisk(t *testing.T) {
	for run := 0; ; run++ {
		at, random := 1+run/4, rand.New(rand.NewPCG(uint64(run), 0))
		disk := newBrittle(at)
		dir := filepath.Join(t.TempDir(), "log")
		answered := write(t, dir, disk, random)
		if err := disk.fall(random); err != nil {
			t.Fatal(err)
		}
		disk.whole, disk.at = disk.seen < at, 0
		l, err := openLogOn(dir, tornSegment, disk)
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
// again. It gives the last that was answered.
func write(t *testing.T, dir string, disk *brittle, random *rand.Rand) (answered uint64) {
	t.Helper()
	l, err := openLogOn(dir, tornSegment, disk)
	if err != nil {
		return 0
	}
	for i := uint64(1); i <= 20; i++ {
		if disk.seen >= disk.at && random.IntN(3) == 0 {
			break // the machine falls soon after
		}
		data := append([]byte(tornEntry(i)), make([]byte, random.IntN(3000))...)
		for range 2 {
			if err = l.StoreLog(&raft.Log{Index: i, Term: 1, Data: data}); err == nil {
				answered = i
				break
			}
		}
		if err != nil {
			break // the log takes nothing more
		}
	}
	_ = l.Close() // as a process that ends lets go of its files
	return answered
}
