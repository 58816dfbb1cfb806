package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	identityFile = "identity.json"
	asideFile    = "identity.json.aside"
	// partFile is beside the databases of a state that is not whole yet.
	partFile = "part"
)

// Identity says whose data a directory holds.
type Identity struct {
	NodeID string `json:"node_id"`
	// Role is the one that an operator gave the node since it was configured; empty if none did.
	Role string `json:"role,omitempty"`
	// LeftAt is when the node left its cluster for good.
	LeftAt time.Time `json:"left_at,omitzero"`
	// Cluster that the node is of; empty while it is of none, and until a node of an older version has started
	// again. The state says so too, but a crash may have taken that from it until the log brings it again.
	Cluster string `json:"cluster,omitempty"`
}

// ReadIdentity reads whose data the directory holds; false if it is new.
func ReadIdentity(dir string) (Identity, bool, error) {
	return readIdentity(filepath.Join(dir, identityFile))
}

func readIdentity(path string) (Identity, bool, error) {
	var id Identity
	b, err := os.ReadFile(path) //nolint:gosec // the operator's own directory
	if errors.Is(err, os.ErrNotExist) {
		return id, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	if err == nil && id.NodeID == "" {
		err = errors.New("it names no node")
	}
	if err != nil {
		return id, false, fmt.Errorf("%s cannot be read (%w); restore it from a backup, or empty the data directory and let the node join again under another --node-id", path, err)
	}
	return id, true, nil
}

// WriteIdentity makes the directory this node's.
func WriteIdentity(dir string, id Identity) error {
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if err := ReplaceFile(filepath.Join(dir, identityFile), b); err != nil {
		return err
	}
	return removed(os.Remove(filepath.Join(dir, asideFile)))
}

// SetIdentityAside has the directory say no more whose it is, so that no node starts in it until
// WriteIdentity was called again, and returns whose it is. It may be called again, after a crash, too; then
// and for a directory that is nobody's, it does nothing.
func SetIdentityAside(dir string) (Identity, error) {
	id, known, err := ReadIdentity(dir)
	if err != nil || !known {
		return id, err
	}
	b, err := json.Marshal(id)
	if err == nil {
		err = ReplaceFile(filepath.Join(dir, asideFile), b)
	}
	if err == nil {
		err = os.Remove(filepath.Join(dir, identityFile))
	}
	if err == nil {
		err = syncDir(vfs.Default, dir)
	}
	return id, err
}

// RemoveIdentity makes the directory nobody's, for good.
func RemoveIdentity(dir string) error {
	return removed(os.Remove(filepath.Join(dir, identityFile)))
}

// ReadIdentityAside reads what SetIdentityAside set aside; false if there is nothing.
func ReadIdentityAside(dir string) (id Identity, known bool, err error) {
	return readIdentity(filepath.Join(dir, asideFile))
}

// SetPart has the directory of a state, which is there, say that the state is not whole, so that no node starts with it,
// until SetWhole.
func SetPart(dir string) error { return ReplaceFile(filepath.Join(dir, partFile), nil) }

// IsPart tells whether the directory of a state says so.
func IsPart(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, partFile))
	return err == nil, removed(err)
}

// SetWhole undoes SetPart.
func SetWhole(dir string) error { return removed(os.Remove(filepath.Join(dir, partFile))) }

func removed(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// ReplaceFile makes the file, which nobody else may read, hold the bytes durably: whenever the machine
// stops, it holds all of the old or all of the new.
func ReplaceFile(path string, b []byte) error {
	return replaceFile(vfs.Default, func(path string) (synced, error) {
		return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the operator's own directory
	}, path, b)
}

type synced interface {
	io.WriteCloser
	Sync() error
}

func replaceFile(fs vfs.FS, create func(path string) (synced, error), path string, b []byte) error {
	temporary := path + ".new"
	f, err := create(temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(temporary, path)
	}
	if err != nil {
		_ = fs.Remove(temporary) // it is in nobody's way, but for a restore's, which wants an empty directory
		return err
	}
	return syncDir(fs, fs.PathDir(path))
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// IsEmpty tells whether there is nothing in a directory but what every file system begins with: then it may be
// where a disk belongs that is not mounted.
func IsEmpty(dir string) (bool, error) {
	there, err := os.ReadDir(dir)
	for _, e := range there {
		if e.Name() != "lost+found" {
			return false, err
		}
	}
	return err == nil, err
}
