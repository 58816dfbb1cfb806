package certs

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	private = 0o600
	public  = 0o644

	gossipKeyLength = 32 // AES-256
)

// file is one that is to be written.
type file struct {
	name    string
	content []byte
	mode    fs.FileMode
}

func pair(certificateFile, keyFile string, der []byte, key *ecdsa.PrivateKey) ([]file, error) {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return []file{
		{keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), private},
		{certificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), public},
	}, nil
}

// writeNew writes all files or none: a key without its certificate would be in the way of the
// next attempt, and one beside another's certificate would be worse.
func writeNew(dir string, files []file) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	for i, f := range files {
		if err := create(filepath.Join(dir, f.name), f); err != nil {
			for _, written := range files[:i] {
				err = errors.Join(err, os.Remove(filepath.Join(dir, written.name)))
			}
			return err
		}
	}
	return nil
}

func create(path string, content file) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, content.mode) //nolint:gosec // the operator's own directory
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is not overwritten; name another directory, or move it away", path)
	}
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	_, err = f.Write(content.content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("certs: %w", err), os.Remove(path))
	}
	return nil
}
