package consensus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"

	"veto/replication/store"
)

// snapshots is Raft's snapshot store. What it lists is the live store itself.
type snapshots struct {
	store *store.Store
	dir   string // of streams on their way in or out

	mu       sync.Mutex
	received map[string]raft.SnapshotMeta // by id, until Raft opens it
}

const (
	liveID     = "live"
	streamName = "stream-*"
)

func newSnapshots(s *store.Store, dir string) (*snapshots, error) {
	// A stream that was not taken in before the process ended is worth nothing.
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	return &snapshots{store: s, dir: dir, received: map[string]raft.SnapshotMeta{}}, nil
}

// Create opens a sink. If Raft writes to it, it is the state of another node; if Raft closes
// it unwritten, it is our own state that must be made durable.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, servers raft.Configuration,
	serversIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("snapshots: unsupported version %d", version)
	}
	return &sink{snapshots: s, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
		Configuration: servers, ConfigurationIndex: serversIndex,
	}}, nil
}

// List has the live store, if it has applied anything.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	a := s.store.Applied()
	if a.Index == 0 {
		return nil, nil
	}
	meta, err := metaOf(a)
	if err != nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{meta}, nil
}

func metaOf(a store.Applied) (*raft.SnapshotMeta, error) {
	if len(a.Configuration) == 0 {
		return nil, errors.New("snapshots: the store knows no configuration of the cluster; restore it from a backup or let the node rejoin with an empty data directory")
	}
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: liveID, Index: a.Index, Term: a.Term,
		Configuration: raft.DecodeConfiguration(a.Configuration), ConfigurationIndex: a.ConfigurationIndex,
	}, nil
}

// Open gives a received stream, or the live store as a stream. The stream of the live store
// is written to a file first, since Raft must announce its size.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if id == liveID {
		return s.openLive()
	}
	s.mu.Lock()
	meta, ok := s.received[id]
	delete(s.received, id)
	s.mu.Unlock()
	if !ok {
		return nil, nil, fmt.Errorf("snapshots: no snapshot %s", id)
	}
	f, err := os.Open(s.path(id))
	if err != nil {
		return nil, nil, fmt.Errorf("snapshots: %w", err)
	}
	return &meta, unlinked{f}, nil
}

func (s *snapshots) openLive() (_ *raft.SnapshotMeta, _ io.ReadCloser, err error) {
	snap, err := s.store.Snapshot()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	meta, err := metaOf(snap.Applied())
	if err != nil {
		return nil, nil, err
	}
	f, err := os.CreateTemp(s.dir, streamName)
	if err != nil {
		return nil, nil, fmt.Errorf("snapshots: %w", err)
	}
	meta.Size, err = snap.WriteTo(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("snapshots: %w", err), unlinked{f}.Close())
	}
	return meta, unlinked{f}, nil
}

func (s *snapshots) path(id string) string { return filepath.Join(s.dir, id) }

// unlinked removes its file when it is closed.
type unlinked struct{ *os.File }

func (u unlinked) Close() error {
	return errors.Join(u.File.Close(), os.Remove(u.Name()))
}

// sink is one snapshot being taken or received. Raft uses it from one goroutine.
type sink struct {
	snapshots *snapshots
	meta      raft.SnapshotMeta
	file      *os.File
	closed    bool
}

func (k *sink) ID() string { return k.meta.ID }

func (k *sink) Write(p []byte) (int, error) {
	if k.file == nil {
		f, err := os.CreateTemp(k.snapshots.dir, streamName)
		if err != nil {
			return 0, fmt.Errorf("snapshots: %w", err)
		}
		k.file = f
	}
	n, err := k.file.Write(p)
	k.meta.Size += int64(n)
	return n, err
}

// Close of an unwritten sink makes the store durable up to the sink's index: Raft cuts the
// log only after it returned without an error (C1).
func (k *sink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if k.file == nil {
		return k.snapshots.store.Sync(store.Applied{
			Index: k.meta.Index, Term: k.meta.Term,
			Configuration:      raft.EncodeConfiguration(k.meta.Configuration),
			ConfigurationIndex: k.meta.ConfigurationIndex,
		})
	}
	err := k.file.Close()
	if err == nil {
		err = os.Rename(k.file.Name(), k.snapshots.path(k.meta.ID))
	}
	if err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	k.snapshots.mu.Lock()
	k.snapshots.received[k.meta.ID] = k.meta
	k.snapshots.mu.Unlock()
	return nil
}

func (k *sink) Cancel() error {
	if k.closed || k.file == nil {
		k.closed = true
		return nil
	}
	k.closed = true
	return unlinked{k.file}.Close()
}
