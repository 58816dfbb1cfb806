package jwt

import (
	"bytes"
	"encoding/base64"
	"slices"
	"time"

	"veto/record"
	"veto/validate"
	"veto/validate/keyset"
)

// token is a JWT on its way through the steps.
type token struct {
	set *keyset.Set
	now time.Time
	raw []byte

	dots          [2]int
	payload       []byte
	signature     []byte
	alg, typ, kid string
	issuer        string
	claims        object

	trust    *keyset.Trust
	key      *keyset.Key // nil if there is none with the kid
	digest   [32]byte    // SHA-256 of what is signed, if digested
	digested bool

	issuedAt, notBefore, expiry date
	out                         validate.Claims

	room [24]member // for the claims of most tokens
}

func (t *token) input() []byte { return t.raw[:t.dots[1]] }

func (t *token) leeway() time.Duration { return time.Duration(t.trust.Rules.Leeway) }

// canonical refuses padding and trailing bits that are not zero.
var canonical = base64.RawURLEncoding.Strict()

// form takes the token apart (RFC 7515 section 3.1): three parts of base64url and nothing else.
func (t *token) form() validate.Code {
	first := bytes.IndexByte(t.raw, '.')
	if first < 0 {
		return validate.Malformed
	}
	second := bytes.IndexByte(t.raw[first+1:], '.')
	if second < 0 {
		return validate.Malformed
	}
	t.dots = [2]int{first, first + 1 + second}
	// The decoder itself skips line ends.
	if bytes.IndexByte(t.raw, '\n') >= 0 || bytes.IndexByte(t.raw, '\r') >= 0 || bytes.IndexByte(t.raw[t.dots[1]+1:], '.') >= 0 {
		return validate.Malformed
	}
	room := make([]byte, canonical.DecodedLen(len(t.raw)))
	decode := func(part []byte) (out []byte, ok bool) {
		n, err := canonical.Decode(room, part)
		out, room = room[:n:n], room[n:]
		return out, err == nil
	}
	header, ok1 := decode(t.raw[:t.dots[0]])
	payload, ok2 := decode(t.raw[t.dots[0]+1 : t.dots[1]])
	signature, ok3 := decode(t.raw[t.dots[1]+1:])
	if !ok1 || !ok2 || !ok3 {
		return validate.Malformed
	}
	t.payload, t.signature = payload, signature
	return t.readHeader(string(header))
}

// readHeader takes what is needed of the JOSE header (RFC 7515 section 4). Keys, URLs and
// certificates in it are not looked at. An extension that must be understood is not, so the
// token is refused (section 4.1.11); so is b64 (RFC 7797).
func (t *token) readHeader(header string) validate.Code {
	var room [8]member
	o, ok := readObject(header, room[:])
	if !ok || o.get("crit") != "" || o.get("b64") != "" {
		return validate.Malformed
	}
	for _, h := range [...]struct {
		name string
		into *string
	}{{"alg", &t.alg}, {"typ", &t.typ}, {"kid", &t.kid}} {
		if raw := o.get(h.name); raw != "" {
			if *h.into, ok = text(raw); !ok {
				return validate.Malformed
			}
		}
	}
	if t.alg == "" {
		return validate.Malformed
	}
	return validate.OK
}

// known refuses algorithms that no issuer may use: none, in whatever spelling, is one of them.
func (t *token) known() validate.Code {
	if !slices.Contains(record.Algorithms, t.alg) && !slices.Contains(record.SecretAlgorithms, t.alg) {
		return validate.UnsupportedAlg
	}
	return validate.OK
}

// readClaims reads the claims and whose they are (RFC 7519 section 4).
func (t *token) readClaims() validate.Code {
	var ok bool
	if t.claims, ok = readObject(string(t.payload), t.room[:]); !ok {
		return validate.Malformed
	}
	iss := t.claims.get("iss")
	if iss == "" {
		return validate.MissingClaim
	}
	if t.issuer, ok = text(iss); !ok {
		return validate.Malformed
	}
	return validate.OK
}

func (t *token) findIssuer() validate.Code {
	var ok bool
	if t.trust, ok = t.set.Issuer(t.issuer); !ok {
		return validate.UnknownIssuer
	}
	return validate.OK
}

// allowed checks the algorithm against the issuer's (RFC 8725 section 3.1).
func (t *token) allowed() validate.Code {
	if !slices.Contains(t.trust.Rules.Algorithms, t.alg) {
		return validate.UnsupportedAlg
	}
	return validate.OK
}

// findKey finds the key by kid within the issuer. The algorithm must be the key's own.
func (t *token) findKey() validate.Code {
	if t.kid == "" {
		if len(t.trust.Candidates(t.alg)) == 0 {
			return validate.UnknownSigningKey
		}
		return validate.OK
	}
	k, ok := t.trust.Key(t.kid)
	if !ok && t.trust.Rules.SharedSecret {
		// There is one secret. A kid tells its issuer which it is, and nobody else.
		if all := t.trust.Candidates(t.alg); len(all) == 1 {
			k, ok = all[0], true
		}
	}
	switch {
	case !ok:
		return validate.UnknownSigningKey
	case k.Alg != t.alg:
		return validate.UnsupportedAlg
	}
	t.key = k
	return t.stillTrusted()
}

// keyEnds is when the key is trusted no more; zero if it is not retired.
func (t *token) keyEnds() time.Time {
	if t.key.RetiredAt.IsZero() {
		return time.Time{}
	}
	return t.key.RetiredAt.Add(time.Duration(t.trust.Rules.MaxLifetime) + t.leeway())
}

// stillTrusted refuses a key that was retired so long ago that all it signed has expired.
func (t *token) stillTrusted() validate.Code {
	if end := t.keyEnds(); !end.IsZero() && !t.now.Before(end) {
		return validate.UnknownSigningKey
	}
	return validate.OK
}

// verifySignature finds, for a token without a kid, the key that it is signed with.
func (t *token) verifySignature() validate.Code {
	if t.key != nil {
		if t.signedBy(t.key) {
			return validate.OK
		}
		return validate.BadSignature
	}
	for _, k := range t.trust.Candidates(t.alg) {
		if t.signedBy(k) {
			t.key = k
			return t.stillTrusted()
		}
	}
	return validate.BadSignature
}
