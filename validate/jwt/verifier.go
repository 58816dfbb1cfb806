package jwt

import (
	"crypto/sha256"
	"sync"
	"time"

	"veto/validate"
	"veto/validate/keyset"
	"veto/validate/remembered"
)

// Verifier verifies JWTs with the keys in force. It may be used from anywhere at once.
type Verifier struct {
	keys   *keyset.Holder
	tokens *remembered.Tokens
	// missing is told of an issuer whose token names a key that is not there.
	missing func(issuerID string)
	used    *sync.Pool // of *token
}

// New makes a verifier on the holder's keys. It remembers verified tokens, unless tokens is nil.
// Missing is called with the id of an issuer whose token names a signing key that nobody here
// knows; it must not block.
func New(keys *keyset.Holder, tokens *remembered.Tokens, missing func(issuerID string)) *Verifier {
	seen := newHeaders()
	return &Verifier{keys, tokens, missing, &sync.Pool{New: func() any { return &token{headers: seen} }}}
}

func (v *Verifier) begin(credential string, now time.Time) *token {
	t, _ := v.used.Get().(*token)
	t.reset(credential, v.keys.Load(), now)
	return t
}

// Verify checks everything about the token that the token and its issuer's rules and keys can
// tell. The claims are shared: they must not be changed. It does not block, and does not keep
// the token, of which it remembers a copy.
func (v *Verifier) Verify(credential string, now time.Time, room *validate.Claims) (*validate.Claims, validate.Code) {
	if v.tokens != nil {
		if c, ok := v.tokens.Get(credential, now); ok {
			return c, validate.OK
		}
	}
	t := v.begin(credential, now)
	defer v.used.Put(t)
	for i := range steps {
		if code := steps[i].check(t); code != validate.OK {
			v.report(t, code)
			if room != nil {
				room.MaxStaleness = t.maxStaleness()
			}
			return nil, code
		}
	}
	c := t.verified()
	if v.tokens != nil {
		c.Remembered = true
		from, until := t.goodFor()
		v.tokens.Put(credential, remembered.Token{Claims: c, Trust: t.trust, From: from, Until: until})
	}
	return c, validate.OK
}

// Inspect verifies a token that someone presents to have it revoked. There are claims whenever
// its signature is good, also of a token that its issuer's rules do not admit now.
func (v *Verifier) Inspect(credential string, now time.Time) (*validate.Claims, validate.Code) {
	t := v.begin(credential, now)
	defer v.used.Put(t)
	refused := validate.OK
	for i := range steps {
		code := steps[i].check(t)
		switch {
		case code == validate.OK:
		case steps[i].needed:
			v.report(t, code)
			return nil, code
		case refused == validate.OK:
			refused = code
		}
	}
	return t.verified(), refused
}

// Explain does what Verify does, and goes on where Verify stops, for people who want to know
// everything that is wrong. What is told of a token whose signature is bad is only its claim.
func (v *Verifier) Explain(credential string, now time.Time, trail *validate.Trail) (*validate.Claims, validate.Code) {
	t := v.begin(credential, now)
	defer v.used.Put(t)
	refused, blind := validate.OK, false
	for i := range steps {
		if blind {
			trail.Skip(steps[i].name)
			continue
		}
		code := steps[i].check(t)
		trail.Tell(steps[i].name, code, steps[i].detail(t))
		if code != validate.OK && refused == validate.OK {
			refused = code
		}
		blind = code != validate.OK && steps[i].readable
	}
	v.report(t, refused)
	trail.MaxStaleness = t.maxStaleness()
	if refused != validate.OK {
		return nil, refused
	}
	return t.verified(), validate.OK
}

func (v *Verifier) report(t *token, code validate.Code) {
	if code == validate.UnknownSigningKey && t.key == nil && t.trust != nil {
		v.missing(t.trust.Rules.ID)
	}
}

// verified makes claims of a token that has passed.
func (t *token) verified() *validate.Claims {
	c := t.out
	c.Kind, c.Issuer, c.KID, c.Raw = validate.JWT, t.issuer, t.key.KID, validate.JSON(t.payload)
	c.TokenHash, c.MaxStaleness, c.Rules = t.digest, t.maxStaleness(), &t.trust.Rules
	if !t.digested {
		c.TokenHash = sha256.Sum256(t.input())
	}
	return c
}

// goodFor is from when until when the token passes as it does now, if nothing changes.
func (t *token) goodFor() (from, until time.Time) {
	leeway := t.leeway()
	if t.notBefore.there {
		from = t.notBefore.at.Add(-leeway)
	}
	if t.issuedAt.there && t.issuedAt.at.Add(-leeway).After(from) {
		from = t.issuedAt.at.Add(-leeway)
	}
	until = farFuture
	if t.expiry.there {
		until = t.expiry.at.Add(leeway)
	}
	if end := t.keyEnds(); !end.IsZero() && end.Before(until) {
		until = end
	}
	return from, until
}

// farFuture is after every time that a token can name.
var farFuture = time.Unix(latest+1, 0).Add(24 * time.Hour)
