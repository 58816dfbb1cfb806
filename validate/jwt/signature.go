package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms below
	_ "crypto/sha512"
	"encoding/asn1"
	"math/big"
	"strings"
)

// hashes by the digits at the end of an algorithm's name (RFC 7518 section 3.1).
var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

// verify checks the signature with the key, by the algorithm that is the key's own.
func verify(alg string, key crypto.PublicKey, input, signature []byte) bool {
	if alg == "EdDSA" {
		k, ok := key.(ed25519.PublicKey)
		return ok && len(signature) == ed25519.SignatureSize && ed25519.Verify(k, input, signature)
	}
	if len(alg) != 5 {
		return false
	}
	hash, ok := hashes[alg[2:]]
	if !ok {
		return false
	}
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch {
	case strings.HasPrefix(alg, "RS"):
		k, ok := key.(*rsa.PublicKey)
		return ok && rsa.VerifyPKCS1v15(k, hash, digest, signature) == nil
	case strings.HasPrefix(alg, "PS"):
		k, ok := key.(*rsa.PublicKey)
		// The salt is as long as the hash (RFC 7518 section 3.5).
		return ok && rsa.VerifyPSS(k, hash, digest, signature, &rsa.PSSOptions{SaltLength: hash.Size()}) == nil
	case strings.HasPrefix(alg, "ES"):
		k, ok := key.(*ecdsa.PublicKey)
		return ok && verifyECDSA(k, digest, signature)
	}
	return false
}

// verifyECDSA takes r and s of the exact length of the curve's order (RFC 7518 section 3.4);
// their range is checked by the standard library.
func verifyECDSA(k *ecdsa.PublicKey, digest, signature []byte) bool {
	size := (k.Curve.Params().N.BitLen() + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]),
	})
	return err == nil && ecdsa.VerifyASN1(k, digest, der)
}
