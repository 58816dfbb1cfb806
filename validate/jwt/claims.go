package jwt

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"veto/record"
	"veto/validate"
)

// latest is the last second of the year 9999: no honest NumericDate is beyond it.
const latest = 253402300799

// date is a NumericDate, if it is there.
type date struct {
	at    time.Time
	there bool
}

// takeClaims reads what Veto looks for, from where the issuer's rules say that it is.
func (t *token) takeClaims() validate.Code {
	for i := range t.claims {
		switch t.claims[i].name {
		case "sub", "jti", "sid", "client_id", "azp":
			if t.claims[i].raw[0] != '"' {
				return validate.Malformed
			}
		}
	}
	names := &t.trust.Rules.Claims
	for _, c := range [...]struct {
		names []string
		into  *string
	}{
		{names.Subject, &t.out.Subject},
		{names.JTI, &t.out.JTI},
		{names.Client, &t.out.Client},
		{names.Session, &t.out.Session},
	} {
		var ok bool
		if *c.into, ok = t.claims.first(c.names); !ok {
			return validate.Malformed
		}
	}
	if !t.takeActors() {
		return validate.Malformed
	}
	var ok1, ok2, ok3, ok4 bool
	t.expiry, ok1 = t.date("exp")
	t.notBefore, ok2 = t.date("nbf")
	t.issuedAt, ok3 = t.date("iat")
	t.out.Audience, ok4 = texts(t.claims.get("aud"))
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return validate.Malformed
	}
	t.out.Scopes = t.scopes(names.Scopes)
	t.out.IssuedAt = record.NoIssuedAt
	if t.issuedAt.there {
		t.out.IssuedAt = t.issuedAt.at.Unix()
	}
	if t.expiry.there {
		t.out.ExpiresAt = t.expiry.at
	}
	return validate.OK
}

// takeActors reads the chain of delegation (RFC 8693 section 4.1): each actor may name the one
// before it. How long it is, is bounded with the depth of the claims.
func (t *token) takeActors() bool {
	names := &t.trust.Rules.Claims
	for raw := t.claims.get("act"); raw != ""; {
		actor, ok := readObject(raw, nil)
		if !ok {
			return false
		}
		var ok1, ok2, ok3 bool
		a := validate.Actor{}
		a.Issuer, ok1 = actor.first(issuerClaim)
		a.Subject, ok2 = actor.first(names.Subject)
		a.Client, ok3 = actor.first(names.Client)
		if !ok1 || !ok2 || !ok3 {
			return false
		}
		if a.Issuer == "" {
			a.Issuer = t.issuer
		}
		t.out.Actors = append(t.out.Actors, a)
		raw = actor.get("act")
	}
	return true
}

var issuerClaim = []string{"iss"}

// first is the first of the members that is there and not empty; false if it is no text.
func (o object) first(names []string) (string, bool) {
	for _, name := range names {
		raw := o.get(name)
		if raw == "" {
			continue
		}
		if s, ok := text(raw); !ok || s != "" {
			return s, ok
		}
	}
	return "", true
}

// scopes are those of the first claim that is there: a text, separated by spaces (RFC 8693
// section 4.2), or a list. What is neither grants nothing.
func (t *token) scopes(names []string) []string {
	for _, name := range names {
		raw := t.claims.get(name)
		if raw == "" {
			continue
		}
		if s, ok := text(raw); ok {
			return words(s)
		}
		list, _ := texts(raw)
		return list
	}
	return nil
}

// words are parts between spaces, and no other blanks (RFC 6749 section 3.3).
func words(s string) []string {
	list := make([]string, 0, 1+strings.Count(s, " "))
	for w := range strings.SplitSeq(s, " ") {
		if w != "" {
			list = append(list, w)
		}
	}
	return list
}

// date reads a NumericDate (RFC 7519 section 2): an integer or a decimal, in a sane range.
func (t *token) date(name string) (date, bool) {
	raw := t.claims.get(name)
	if raw == "" {
		return date{}, true
	}
	if n, ok := plainInteger(raw); ok {
		return date{time.Unix(n, 0).UTC(), true}, true
	}
	seconds, err := strconv.ParseFloat(raw, 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > latest {
		return date{}, false
	}
	whole, part := math.Modf(seconds)
	return date{time.Unix(int64(whole), int64(part*1e9)).UTC(), true}, true
}

// plainInteger reads what nearly all dates are: digits, and few enough to be in range.
func plainInteger(raw string) (n int64, ok bool) {
	if len(raw) == 0 || len(raw) > 11 {
		return 0, false
	}
	for i := range len(raw) {
		if raw[i] < '0' || raw[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(raw[i]-'0')
	}
	return n, true
}

// texts reads a text or a list of texts; false if it is anything else. That raw is JSON was
// seen to before.
func texts(raw string) ([]string, bool) {
	if raw == "" {
		return nil, true
	}
	if s, ok := text(raw); ok {
		return []string{s}, true
	}
	if raw[0] != '[' {
		return nil, false
	}
	r := reader{s: raw, i: 1}
	all := make([]string, 0, 1+strings.Count(raw, ","))
	for r.space(); !r.take(']'); r.space() {
		start := r.i
		if !r.string() {
			return nil, false
		}
		s, ok := text(raw[start:r.i])
		if !ok {
			return nil, false
		}
		all = append(all, s)
		r.space()
		r.take(',')
	}
	return all, true
}

// checkExpiry denies what has expired (RFC 7519 section 4.1.4), and what never does unless the
// issuer may issue such tokens.
func (t *token) checkExpiry() validate.Code {
	rules := &t.trust.Rules
	if t.expiry.there {
		if !t.now.Before(t.expiry.at.Add(t.leeway())) {
			return validate.Expired
		}
		return validate.OK
	}
	if !rules.AllowNoExpiry || !rules.NoExpiryFrom.IsZero() && (!t.issuedAt.there || t.issuedAt.at.Before(rules.NoExpiryFrom)) {
		return validate.MissingClaim
	}
	return validate.OK
}

func (t *token) checkNotBefore() validate.Code {
	if t.notBefore.there && t.now.Add(t.leeway()).Before(t.notBefore.at) {
		return validate.NotYetValid
	}
	return validate.OK
}

// checkIssuedAt also denies what a key signed after its issuer had taken it back.
func (t *token) checkIssuedAt() validate.Code {
	switch {
	case !t.issuedAt.there && !t.trust.Rules.AllowNoIssuedAt:
		return validate.MissingClaim
	case !t.issuedAt.there:
		return validate.OK
	case t.now.Add(t.leeway()).Before(t.issuedAt.at):
		return validate.IssuedInFuture
	case t.key != nil && !t.key.RetiredAt.IsZero() && t.issuedAt.at.After(t.key.RetiredAt.Add(t.leeway())):
		return validate.UnknownSigningKey
	}
	return validate.OK
}

// age is when the token was issued; without an iat, now at the latest.
func (t *token) age() time.Time {
	if t.issuedAt.there {
		return t.issuedAt.at
	}
	return t.now
}

// checkLifetime denies what could outlive its revocation (P12).
func (t *token) checkLifetime() validate.Code {
	from := t.age()
	if t.expiry.there && t.expiry.at.Sub(from) > t.trust.Rules.LifetimeFor(from) {
		return validate.TooLongLived
	}
	return validate.OK
}

func (t *token) checkAudience() validate.Code {
	want := t.trust.Rules.Audiences
	if len(want) > 0 && !slices.ContainsFunc(t.out.Audience, func(a string) bool { return slices.Contains(want, a) }) {
		return validate.WrongAudience
	}
	return validate.OK
}

// checkType compares media types without case and without "application/" (RFC 7515 section
// 4.1.9, RFC 8725 section 3.11).
func (t *token) checkType() validate.Code {
	want := t.trust.Rules.Types
	if len(want) > 0 && !slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(subtype(w), subtype(t.typ)) }) {
		return validate.WrongType
	}
	return validate.OK
}

func subtype(typ string) string {
	const application = "application/"
	if len(typ) > len(application) && strings.EqualFold(typ[:len(application)], application) {
		return typ[len(application):]
	}
	return typ
}

func (t *token) checkRequired() validate.Code {
	for name, want := range t.trust.Rules.Required {
		raw := t.claims.get(name)
		if raw == "" || raw == "null" {
			return validate.MissingClaim
		}
		if s, ok := text(raw); want != "" && (!ok || s != want) {
			return validate.MissingClaim
		}
	}
	return validate.OK
}
