package tokens

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// What all tokens have in common.
const (
	Issuer   = "https://issuer.example"
	Audience = "https://api.example"

	size     = 800 // bytes, about
	lifetime = time.Hour
)

// Maker signs tokens with one key.
type Maker struct {
	method jwt.SigningMethod
	key    crypto.Signer
}

// New makes a key for an algorithm: RS256, ES256 or EdDSA.
func New(alg string) (*Maker, error) {
	m := &Maker{method: jwt.GetSigningMethod(alg)}
	var err error
	switch alg {
	case "RS256":
		m.key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		m.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, m.key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("%s is none of RS256, ES256 and EdDSA", alg)
	}
	return m, err
}

// JWKS is the public key, as an issuer publishes it.
func (m *Maker) JWKS() ([]byte, error) {
	key, err := jwk.Import(m.key.Public())
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{jwk.KeyIDKey: m.method.Alg(), jwk.AlgorithmKey: m.method.Alg(), jwk.KeyUsageKey: "sig"} {
		if err := key.Set(name, value); err != nil {
			return nil, err
		}
	}
	set := jwk.NewSet()
	if err := set.AddKey(key); err != nil {
		return nil, err
	}
	return json.Marshal(set)
}

// Public is the key that verifies.
func (m *Maker) Public() crypto.PublicKey { return m.key.Public() }

// Form is that of the names of tokens.
const Form = "0192f0c1-7c2b-7d00-8000-%012d"

// JTI is the name of the n-th token.
func JTI(n int) string { return fmt.Sprintf(Form, n) }

// Change is what one claim is instead; nil takes it away.
type Change map[string]any

// Token is the n-th token, good until an hour from now but for the changes.
func (m *Maker) Token(n int, changes ...Change) (string, error) {
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": Issuer, "sub": "user_0123456789abcdef", "client_id": "checkout-frontend", "aud": []string{Audience},
		"iat": now.Unix(), "exp": now.Add(lifetime).Unix(), "jti": JTI(n),
		"scope": "orders:read orders:write profile", "sid": "5b2d7c1e-session", "tenant": "acme", "roles": []string{"buyer", "reviewer"},
	}
	for _, c := range changes {
		for name, value := range c {
			claims[name] = value
		}
	}
	t := jwt.NewWithClaims(m.method, claims)
	t.Header["kid"], t.Header["typ"] = m.method.Alg(), "at+jwt"
	signed, err := t.SignedString(m.key)
	if err != nil || len(signed) > size-60 {
		return signed, err
	}
	claims["note"] = strings.Repeat("n", (size-len(signed))*3/4-12)
	return t.SignedString(m.key)
}
