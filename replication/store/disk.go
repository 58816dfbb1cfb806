package store

import (
	"errors"
	"fmt"
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

// opening is a database that is being opened. What its log holds must be written to tables first, and Pebble, which
// cannot do so on a full disk, would try for ever, with nobody told: here that ends the process. Once it is
// open, what fails in the background is tried again while the database answers.
type opening struct {
	logger
	done atomic.Bool
}

func (o *opening) listener() *pebble.EventListener {
	return &pebble.EventListener{BackgroundError: func(err error) {
		if o.done.Load() {
			o.Errorf("background error: %v", err)
			return
		}
		o.Fatalf("a database cannot be opened: %v", err)
	}}
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
