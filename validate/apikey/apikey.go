package apikey

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
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

// wellFormed tells whether the string is a key that Generate could have made.
func wellFormed(s string) bool {
	if len(s) < randomChars+checksumChars+1 || len(s) > maxKey {
		return false
	}
	body, sum := s[:len(s)-checksumChars], s[len(s)-checksumChars:]
	want := crc32.ChecksumIEEE([]byte(body))
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
type Verifier struct{ keys Keys }

// New makes a verifier that looks keys up.
func New(keys Keys) *Verifier { return &Verifier{keys} }

// Verify finds the presented key's record. It does not block.
func (v *Verifier) Verify(secret string, now time.Time) (*validate.Claims, validate.Code) {
	if !wellFormed(secret) {
		return nil, validate.Malformed
	}
	k, ok := v.keys.APIKey(Hash(secret))
	switch {
	case !ok:
		return nil, validate.KeyNotFound
	case k.Disabled:
		return nil, validate.KeyDisabled
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return nil, validate.KeyExpired
	}
	return &validate.Claims{
		Kind: validate.APIKey, Key: k, Scopes: k.Scopes, ExpiresAt: k.ExpiresAt, IssuedAt: k.CreatedAt.Unix(),
	}, validate.OK
}
