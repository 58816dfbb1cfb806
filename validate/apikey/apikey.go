package apikey

import (
	"crypto/sha256"
	"sync"
	"time"

	"veto/record"
	"veto/validate"
)

// maxKey is how long a secret may be. Those that Generate makes are much shorter; those that are
// imported have any form.
const maxKey = 512

// Hash is how a key is found; what it is stored as is for those who store it to say.
func Hash(secret string) record.KeyHash { return sha256.Sum256([]byte(secret)) }

// Keys finds a key's record by the Hash of its secret.
type Keys interface {
	// APIKey also tells whether the secret is one that was replaced. The record may be the room's; what
	// it holds is shared.
	APIKey(h record.KeyHash, room *record.KeyRoom) (k *record.APIKey, old, ok bool)
	// Locked tells whether no key can be found now, whatever there is.
	Locked() bool
	// Imports tells whether there are keys that Generate did not make.
	Imports() bool
}

// Verifier finds keys. It may be used from anywhere at once.
type Verifier struct {
	keys Keys
	used *sync.Pool // of *[maxKey]byte, for secrets while they are looked at
}

// New makes a verifier that looks keys up.
func New(keys Keys) *Verifier {
	return &Verifier{keys, &sync.Pool{New: func() any { return new([maxKey]byte) }}}
}

// Verify finds the presented key's record. The claims are those of room. It does not block.
func (v *Verifier) Verify(secret string, now time.Time, room *validate.Claims) (*validate.Claims, validate.Code) {
	return v.find(secret, now, room, nil)
}

// Explain is Verify with every check told.
func (v *Verifier) Explain(secret string, now time.Time, trail *validate.Trail) (*validate.Claims, validate.Code) {
	return v.find(secret, now, new(validate.Claims), trail)
}

func (v *Verifier) find(secret string, now time.Time, room *validate.Claims, trail *validate.Trail) (*validate.Claims, validate.Code) {
	b, _ := v.used.Get().(*[maxKey]byte)
	n := copy(b[:], secret)
	defer func() {
		clear(b[:n])
		v.used.Put(b)
	}()
	switch {
	case len(secret) > maxKey:
		trail.Tell("form", validate.Malformed, "longer than any key")
		return nil, validate.Malformed
	case wellFormed(b[:n]):
		trail.Tell("form", validate.OK, "the checksum at its end fits")
	case v.keys.Imports():
		trail.Tell("form", validate.OK, "not a key that Veto made; it may be one that was imported")
	default:
		trail.Tell("form", validate.Malformed, "not a key that Veto made: the checksum at its end does not fit")
		return nil, validate.Malformed
	}
	if room.KeyRoom == nil {
		room.KeyRoom = &record.KeyRoom{Brief: trail == nil}
	}
	k, rotating, ok := v.keys.APIKey(sha256.Sum256(b[:n]), room.KeyRoom)
	if !ok && v.keys.Locked() {
		trail.Tell("known", validate.PepperLocked, "this node lacks the key that unwraps a pepper of the cluster, so it cannot tell whether this is a key; its log says what to do")
		return nil, validate.PepperLocked
	}
	if !ok {
		trail.Tell("known", validate.KeyNotFound, "no key has this hash: it was deleted, or is of another cluster")
		return nil, validate.KeyNotFound
	}
	expires := k.ExpiresAt
	if rotating && (expires.IsZero() || k.Rotating.Until.Before(expires)) {
		expires = k.Rotating.Until
	}
	if trail != nil {
		explain(k, rotating, expires, now, trail)
	}
	if code := enabled(k); code != validate.OK {
		return nil, code
	}
	if code := unexpired(expires, now); code != validate.OK {
		return nil, code
	}
	*room = validate.Claims{
		Kind: validate.APIKey, Key: k, Rotating: rotating, Scopes: k.AllScopes(), ExpiresAt: expires, IssuedAt: k.CreatedAt.Unix(),
		KeyRoom: room.KeyRoom,
	}
	return room, validate.OK
}

func enabled(k *record.APIKey) validate.Code {
	if k.Disabled {
		return validate.KeyDisabled
	}
	return validate.OK
}

func unexpired(expires, now time.Time) validate.Code {
	if !expires.IsZero() && !now.Before(expires) {
		return validate.KeyExpired
	}
	return validate.OK
}

func explain(k *record.APIKey, rotating bool, expires, now time.Time, trail *validate.Trail) {
	known, expiry := k.ID+", "+k.Hint, "it does not expire"
	if !expires.IsZero() {
		expiry = "expires at " + expires.Format(time.RFC3339)
	}
	if rotating {
		known = k.ID + ", by the secret " + k.Rotating.Hint + ", which " + k.Hint + " has replaced"
	}
	trail.Tell("known", validate.OK, known)
	trail.Tell("enabled", enabled(k), "")
	trail.Tell("expiry", unexpired(expires, now), expiry)
}
