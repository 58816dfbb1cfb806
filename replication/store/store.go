package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"veto/record"
)

// DefaultCacheBytes is the block cache's size if Options names none.
const DefaultCacheBytes = 64 << 20

// Options of a Store.
type Options struct {
	// CacheBytes of the block cache.
	CacheBytes int64
	// FS is where all of it lives; the machine's disk if nil. Only there it is locked against other
	// processes.
	FS  vfs.FS
	Log *slog.Logger
	// Fatal is called when the disk has failed under a write, and ends the process: a node
	// that went on would tell of a state that it does not have. It panics if nil.
	Fatal func(why string)
}

// Store is the state on disk. Reading methods and Sync may be called from anywhere; Begin and
// Restore by one goroutine at a time.
type Store struct {
	dir     string
	options Options
	lock    io.Closer

	// write is held while the applied index is written, so that it only grows: Sync comes
	// from another goroutine than the commits. It is taken before mu.
	write sync.Mutex

	mu   sync.Mutex // guards live and the counts of users
	live *database
	// applied is what live holds; written with both locks held.
	applied Applied
}

// database is one Pebble database and how many use it.
type database struct {
	name  string
	db    *pebble.DB
	users int
	// requests are known once all is there that the database is opened with.
	requests *requests
	retired  bool // closed and removed once nobody uses it
}

const (
	currentFile = "CURRENT"
	lockFile    = "LOCK"
	maxCurrent  = 1 << 10
)

// Open opens the state in the directory, which it makes if need be. The caller closes it.
func Open(dir string, o Options) (*Store, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	locked := o.FS == nil
	if locked {
		o.FS = vfs.Default
	}
	if err := makeDir(o.FS, dir); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	var lock io.Closer = io.NopCloser(nil)
	if locked {
		var err error
		if lock, err = lockDir(dir); err != nil {
			return nil, err
		}
	}
	s := &Store{dir: dir, options: o, lock: lock}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// makeDir makes the directory and those above it durably: or the machine's crash could take them away.
func makeDir(fs vfs.FS, dir string) error {
	var above []string
	for at := fs.PathDir(dir); ; at = fs.PathDir(at) {
		above = append(above, at)
		if _, err := fs.Stat(at); err == nil || fs.PathDir(at) == at {
			break
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, at := range above {
		if err := syncDir(fs, at); err != nil {
			return err
		}
	}
	return nil
}

func lockDir(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator's own directory
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		held := fmt.Errorf("data directory %s is in use by another veto process; stop that one, or give this one its own --data-dir", dir)
		return nil, errors.Join(held, f.Close())
	}
	return f, nil
}

func (s *Store) open() error {
	name, isNew, err := s.currentName()
	if err != nil {
		return err
	}
	d, err := s.openDatabase(name, !isNew)
	if err != nil {
		return err
	}
	applied, err := readApplied(d.db)
	if err == nil {
		d.requests, err = requestsOf(d.db)
	}
	if err != nil {
		return errors.Join(s.corrupt(err), d.db.Close())
	}
	if err := s.removeOthers(name); err != nil {
		return errors.Join(err, d.db.Close())
	}
	s.live, s.applied = d, applied
	return s.setCurrent(name)
}

// setCurrent makes the database with the name the live one, durably.
func (s *Store) setCurrent(name string) error {
	create := func(path string) (synced, error) { return s.options.FS.Create(path, vfs.WriteCategoryUnspecified) }
	return replaceFile(s.options.FS, create, filepath.Join(s.dir, currentFile), []byte(name))
}

func (s *Store) currentName() (name string, isNew bool, err error) {
	b, err := s.readCurrent()
	if errors.Is(err, os.ErrNotExist) {
		if left, err := s.databases(); err != nil || len(left) > 1 {
			return "", false, s.corrupt(fmt.Errorf("%s is missing", currentFile))
		}
		return "db-1", true, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("data directory: %w", err)
	}
	name = strings.TrimSpace(string(b))
	if !strings.HasPrefix(name, "db-") || strings.ContainsAny(name, "/\\") {
		return "", false, s.corrupt(fmt.Errorf("%s says %q", currentFile, name))
	}
	return name, false, nil
}

func (s *Store) readCurrent() (_ []byte, err error) {
	f, err := s.options.FS.Open(filepath.Join(s.dir, currentFile))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxCurrent))
}

// databases are the names of all that are there.
func (s *Store) databases() ([]string, error) {
	names, err := s.options.FS.List(s.dir)
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, "db-") }), err
}

// removeOthers removes what a Restore that was cut short left behind.
func (s *Store) removeOthers(live string) error {
	names, err := s.databases()
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, name := range names {
		if name != live {
			if err := s.options.FS.RemoveAll(filepath.Join(s.dir, name)); err != nil {
				return fmt.Errorf("data directory: %w", err)
			}
		}
	}
	return nil
}

func (s *Store) corrupt(err error) error {
	if NoRoom(err) {
		return fmt.Errorf("the state in %s cannot be opened: %w; make room on its disk", s.dir, err)
	}
	return fmt.Errorf("the state in %s is damaged (%w); empty the data directory and let the node join again under another --node-id; a copy of the directory from before must not be put back, as others count on what this node has said since", s.dir, err)
}

// flushedOver is how many tables that were flushed lie over each other before they are merged with those of the next level:
// with digests as keys that is all of them, whether few are merged or many. Pebble counts each twice.
const flushedOver = 8

// formatVersion is pinned: a newer one cannot be opened by an older veto.
const formatVersion = pebble.FormatValueSeparation

// openDatabase opens one that must be there, or makes it if need be.
func (s *Store) openDatabase(name string, mustExist bool) (*database, error) {
	defer s.options.died()
	cache := pebble.NewCache(s.options.CacheBytes)
	defer cache.Unref()
	at := &opening{logger: logger{s.options}}
	o := &pebble.Options{
		Cache: cache, FS: logs{s.options.FS, at}, FormatMajorVersion: formatVersion, Comparer: comparer(),
		MemTableSize: 64 << 20, MemTableStopWritesThreshold: 4,
		L0CompactionThreshold: 2 * flushedOver, L0StopWritesThreshold: 20, LBaseMaxBytes: 256 << 20,
		BytesPerSync: 512 << 10, Logger: at.logger, ErrorIfNotExists: mustExist, EventListener: at.listener(),
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 8 << 10
	}
	// What was flushed is written anew soon; all levels behind are as the one after it.
	o.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	o.Levels[1].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	db, err := pebble.Open(filepath.Join(s.dir, name), o)
	if err != nil {
		return nil, s.corrupt(err)
	}
	at.done.Store(true)
	return &database{name: name, db: db}, nil
}

// Applied is what the state holds.
func (s *Store) Applied() Applied {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied
}

// use gives the live database; it stays open until release.
func (s *Store) use() *database {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live.users++
	return s.live
}

func (s *Store) release(d *database) error {
	s.mu.Lock()
	d.users--
	last := d.retired && d.users == 0
	s.mu.Unlock()
	if !last {
		return nil
	}
	return s.discard(d)
}

func (s *Store) discard(d *database) error {
	err := d.db.Close()
	return errors.Join(err, s.options.FS.RemoveAll(filepath.Join(s.dir, d.name)))
}

// Sync makes all that was committed durable, and the applied index as well. What is given may
// be further than the last commit, for entries that change no record; it is never lowered.
func (s *Store) Sync(a Applied) error {
	defer s.options.died()
	s.write.Lock()
	defer s.write.Unlock()
	merged := s.applied.merge(a)
	b, err := record.Encode(merged)
	if err != nil {
		return err
	}
	if err := s.live.db.Set(appliedKey, b, pebble.Sync); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = merged
	return nil
}

// Close makes everything durable and closes. Nothing may use the store any more.
func (s *Store) Close() error {
	err := s.Sync(Applied{})
	return errors.Join(err, s.live.db.Close(), s.lock.Close())
}
