package keyset

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"filippo.io/edwards25519"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"veto/record"
)

// Bounds of a JWK set.
const (
	MaxBytes   = 256 << 10
	maxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192
	maxKID     = 512
)

// Parse reads a JWK set (RFC 7517 section 5) that an operator gives, and returns its usable
// verification keys, in their public form. A key that names no
// algorithm is used with the usual one of its kind, or, if its issuer does not allow that, with the
// first that is allowed and fits. Keys for encryption, of unknown kinds and symmetric
// ones are left out; one that is weak or private, or has another's kid, refuses the whole set.
// Errors are *record.Rejection.
func Parse(set []byte, allowed []string) ([]record.SigningKey, error) {
	keys, refused, err := ParsePublished(set, allowed)
	if err == nil && len(refused) > 0 {
		err = refused[0]
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// ParseGiven is Parse, and gives the set as it may be kept: with the public form of the keys that
// are used, and nothing else.
func ParseGiven(set []byte, allowed []string) ([]record.SigningKey, json.RawMessage, error) {
	keys, err := Parse(set, allowed)
	if err != nil {
		return nil, nil, err
	}
	kept, err := canonical(keys)
	return keys, kept, err
}

// ParsePublished does the same with a set that an issuer publishes, but leaves out the keys that
// are refused, and says why for each: nobody here can mend them, and the issuer's other tokens
// must go on. Of two keys with one kid the first counts. It is an error if no key is left.
func ParsePublished(set []byte, allowed []string) (keys []record.SigningKey, refused []error, err error) {
	if len(set) > MaxBytes {
		return nil, nil, record.Invalid("jwks: %d bytes; at most %d", len(set), MaxBytes)
	}
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(set, &document); err != nil || document.Keys == nil {
		return nil, nil, record.Invalid(`jwks: is not a JWK set, {"keys": [...]}`)
	}
	if len(document.Keys) > maxKeys {
		return nil, nil, record.Invalid("jwks: %d keys; at most %d", len(document.Keys), maxKeys)
	}
	for n, raw := range document.Keys {
		k, ok, err := parseKey(raw, allowed)
		switch {
		case err != nil:
			refused = append(refused, record.Invalid("jwks: key %d: %s", n+1, err))
		case !ok:
		case slices.ContainsFunc(keys, func(o record.SigningKey) bool { return o.KID == k.KID && k.KID != "" }):
			refused = append(refused, record.Invalid("jwks: two keys have the kid %q", k.KID))
		default:
			keys = append(keys, k)
		}
	}
	switch {
	case len(keys) > 0:
		return keys, refused, nil
	case len(refused) > 0:
		return nil, nil, refused[0]
	}
	return nil, nil, record.Invalid("jwks: holds no key that can verify a signature")
}

type keyHead struct {
	Kty string   `json:"kty"`
	Use string   `json:"use"`
	Ops []string `json:"key_ops"`
	Crv string   `json:"crv"`
	KID string   `json:"kid"`
	Alg string   `json:"alg"`
	E   string   `json:"e"`

	// The members of private and of symmetric keys (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1).
	D, P, Q, DP, DQ, QI, K json.RawMessage
	Oth                    json.RawMessage
}

// secret tells whether any part of it is one.
func (h *keyHead) secret() bool {
	return slices.ContainsFunc([]json.RawMessage{h.D, h.P, h.Q, h.DP, h.DQ, h.QI, h.K, h.Oth}, func(m json.RawMessage) bool { return len(m) > 0 })
}

// usable tells whether the key is one that verifies signatures.
func (h keyHead) usable() bool {
	switch {
	case h.Use != "" && h.Use != "sig", len(h.Ops) > 0 && !slices.Contains(h.Ops, "verify"):
		return false
	case h.Kty == "OKP":
		return h.Crv == "Ed25519"
	case h.Kty == "EC":
		return h.Crv == "P-256" || h.Crv == "P-384" || h.Crv == "P-521"
	}
	return h.Kty == "RSA"
}

func parseKey(raw json.RawMessage, allowed []string) (record.SigningKey, bool, error) {
	var head keyHead
	if err := json.Unmarshal(raw, &head); err != nil {
		return record.SigningKey{}, false, fmt.Errorf("is not a JWK")
	}
	if head.secret() {
		return record.SigningKey{}, false, fmt.Errorf("is a private or a symmetric key; take it out at once and replace it")
	}
	if !head.usable() {
		return record.SigningKey{}, false, nil
	}
	if len(head.KID) > maxKID {
		return record.SigningKey{}, false, fmt.Errorf("its kid is longer than %d bytes", maxKID)
	}
	public, err := publicOf(raw)
	if k, ok := public.(*rsa.PublicKey); ok && err == nil && !isExponent(head.E, k.E) {
		err = fmt.Errorf("its exponent is none that can be used")
	}
	if err != nil {
		return record.SigningKey{}, false, err
	}
	alg, ok := algorithmOf(public, head.Alg, allowed)
	if !ok {
		return record.SigningKey{}, false, nil
	}
	canonical, err := json.Marshal(mustPublicJWK(public))
	if err != nil {
		return record.SigningKey{}, false, err
	}
	return record.SigningKey{KID: head.KID, Alg: alg, JWK: canonical, Status: record.SigningKeyActive}, true, nil
}

// isExponent tells whether the text is the exponent that was read: the library cuts off what is
// too long.
func isExponent(text string, e int) bool {
	b, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && e < 1<<31 && new(big.Int).SetBytes(b).Cmp(big.NewInt(int64(e))) == 0
}

// publicOf reads the key and refuses weak ones.
func publicOf(raw []byte) (crypto.PublicKey, error) {
	key, err := jwk.ParseKey(raw)
	if err != nil {
		return nil, fmt.Errorf("is not a usable JWK")
	}
	var public any
	if err := key.Raw(&public); err != nil {
		return nil, fmt.Errorf("is not a usable JWK")
	}
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits || k.E < 3 || k.E%2 == 0 || k.N.Bit(0) == 0 {
			return nil, fmt.Errorf("an RSA key must have %d to %d bits, an odd modulus and an odd exponent; this has %d bits", minRSABits, maxRSABits, bits)
		}
		return k, nil
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err != nil {
			return nil, fmt.Errorf("its point is not on the curve")
		}
		return k, nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("an Ed25519 key has 32 bytes")
		}
		// Of a point of small order anyone can make signatures (RFC 8032 section 5.1.7 leaves
		// it to the caller).
		point, err := new(edwards25519.Point).SetBytes(k)
		if err != nil || new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
			return nil, fmt.Errorf("its point is none that a key can be")
		}
		return k, nil
	}
	return nil, fmt.Errorf("is of an unusable kind")
}

// algorithmOf is the one algorithm that the key is used with: the one it names, if it fits; otherwise
// the usual one of its kind, unless only others of its kind are allowed (RFC 8725 section 3.1).
func algorithmOf(public crypto.PublicKey, named string, allowed []string) (string, bool) {
	var usual string
	fits := func(alg string) bool { return alg == usual }
	switch k := public.(type) {
	case *rsa.PublicKey:
		usual = "RS256"
		fits = func(alg string) bool {
			return slices.Contains(record.Algorithms, alg) && (strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS"))
		}
	case *ecdsa.PublicKey:
		usual = map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[k.Curve.Params().Name]
	case ed25519.PublicKey:
		usual = "EdDSA"
		fits = func(alg string) bool { return alg == "EdDSA" || alg == "Ed25519" }
	}
	if named == "" {
		if i := slices.IndexFunc(allowed, fits); i >= 0 && !slices.Contains(allowed, usual) {
			usual = allowed[i]
		}
		return usual, usual != ""
	}
	if named == "Ed25519" {
		return usual, fits(named)
	}
	return named, fits(named)
}

func mustPublicJWK(public crypto.PublicKey) jwk.Key {
	key, err := jwk.FromRaw(public)
	if err != nil {
		panic("keyset: a key that was just read cannot be written: " + err.Error())
	}
	return key
}

// canonical is the JWK set of the keys.
func canonical(keys []record.SigningKey) (json.RawMessage, error) {
	set := struct {
		Keys []map[string]any `json:"keys"`
	}{Keys: []map[string]any{}}
	for _, k := range keys {
		var one map[string]any
		if err := json.Unmarshal(k.JWK, &one); err != nil {
			return nil, fmt.Errorf("jwks: %w", err)
		}
		if one["alg"] = k.Alg; k.KID != "" {
			one["kid"] = k.KID
		}
		set.Keys = append(set.Keys, one)
	}
	return json.Marshal(set)
}

// PublicJWKS writes a JWK set of public keys by their kids.
func PublicJWKS(keys map[string]crypto.PublicKey) ([]byte, error) {
	set := jwk.NewSet()
	for kid, public := range keys {
		key, err := jwk.FromRaw(public)
		if err != nil {
			return nil, fmt.Errorf("jwks: %w", err)
		}
		alg, ok := algorithmOf(public, "", nil)
		if !ok {
			return nil, fmt.Errorf("jwks: no algorithm fits the key %s", kid)
		}
		for name, value := range map[string]string{jwk.KeyIDKey: kid, jwk.AlgorithmKey: alg, jwk.KeyUsageKey: "sig"} {
			if err := key.Set(name, value); err != nil {
				return nil, fmt.Errorf("jwks: %w", err)
			}
		}
		if err := set.AddKey(key); err != nil {
			return nil, fmt.Errorf("jwks: %w", err)
		}
	}
	return json.Marshal(set)
}
