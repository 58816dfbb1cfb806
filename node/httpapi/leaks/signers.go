package leaks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
)

// The headers of a signed report.
const (
	IdentifierHeader = "Github-Public-Key-Identifier"
	SignatureHeader  = "Github-Public-Key-Signature"
)

// Bounds of a set of signers.
const (
	MaxSigners   = 64 << 10 // in bytes
	maxKeys      = 64
	maxID        = 128
	maxSignature = 128 // in base64; of P-256 it is at most 96
)

// Signers are the public keys of who signs reports, by their identifiers.
type Signers map[string]*ecdsa.PublicKey

// ParseSigners reads a set as GitHub publishes it at /meta/public_keys/secret_scanning. Keys that are
// not current any more are taken as well, as a report may have been on its way.
func ParseSigners(text []byte) (Signers, error) {
	var set struct {
		Keys []struct {
			ID  string `json:"key_identifier"`
			Key string `json:"key"`
		} `json:"public_keys"`
	}
	if len(text) > MaxSigners {
		return nil, fmt.Errorf("the set is longer than %d bytes", MaxSigners)
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("the set is not JSON as GitHub publishes it: %w", err)
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the set has %d public_keys; 1 to %d", len(set.Keys), maxKeys)
	}
	all := Signers{}
	for _, k := range set.Keys {
		if _, twice := all[k.ID]; twice || k.ID == "" || len(k.ID) > maxID {
			return nil, fmt.Errorf("a key_identifier is empty, longer than %d bytes, or there twice", maxID)
		}
		key, err := parseKey(k.Key)
		if err != nil {
			return nil, fmt.Errorf("the key %.20s: %w", k.ID, err)
		}
		all[k.ID] = key
	}
	return all, nil
}

func parseKey(text string) (*ecdsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		return nil, fmt.Errorf("is not one PUBLIC KEY in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("is not of ECDSA on P-256")
	}
	return key, nil
}

// Signed tells whether the signer with the identifier signed the body.
func (s Signers) Signed(identifier, signature string, body []byte) bool {
	key, known := s[identifier]
	if !known || len(signature) > maxSignature {
		return false
	}
	der, err := base64.StdEncoding.Strict().DecodeString(signature)
	sum := sha256.Sum256(body)
	return err == nil && ecdsa.VerifyASN1(key, sum[:], der)
}
