package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"

	"veto/validate/keyset"
)

// signedBy checks the signature with the key, by the algorithm that is the key's own (RFC 7518
// section 3, RFC 8037).
func (t *token) signedBy(k *keyset.Key) bool {
	if t.alg == "EdDSA" {
		public, ok := k.Public.(ed25519.PublicKey)
		return ok && len(t.signature) == ed25519.SignatureSize && ed25519.Verify(public, t.input(), t.signature)
	}
	if len(k.Secret) > 0 {
		return t.signedWith(k.Secret)
	}
	digest, hash := t.hash()
	switch t.alg[0] {
	case 'R':
		public, ok := k.Public.(*rsa.PublicKey)
		return ok && rsa.VerifyPKCS1v15(public, hash, digest, t.signature) == nil
	case 'P':
		public, ok := k.Public.(*rsa.PublicKey)
		// The salt is as long as the hash (RFC 7518 section 3.5).
		return ok && rsa.VerifyPSS(public, hash, digest, t.signature, &rsa.PSSOptions{SaltLength: hash.Size()}) == nil
	case 'E':
		public, ok := k.Public.(*ecdsa.PublicKey)
		return ok && verifyECDSA(public, digest, t.signature)
	}
	return false
}

// hash is the digest of what is signed, by the digits at the end of the algorithm's name.
func (t *token) hash() ([]byte, crypto.Hash) {
	switch t.alg[2:] {
	case "384":
		sum := sha512.Sum384(t.input())
		return sum[:], crypto.SHA384
	case "512":
		sum := sha512.Sum512(t.input())
		return sum[:], crypto.SHA512
	}
	t.digest, t.digested = sha256.Sum256(t.input()), true
	return t.digest[:], crypto.SHA256
}

// signedWith compares the code of an HMAC in constant time.
func (t *token) signedWith(secret []byte) bool {
	hash := sha256.New
	switch t.alg {
	case "HS256":
	case "HS384":
		hash = sha512.New384
	case "HS512":
		hash = sha512.New
	default:
		return false
	}
	mac := hmac.New(hash, secret)
	mac.Write(t.input())
	return hmac.Equal(mac.Sum(nil), t.signature)
}

// verifyECDSA takes r and s of the exact length of the curve's order (RFC 7518 section 3.4), and
// gives them to the standard library as it wants them; it checks their range.
func verifyECDSA(k *ecdsa.PublicKey, digest, signature []byte) bool {
	size := (k.Curve.Params().N.BitLen() + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	var room [4 + 2*(2+66+1)]byte // two integers of P-521
	body := appendInteger(appendInteger(room[4:4], signature[:size]), signature[size:])
	head := append(room[:0], 0x30)
	if len(body) > 127 {
		head = append(head, 0x81)
	}
	head = append(head, byte(len(body)))
	return ecdsa.VerifyASN1(k, digest, append(head, body...))
}

// appendInteger appends a positive ASN.1 integer in DER: without leading zeros, but with one if
// it would look negative.
func appendInteger(to, number []byte) []byte {
	for len(number) > 1 && number[0] == 0 {
		number = number[1:]
	}
	length := len(number)
	if number[0]&0x80 != 0 {
		length++
	}
	to = append(to, 0x02, byte(length))
	if number[0]&0x80 != 0 {
		to = append(to, 0)
	}
	return append(to, number...)
}
