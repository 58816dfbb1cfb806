package jwt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"veto/validate"
)

// step is one check of a token. Its name is part of the API, with explain.
type step struct {
	name  string
	check func(*token) validate.Code
	// detail says what was looked at, for people; called after check.
	detail func(*token) string
	// readable: without it nothing after it can be looked at.
	readable bool
	// needed: without it the token is nobody's.
	needed bool
}

// steps are all checks in their order; Verify ends at the first that fails. Nothing of the claims
// is trusted before the signature.
var steps = [...]step{
	{"form", (*token).form, func(t *token) string {
		return fmt.Sprintf("three parts of base64url, and a strict JSON header: alg %.40q, typ %.80q, kid %.80q", t.alg, t.typ, t.kid)
	}, true, true},
	{"known_algorithm", (*token).known, func(t *token) string { return fmt.Sprintf("alg %.40q", t.alg) }, false, true},
	{"claims", (*token).readClaims, func(t *token) string {
		return fmt.Sprintf("a strict JSON object with %d members and an iss", len(t.claims))
	}, true, true},
	{"issuer", (*token).findIssuer, func(t *token) string { return fmt.Sprintf("iss %.200q", t.issuer) }, true, true},
	{"algorithm", (*token).allowed, func(t *token) string {
		return fmt.Sprintf("%.40q, of %s that issuer %s may use", t.alg, strings.Join(t.trust.Rules.Algorithms, ", "), t.trust.Rules.ID)
	}, false, true},
	{"signing_key", (*token).findKey, (*token).aboutKey, true, true},
	{"signature", (*token).verifySignature, (*token).aboutKey, false, true},
	{"claim_types", (*token).takeClaims, func(*token) string { return "sub, jti, client, session and audience are texts, dates are numbers" }, true, true},
	{"expiry", (*token).checkExpiry, func(t *token) string { return t.aboutDate("exp", t.expiry) }, false, false},
	{"not_before", (*token).checkNotBefore, func(t *token) string { return t.aboutDate("nbf", t.notBefore) }, false, false},
	{"issued_at", (*token).checkIssuedAt, func(t *token) string { return t.aboutDate("iat", t.issuedAt) }, false, false},
	{"lifetime", (*token).checkLifetime, func(t *token) string {
		return fmt.Sprintf("at most %s for what was issued then", t.trust.Rules.LifetimeFor(t.age()))
	}, false, false},
	{"audience", (*token).checkAudience, func(t *token) string {
		return fmt.Sprintf("aud %.200q; the issuer's: %s", t.out.Audience, orAny(t.trust.Rules.Audiences))
	}, false, false},
	{"type", (*token).checkType, func(t *token) string {
		return fmt.Sprintf("typ %.80q; the issuer's: %s", t.typ, orAny(t.trust.Rules.Types))
	}, false, false},
	{"required_claims", (*token).checkRequired, func(t *token) string { return "required: " + orAny(requirements(t.trust.Rules.Required)) }, false, false},
}

func orAny(list []string) string {
	if len(list) == 0 {
		return "any"
	}
	return strings.Join(list, ", ")
}

func requirements(required map[string]string) []string {
	var list []string
	for name, value := range required {
		if value != "" {
			name += "=" + value
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func (t *token) aboutKey() string {
	if t.key == nil {
		all, tried := t.trust.Fitting(t.alg), len(t.trust.Candidates(t.alg))
		text := fmt.Sprintf("kid %.80q, alg %.40q: the issuer has %d keys without regard to kid for it", t.kid, t.alg, all)
		if tried < all {
			text += fmt.Sprintf(", of which a token without a kid is tried against %d only", tried)
		}
		return text
	}
	text := fmt.Sprintf("kid %.80q, a key for %s", t.key.KID, t.key.Alg)
	if !t.key.RetiredAt.IsZero() {
		text += ", which the issuer publishes no more since " + t.key.RetiredAt.Format(time.RFC3339)
	}
	return text
}

func (t *token) aboutDate(name string, d date) string {
	if !d.there {
		return "no " + name
	}
	return fmt.Sprintf("%s %s; now %s, leeway %s", name, d.at.UTC().Format(time.RFC3339), t.now.UTC().Format(time.RFC3339), t.leeway())
}
