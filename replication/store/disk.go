package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// NoRoom tells whether it is for want of room that something cannot be opened: then nothing in it is damaged.
func NoRoom(err error) bool {
	for _, why := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// died is deferred where something is written: Pebble panics when its log cannot be, as on a full
// disk.
func (o Options) died() {
	if p := recover(); p != nil {
		logger{o}.Fatalf("%v", p)
	}
}

// logger forwards what Pebble has to say. It says nothing of values.
type logger struct{ Options }

func (l logger) Infof(format string, args ...any) { l.Log.Debug(fmt.Sprintf(format, args...)) }

func (l logger) Errorf(format string, args ...any) { l.Log.Error(fmt.Sprintf(format, args...)) }

// Fatalf is called when the disk has failed under a write. It does not return.
func (l logger) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.Log.Error("the disk failed; the node stops", "error", text)
	if l.Fatal != nil {
		l.Fatal(text)
	}
	panic("store: the disk failed: " + text)
}

// logs has the process end as soon as the log of an open database cannot be written: Pebble then panics, and where it begins
// another log with a lock of its own let go that it lets go again, so that nothing recovers from it.
type logs struct {
	vfs.FS
	at *opening
}

func (l logs) Unwrap() vfs.FS { return l.FS }

func (l logs) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return l.opened(name, f, err)
}

func (l logs) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(old, name, c)
	return l.opened(name, f, err)
}

func (l logs) opened(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || filepath.Ext(name) != ".log" {
		return f, err
	}
	return logFile{f, l.at}, nil
}

type logFile struct {
	vfs.File
	at *opening
}

func (f logFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, f.at.survived(err)
}

func (f logFile) Sync() error { return f.at.survived(f.File.Sync()) }

func (f logFile) SyncData() error { return f.at.survived(f.File.SyncData()) }

func (f logFile) Close() error { return f.at.survived(f.File.Close()) }

// opening is a database that is being opened. What its log holds must be written to tables first, and Pebble, which
// cannot do so on a full disk, would try for ever, with nobody told: here that ends the process. Once it is
// open, what fails in the background is tried again while the database answers.
type opening struct {
	logger
	done atomic.Bool
}

// survived is what came of a write to the log; of an open database none that failed is survived.
func (o *opening) survived(err error) error {
	if err != nil && o.done.Load() {
		o.Fatalf("%v", err)
	}
	return err
}

func (o *opening) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if o.done.Load() {
				o.Errorf("background error: %v", err)
				return
			}
			o.Fatalf("a database cannot be opened: %v", err)
		},
		WALCreated: func(i pebble.WALCreateInfo) { _ = o.survived(i.Err) },
	}
}

// MakeDir makes the directory, unless it is there. That it is, and what is in it, no crash of the machine takes away afterwards.
func MakeDir(dir string) error {
	if err := makeDir(vfs.Default, dir); err != nil {
		return err
	}
	return syncDir(vfs.Default, dir)
}

// File is a file to which is written where there is room for it already. After Sync what was written is durable, and not
// when that was: where the file system keeps a journal, that alone would cost another write, and wait for what others
// have in the journal.
type File struct{ vfs.File }

// OpenFile opens the file, which must be there, to be read and written. The caller closes it.
func OpenFile(path string) (File, error) {
	if _, err := vfs.Default.Stat(path); err != nil {
		return File{}, err
	}
	f, err := vfs.Default.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	return File{f}, err
}

// Sync makes what was written durable.
func (f File) Sync() error { return f.SyncData() }
