package jwt_test

import (
	"crypto"
	"testing"
	"time"

	"veto/record"
	"veto/validate"
	"veto/validate/jwt"
	"veto/validate/remembered"
)

// J9: the issuer's bound on staleness comes with every token that names it, also a refused one,
// and as the rules are now, also with one that is remembered.
func TestIssuersBoundComesWithItsTokens(t *testing.T) {
	tokens, err := remembered.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	s := newSigner(t)
	v := jwt.New(s.holder, tokens, func(string) {})
	issuers := func(revision record.Revision, bound time.Duration) {
		one, _ := s.holder.Load().Issuer(iss)
		i := one.Rules
		i.Revision, i.MaxStaleness = revision, record.Duration(bound)
		s.holder.Swap([]record.Issuer{i}, []record.SigningKeys{{IssuerID: "one", Keys: parse(t, map[string]crypto.PublicKey{"e": s.ec.Public()})}})
	}
	head := object{"alg": "ES256", "kid": "e"}
	whole, expired := s.token(head, good()), s.token(head, with(good(), "exp", now.Unix()-3600, "iat", now.Unix()-7200))
	stranger := s.token(head, with(good(), "iss", "https://nobody.example"))
	for n, bound := range []time.Duration{0, 5 * time.Second, 7 * time.Second, 0} {
		issuers(record.Revision(10+n), bound)
		for range 2 { // verified, then remembered
			c, code := v.Verify(whole, now, nil)
			if code != validate.OK || c.MaxStaleness != bound {
				t.Errorf("%s: %s %+v", bound, code, c)
			}
		}
		room, trail := &validate.Claims{}, &validate.Trail{}
		if _, code := v.Verify(expired, now, room); code != validate.Expired || room.MaxStaleness != bound {
			t.Errorf("%s: %s %s, of a refused token", bound, code, room.MaxStaleness)
		}
		if c, _ := v.Explain(whole, now, trail); c == nil || trail.MaxStaleness != bound || c.MaxStaleness != bound {
			t.Errorf("%s: explained with %s", bound, trail.MaxStaleness)
		}
		if _, code := v.Verify(stranger, now, room); code != validate.UnknownIssuer || room.MaxStaleness != 0 {
			t.Errorf("%s: %s %s, of an issuer that nobody trusts", bound, code, room.MaxStaleness)
		}
	}
}
