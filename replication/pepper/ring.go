package pepper

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"veto/record"
)

const (
	keyBytes = 32 // AES-256
	maxKeys  = 2
	// MaxKeyFile bounds the content of a key file, in bytes.
	MaxKeyFile = 4 << 10
	// printBytes of a PRF tell keys apart, and say nothing of them.
	printBytes = 8
)

// secret is a pepper that was unwrapped.
type secret [32]byte

// Ring are the keys by which peppers are wrapped: the first wraps, each unwraps. Nil has none, for good. It may be
// used from anywhere.
type Ring struct{ keys atomic.Pointer[[]wrapper] }

type wrapper struct {
	aead        cipher.AEAD
	fingerprint string
}

// ParseRing reads the content of a key file: a key of 32 bytes in base64, and on a line below the one
// that it replaces, if there is one.
func ParseRing(content []byte) (*Ring, error) {
	lines := strings.Fields(string(content))
	if len(content) > MaxKeyFile || len(lines) < 1 || len(lines) > maxKeys {
		return nil, errors.New("must hold one key of 32 bytes in base64, or two on lines of their own with the new one first; `openssl rand -base64 32` makes one")
	}
	var keys []wrapper
	for _, line := range lines {
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != keyBytes {
			return nil, errors.New("holds something else than keys of 32 bytes in base64; `openssl rand -base64 32` makes one")
		}
		w, err := newWrapper(key)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, func(k wrapper) bool { return k.fingerprint == w.fingerprint }) {
			return nil, errors.New("holds the same key twice; leave one out")
		}
		keys = append(keys, w)
	}
	r := &Ring{}
	r.keys.Store(&keys)
	return r, nil
}

// Take has the keys of the other in place of its own, and tells whether they are others. They must unwrap the peppers
// that are given: what is unwrapped already goes on, but after the next start of the node it would not.
func (r *Ring) Take(other *Ring, all []record.Pepper) (changed bool, err error) {
	for _, p := range all {
		if r.Holds(p.WrappedBy) && !other.Holds(p.WrappedBy) {
			return false, fmt.Errorf("pepper %d is wrapped by the key %s, which is no more in the file; leave it there, below the new one, until `veto pepper status` shows that all are wrapped by that", p.ID, p.WrappedBy)
		}
	}
	changed = !slices.Equal(r.Fingerprints(), other.Fingerprints())
	r.keys.Store(other.keys.Load())
	return changed, nil
}

// now are the keys as they are now, for who asks for more than one thing of them; nil if there never are any.
func (r *Ring) now() *Ring {
	if r == nil {
		return nil
	}
	as := &Ring{}
	as.keys.Store(r.keys.Load())
	return as
}

func newWrapper(key []byte) (wrapper, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return wrapper{}, err
	}
	aead, err := cipher.NewGCM(block)
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte("veto: the fingerprint of a key that wraps peppers")) // a hash never fails
	return wrapper{aead, hex.EncodeToString(mac.Sum(nil)[:printBytes])}, err
}

// Fingerprints tell the keys apart.
func (r *Ring) Fingerprints() []string {
	if r == nil {
		return nil
	}
	keys := *r.keys.Load()
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.fingerprint
	}
	return all
}

// First is the fingerprint of the key that wraps; empty if there is none.
func (r *Ring) First() string {
	if r == nil {
		return ""
	}
	return (*r.keys.Load())[0].fingerprint
}

// Holds tells whether the key with the fingerprint is here.
func (r *Ring) Holds(fingerprint string) bool {
	for _, f := range r.Fingerprints() {
		if f == fingerprint {
			return true
		}
	}
	return false
}

// Make makes a new pepper of random bytes, wrapped.
func (r *Ring) Make(random io.Reader, cluster string, id record.PepperID) (record.Pepper, error) {
	var s secret
	if _, err := io.ReadFull(random, s[:]); err != nil {
		return record.Pepper{}, fmt.Errorf("pepper: %w", err)
	}
	return r.wrap(random, cluster, id, s)
}

// Rewrap wraps the pepper by the first key.
func (r *Ring) Rewrap(random io.Reader, cluster string, p record.Pepper) (record.Pepper, error) {
	return r.Rebind(random, cluster, cluster, p)
}

// Rebind wraps a pepper of one cluster by the first key, for another cluster.
func (r *Ring) Rebind(random io.Reader, from, to string, p record.Pepper) (record.Pepper, error) {
	s, err := r.unwrap(from, p)
	if err != nil {
		return record.Pepper{}, err
	}
	return r.wrap(random, to, p.ID, s)
}

func (r *Ring) wrap(random io.Reader, cluster string, id record.PepperID, s secret) (record.Pepper, error) {
	with := (*r.keys.Load())[0]
	nonce := make([]byte, with.aead.NonceSize())
	if _, err := io.ReadFull(random, nonce); err != nil {
		return record.Pepper{}, fmt.Errorf("pepper: %w", err)
	}
	wrapped := with.aead.Seal(nonce, nonce, s[:], bound(cluster, id))
	return record.Pepper{ID: id, Wrapped: wrapped, WrappedBy: with.fingerprint}, nil
}

// unwrap says what to do if it cannot.
func (r *Ring) unwrap(cluster string, p record.Pepper) (s secret, err error) {
	if r = r.now(); !r.Holds(p.WrappedBy) {
		return s, fmt.Errorf("pepper %d is wrapped by the key %s, which this node was not given; put it into the pepper_key_file, below a newer one if there is one, and start the node again, or send it SIGHUP if it had such a file", p.ID, p.WrappedBy)
	}
	for _, k := range *r.keys.Load() {
		n := k.aead.NonceSize()
		if k.fingerprint != p.WrappedBy || len(p.Wrapped) < n {
			continue
		}
		plain, err := k.aead.Open(nil, p.Wrapped[:n], p.Wrapped[n:], bound(cluster, p.ID))
		if err == nil && len(plain) == len(s) {
			copy(s[:], plain)
			return s, nil
		}
	}
	return s, fmt.Errorf("pepper %d is not what the key %s has wrapped for this cluster: the state was altered or damaged; restore it from another node", p.ID, p.WrappedBy)
}

// bound is what a wrapped pepper is good for, and for nothing else.
func bound(cluster string, id record.PepperID) []byte {
	return append([]byte("veto pepper\x00"+cluster+"\x00"), id.Bytes()...)
}
