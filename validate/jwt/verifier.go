package jwt

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"veto/record"
	"veto/validate"
	"veto/validate/keyset"
)

// Verifier verifies JWTs with the keys in force. It may be used from anywhere at once.
type Verifier struct{ keys *keyset.Holder }

// New makes a verifier on the holder's keys.
func New(keys *keyset.Holder) *Verifier { return &Verifier{keys} }

// Verify checks everything about the token that the token and its issuer's rules and keys can
// tell. It does not block.
func (v *Verifier) Verify(token string, now time.Time) (*validate.Claims, validate.Code) {
	t, code := parse(token)
	if code != validate.OK {
		return nil, code
	}
	trust, ok := v.keys.Load().Issuer(t.issuer)
	if !ok {
		return nil, validate.UnknownIssuer
	}
	key, code := t.verifiedBy(trust)
	if code != validate.OK {
		return nil, code
	}
	c := claims{object: t.claims, rules: &trust.Rules, now: now}
	if code := c.check(t.typ); code != validate.OK {
		return nil, code
	}
	sum := sha256.Sum256([]byte(t.input))
	return &validate.Claims{
		Kind: validate.JWT, Issuer: t.issuer, KID: key.KID,
		Subject: c.text("sub"), JTI: c.text("jti"), Client: c.client(), Session: c.text("sid"),
		TokenHash: base64.RawURLEncoding.EncodeToString(sum[:]),
		Audience:  c.audience, Scopes: c.scopes(), IssuedAt: c.issuedAt, ExpiresAt: c.expiresAt,
		Raw: t.payload,
	}, validate.OK
}

// token is a JWT taken apart; nothing of it is verified yet.
type token struct {
	alg, typ, kid string
	issuer        string
	input         string // what is signed
	payload       []byte
	claims        object
	signature     []byte
}

// parse takes the token apart, strictly.
func parse(raw string) (*token, validate.Code) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, validate.Malformed
	}
	t := &token{input: raw[:len(parts[0])+1+len(parts[1])]}
	head, err := decode(parts[0])
	if err != nil {
		return nil, validate.Malformed
	}
	if code := t.readHeader(head); code != validate.OK {
		return nil, code
	}
	if t.payload, err = decode(parts[1]); err != nil {
		return nil, validate.Malformed
	}
	if t.claims, err = readObject(t.payload); err != nil {
		return nil, validate.Malformed
	}
	if t.signature, err = decode(parts[2]); err != nil {
		return nil, validate.Malformed
	}
	iss := t.claims.get("iss")
	if iss == nil {
		return nil, validate.MissingClaim
	}
	var ok bool
	if t.issuer, ok = text(iss); !ok {
		return nil, validate.Malformed
	}
	return t, validate.OK
}

// canonical refuses padding, line ends, and trailing bits that are not zero.
var canonical = base64.RawURLEncoding.Strict()

func decode(part string) ([]byte, error) {
	// The decoder itself skips line ends.
	if strings.ContainsAny(part, "\r\n") {
		return nil, errJSON
	}
	return canonical.DecodeString(part)
}

// readHeader takes what is needed of the JOSE header (RFC 7515 section 4). An extension that
// must be understood is not, so the token is refused (section 4.1.11); so is b64 (RFC 7797).
func (t *token) readHeader(b []byte) validate.Code {
	o, err := readObject(b)
	if err != nil || o.get("crit") != nil || o.get("b64") != nil {
		return validate.Malformed
	}
	for name, into := range map[string]*string{"alg": &t.alg, "typ": &t.typ, "kid": &t.kid} {
		if raw := o.get(name); raw != nil {
			var ok bool
			if *into, ok = text(raw); !ok {
				return validate.Malformed
			}
		}
	}
	if t.alg == "" {
		return validate.Malformed
	}
	if !slices.Contains(record.Algorithms, t.alg) {
		return validate.UnsupportedAlg
	}
	return validate.OK
}

// verifiedBy finds the key that the token is signed with.
func (t *token) verifiedBy(trust *keyset.Trust) (*keyset.Key, validate.Code) {
	if !slices.Contains(trust.Rules.Algorithms, t.alg) {
		return nil, validate.UnsupportedAlg
	}
	candidates := []*keyset.Key(nil)
	if t.kid == "" {
		candidates = trust.Candidates(t.alg)
	} else if k, ok := trust.Key(t.kid); ok {
		if k.Alg != t.alg {
			return nil, validate.UnsupportedAlg
		}
		candidates = append(candidates, k)
	}
	if len(candidates) == 0 {
		return nil, validate.UnknownSigningKey
	}
	input := []byte(t.input)
	for _, k := range candidates {
		if verify(t.alg, k.Public, input, t.signature) {
			return k, validate.OK
		}
	}
	return nil, validate.BadSignature
}
