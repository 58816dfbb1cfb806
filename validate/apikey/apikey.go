package apikey

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"sync"
	"time"

	"veto/record"
	"veto/validate"
)

// The prefixes of consumers' and operators' keys.
const (
	Prefix         = "veto_"
	OperatorPrefix = "veto_op_"
)

const (
	alphabet      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomChars   = 30
	checksumChars = 6
	maxKey        = 128
)

// Generate makes a new key of random bytes. The secret is to be shown once and kept nowhere;
// the hint is safe to keep.
func Generate(random io.Reader, prefix string) (secret string, hash record.KeyHash, hint string, err error) {
	// 62^30 is below 2^179; 32 bytes leave no bias that matters.
	raw := make([]byte, 32)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", hash, "", fmt.Errorf("api key: %w", err)
	}
	body := prefix + encode(new(big.Int).SetBytes(raw), randomChars)
	secret = body + checksum(body)
	return secret, Hash(secret), prefix + "…" + secret[len(secret)-4:], nil
}

// Hash is how a key is found.
func Hash(secret string) record.KeyHash { return sha256.Sum256([]byte(secret)) }

func checksum(body string) string {
	return encode(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), checksumChars)
}

// encode writes the lowest digits of n.
func encode(n *big.Int, digits int) string {
	out, base, rest := make([]byte, digits), big.NewInt(int64(len(alphabet))), new(big.Int)
	for i := digits - 1; i >= 0; i-- {
		n.DivMod(n, base, rest)
		out[i] = alphabet[rest.Int64()]
	}
	return string(out)
}

// wellFormed tells whether the bytes are a key that Generate could have made.
func wellFormed(s []byte) bool {
	if len(s) < randomChars+checksumChars+1 {
		return false
	}
	body, sum := s[:len(s)-checksumChars], s[len(s)-checksumChars:]
	want := crc32.ChecksumIEEE(body)
	for i := len(sum) - 1; i >= 0; i-- {
		if sum[i] != alphabet[want%62] {
			return false
		}
		want /= 62
	}
	return want == 0
}

// Keys finds a key's record by its hash. The record is shared.
type Keys interface {
	APIKey(h record.KeyHash) (*record.APIKey, bool)
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
	if len(secret) > maxKey || !wellFormed(b[:n]) {
		trail.Tell("form", validate.Malformed, "not a key that Veto made: the checksum at its end does not fit")
		return nil, validate.Malformed
	}
	trail.Tell("form", validate.OK, "the checksum at its end fits")
	k, ok := v.keys.APIKey(sha256.Sum256(b[:n]))
	if !ok {
		trail.Tell("known", validate.KeyNotFound, "no key has this hash: it was deleted, or is of another cluster")
		return nil, validate.KeyNotFound
	}
	if trail != nil {
		trail.Tell("known", validate.OK, k.ID+", "+k.Hint)
		explain(k, now, trail)
	}
	if code := enabled(k); code != validate.OK {
		return nil, code
	}
	if code := unexpired(k, now); code != validate.OK {
		return nil, code
	}
	*room = validate.Claims{
		Kind: validate.APIKey, Key: k, Scopes: k.AllScopes(), ExpiresAt: k.ExpiresAt, IssuedAt: k.CreatedAt.Unix(),
	}
	return room, validate.OK
}

func enabled(k *record.APIKey) validate.Code {
	if k.Disabled {
		return validate.KeyDisabled
	}
	return validate.OK
}

func unexpired(k *record.APIKey, now time.Time) validate.Code {
	if !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
		return validate.KeyExpired
	}
	return validate.OK
}

func explain(k *record.APIKey, now time.Time, trail *validate.Trail) {
	trail.Tell("enabled", enabled(k), "")
	expiry := "it does not expire"
	if !k.ExpiresAt.IsZero() {
		expiry = "expires at " + k.ExpiresAt.Format(time.RFC3339)
	}
	trail.Tell("expiry", unexpired(k, now), expiry)
}
