package jwt

import (
	"encoding/json"
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

// claims are a verified token's claims, checked against its issuer's rules.
type claims struct {
	object
	rules *record.Issuer
	now   time.Time

	audience  []string
	issuedAt  int64
	expiresAt time.Time
}

// check applies the issuer's rules (RFC 7519 section 4.1, RFC 8725 section 3).
func (c *claims) check(typ string) validate.Code {
	for _, name := range []string{"sub", "jti", "sid", "client_id", "azp"} {
		if raw := c.get(name); raw != nil {
			if _, ok := text(raw); !ok {
				return validate.Malformed
			}
		}
	}
	if code := c.checkTime(); code != validate.OK {
		return code
	}
	audience, ok := c.texts("aud")
	if !ok {
		return validate.Malformed
	}
	c.audience = audience
	if len(c.rules.Audiences) > 0 && !slices.ContainsFunc(audience, func(a string) bool {
		return slices.Contains(c.rules.Audiences, a)
	}) {
		return validate.WrongAudience
	}
	if len(c.rules.Types) > 0 && !slices.ContainsFunc(c.rules.Types, func(want string) bool {
		return mediaType(want) == mediaType(typ)
	}) {
		return validate.WrongType
	}
	return validate.OK
}

// mediaType is a typ without "application/" and without case (RFC 7515 section 4.1.9).
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

func (c *claims) checkTime() validate.Code {
	exp, hasExp, ok1 := c.date("exp")
	nbf, hasNbf, ok2 := c.date("nbf")
	iat, hasIat, ok3 := c.date("iat")
	if !ok1 || !ok2 || !ok3 {
		return validate.Malformed
	}
	leeway := time.Duration(c.rules.Leeway)
	c.issuedAt = record.NoIssuedAt
	if hasIat {
		c.issuedAt = iat.Unix()
	}
	switch {
	case !hasExp && !c.rules.AllowNoExpiry:
		return validate.MissingClaim
	case hasExp && !c.now.Before(exp.Add(leeway)):
		return validate.Expired
	case hasNbf && c.now.Add(leeway).Before(nbf):
		return validate.NotYetValid
	case hasIat && c.now.Add(leeway).Before(iat):
		return validate.IssuedInFuture
	}
	if !hasExp {
		return validate.OK
	}
	c.expiresAt = exp
	// Without an iat the token was issued by now at the latest.
	from := c.now
	if hasIat {
		from = iat
	}
	if exp.Sub(from) > c.rules.LifetimeFor(from) {
		return validate.TooLongLived
	}
	return validate.OK
}

// date reads a NumericDate (RFC 7519 section 2): an integer or a decimal, in a sane range.
func (c *claims) date(name string) (at time.Time, there, ok bool) {
	raw := c.get(name)
	if raw == nil {
		return at, false, true
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > latest {
		return at, false, false
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), true, true
}

// text is a string claim; empty if it is not there.
func (c *claims) text(name string) string {
	s, _ := text(c.get(name))
	return s
}

// texts is a claim that is a string or an array of strings; false if it is anything else.
func (c *claims) texts(name string) ([]string, bool) {
	raw := c.get(name)
	if raw == nil {
		return nil, true
	}
	if s, ok := text(raw); ok {
		return []string{s}, true
	}
	var list []*string
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	all := make([]string, 0, len(list))
	for _, s := range list {
		if s == nil {
			return nil, false
		}
		all = append(all, *s)
	}
	return all, true
}

// client is client_id (RFC 9068 section 2.2) or, without it, azp.
func (c *claims) client() string {
	if id := c.text("client_id"); id != "" {
		return id
	}
	return c.text("azp")
}

// scopes are those of scope, separated by spaces (RFC 8693 section 4.2), or of scp.
func (c *claims) scopes() []string {
	if s := c.text("scope"); s != "" {
		return strings.Fields(s)
	}
	list, _ := c.texts("scp")
	if len(list) == 1 {
		return strings.Fields(list[0])
	}
	return list
}
