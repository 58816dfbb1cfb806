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

// token is a JWT on its way through the steps. It is used again for others: what outlives the
// verification is in out, and in memory that is its own.
type token struct {
	set *keyset.Set
	now time.Time
	raw []byte

	dots      [2]int
	*header   // shared
	payload   string
	signature []byte
	issuer    string
	claims    object

	trust    *keyset.Trust
	key      *keyset.Key // nil if there is none with the kid
	digest   [32]byte    // SHA-256 of what is signed, if digested
	digested bool

	issuedAt, notBefore, expiry date
	out                         *validate.Claims

	headers *headers
	room    []member // for the claims
	scratch []byte   // for the parts as they are decoded
}

// reset makes it ready for another credential.
func (t *token) reset(credential string, set *keyset.Set, now time.Time) {
	*t = token{
		set: set, now: now, raw: append(t.raw[:0], credential...), out: new(validate.Claims),
		header: noHeader, headers: t.headers, room: t.room[:0], scratch: t.scratch[:0],
	}
}

func (t *token) input() []byte { return t.raw[:t.dots[1]] }

func (t *token) leeway() time.Duration { return time.Duration(t.trust.Rules.Leeway) }

// maxStaleness is the issuer's bound on the state's age; zero if it has none, or nobody has found
// the issuer.
func (t *token) maxStaleness() time.Duration {
	if t.trust == nil {
		return 0
	}
	return time.Duration(t.trust.Rules.MaxStaleness)
}

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
	var ok bool
	if t.header, ok = t.headers.read(t.raw[:t.dots[0]]); !ok {
		t.header = noHeader
		return validate.Malformed
	}
	if t.scratch, ok = decode(t.scratch, t.raw[t.dots[0]+1:t.dots[1]]); !ok {
		return validate.Malformed
	}
	t.payload = string(t.scratch)
	if t.scratch, ok = decode(t.scratch[:0], t.raw[t.dots[1]+1:]); !ok {
		return validate.Malformed
	}
	t.signature = t.scratch
	return validate.OK
}

// decode decodes strictly. The library skips line ends, so that less comes out than went in; a
// further dot is none of its characters.
func decode(into, part []byte) ([]byte, bool) {
	out, err := canonical.AppendDecode(into, part)
	return out, err == nil && len(out)-len(into) == canonical.DecodedLen(len(part))
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
	if t.claims, ok = readObject(t.payload, t.room); !ok {
		return validate.Malformed
	}
	t.room = t.claims
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
