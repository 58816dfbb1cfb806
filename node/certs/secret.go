package certs

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// others are the permission bits of everybody but the file's owner and group.
const others = 0o007

// maxSecret bounds a file that holds a secret, in bytes.
const maxSecret = 1 << 20

// ReadSecret reads a file that only its owner and group may open. What anybody on the machine can read
// is refused: it has to be taken for known, and nobody would notice by themselves.
func ReadSecret(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, err
	}
	content, err := readPrivate(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return content, nil
}

// ReadKept is ReadSecret of a file that is read again while the node runs. What is no file is refused.
func ReadKept(path string) ([]byte, error) {
	if err := keepable(path); err != nil {
		return nil, err
	}
	return ReadSecret(path)
}

// keepable tells whether the file can be read again: a pipe has been read by then, and would block whoever reads it.
func keepable(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file, as it must be: it is read again while the node runs", path)
	}
	return nil
}

// readPrivate looks at the file that is open, which is not necessarily what has the name by now.
func readPrivate(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// A pipe or a device is whoever's who gave it; what it is called by has no mode that says anything.
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&others != 0 {
		return nil, fmt.Errorf("%s can be opened by anybody on this machine (mode %04o); take that away with `chmod o= %s`, and replace the secret if others were here", f.Name(), mode.Perm(), f.Name())
	}
	content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(content) > maxSecret {
		err = fmt.Errorf("%s is longer than %d bytes, which no secret is", f.Name(), maxSecret)
	}
	return content, err
}
