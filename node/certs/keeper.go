package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Paths are where the files of a node are.
type Paths struct {
	// Dir has those by which it proves itself to other nodes, and NodeID says which are its own.
	Dir, NodeID string
	// HTTPCertificate and HTTPKey are those of its HTTP listeners; empty if these have none.
	HTTPCertificate, HTTPKey string
}

// Held is what the files of a node say, read and checked. It is never changed.
type Held struct {
	Node Material
	// Gossip is the content of the gossip key's file.
	Gossip []byte
	// HTTP is nil if the HTTP listeners have none.
	HTTP *tls.Certificate
}

// Keeper has what a node's files said when all of them were good the last time. Its methods may be called
// from anywhere.
type Keeper struct {
	paths Paths
	check func(*Held) error
	now   func() time.Time

	held   atomic.Pointer[Held]
	unread atomic.Pointer[string]
	look   sync.Mutex
}

// Keep reads the files. Check looks at what this room cannot judge; what it refuses is not taken.
func Keep(p Paths, check func(*Held) error, now func() time.Time) (*Keeper, error) {
	k := &Keeper{paths: p, check: check, now: now}
	h, err := k.read()
	if err != nil {
		return nil, err
	}
	k.held.Store(h)
	return k, nil
}

// Held is what the node goes by.
func (k *Keeper) Held() *Held { return k.held.Load() }

// Unread is why the files as they are now were not taken; empty if they were.
func (k *Keeper) Unread() string {
	if why := k.unread.Load(); why != nil {
		return *why
	}
	return ""
}

// Look reads the files again, and tells whether they say something new. All are taken, or none: a
// certificate without its key, as while they are copied, changes nothing.
func (k *Keeper) Look() (changed bool, err error) {
	k.look.Lock()
	defer k.look.Unlock()
	h, err := k.read()
	if err != nil {
		why := err.Error()
		k.unread.Store(&why)
		return false, err
	}
	k.unread.Store(nil)
	if h.equal(k.held.Load()) {
		return false, nil
	}
	k.held.Store(h)
	return true, nil
}

func (k *Keeper) read() (*Held, error) {
	certificate, key := NodeFiles(k.paths.NodeID)
	in := func(name string) string { return filepath.Join(k.paths.Dir, name) }
	for _, path := range []string{in(AuthorityFile), in(certificate), in(key), in(GossipKeyFile), k.paths.HTTPCertificate, k.paths.HTTPKey} {
		if err := keepable(path); err != nil {
			return nil, err
		}
	}
	var h Held
	var err error
	if h.Node, err = Read(in(AuthorityFile), in(certificate), in(key), k.now()); err != nil {
		return nil, err
	}
	if h.Node.NodeID != k.paths.NodeID {
		return nil, fmt.Errorf("the certificate in %s is of node %s, and this is node %s", k.paths.Dir, h.Node.NodeID, k.paths.NodeID)
	}
	if h.Gossip, err = ReadSecret(in(GossipKeyFile)); err != nil {
		return nil, fmt.Errorf("the gossip key: %w", err)
	}
	if k.paths.HTTPCertificate != "" {
		pair, err := ReadPair(k.paths.HTTPCertificate, k.paths.HTTPKey)
		if err != nil {
			return nil, fmt.Errorf("http_cert_file and http_key_file: the listeners' certificate cannot be used: %w", err)
		}
		h.HTTP = &pair
	}
	return &h, k.check(&h)
}

func (h *Held) equal(other *Held) bool {
	same := func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
	return same(h.Node.Certificate.Certificate, other.Node.Certificate.Certificate) &&
		h.Node.Authorities.Equal(other.Node.Authorities) && bytes.Equal(h.Gossip, other.Gossip) &&
		(h.HTTP == nil || same(h.HTTP.Certificate, other.HTTP.Certificate))
}

// SameNode tells whether other nodes see the same in both.
func (h *Held) SameNode(other *Held) bool {
	return slices.EqualFunc(h.Node.Certificate.Certificate, other.Node.Certificate.Certificate, bytes.Equal) &&
		h.Node.Authorities.Equal(other.Node.Authorities)
}

// Fingerprint names a certificate or a secret key: the first 8 digits of its SHA-256.
func Fingerprint(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

// fingerprints names each certificate in PEM of a file.
func fingerprints(all []*x509.Certificate) []string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = Fingerprint(c.Raw)
	}
	return names
}
