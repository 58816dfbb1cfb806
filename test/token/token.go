package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
)

// T is a test, of whatever kind.
type T interface {
	Helper()
	Fatal(args ...any)
}

// Sign makes a token of the claims, by EdDSA. It has no typ if that is empty.
func Sign(t T, key ed25519.PrivateKey, kid, typ string, claims map[string]any) string {
	t.Helper()
	head := struct {
		Alg string `json:"alg"`
		KID string `json:"kid"`
		Typ string `json:"typ,omitempty"`
	}{"EdDSA", kid, typ}
	input := part(t, head) + "." + part(t, claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
}

func part(t T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
