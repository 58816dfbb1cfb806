package validate_test

import (
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/validate"
)

// V12: a JWT is somebody only where it would be allowed by the node's own bound on staleness, also
// on a node that serves stale; and it says whose it is and until when.
func TestPerson(t *testing.T) {
	stale, unready := fresh, fresh
	stale.AsOf, unready.Ready = now.Add(-time.Minute), false
	subject := record.Name{Target: record.TargetSubject, Issuer: "i", Value: "sub"}
	for name, c := range map[string]struct {
		token  string
		view   view
		code   validate.Code // what the verifier says
		change func(*validate.Claims)
		want   validate.Code
	}{
		"good":               {view: view{fresh: fresh}},
		"refused":            {view: view{fresh: fresh}, code: validate.Expired, want: validate.Expired},
		"revoked":            {view: view{fresh: fresh, revoked: revoked(subject, 100)}, want: validate.Revoked},
		"stale":              {view: view{fresh: stale}, want: validate.Stale},
		"not ready":          {view: view{fresh: unready}, want: validate.NotReady},
		"no subject":         {view: view{fresh: fresh}, change: func(c *validate.Claims) { c.Subject = "" }, want: validate.MissingClaim},
		"the longest":        {view: view{fresh: fresh}, change: func(c *validate.Claims) { c.Subject = strings.Repeat("x", record.MaxSubject) }},
		"too long a subject": {view: view{fresh: fresh}, change: func(c *validate.Claims) { c.Subject = strings.Repeat("x", record.MaxSubject+1) }, want: validate.MissingClaim},
		"no expiry":          {view: view{fresh: fresh}, change: func(c *validate.Claims) { c.ExpiresAt = time.Time{} }, want: validate.MissingClaim},
		"an API key":         {token: "veto_x", view: view{fresh: fresh}, want: validate.Malformed},
	} {
		claims := jwtClaims()
		claims.ExpiresAt, claims.Rules = now.Add(time.Hour), &record.Issuer{ID: "corp"}
		if c.change != nil {
			c.change(claims)
		}
		v := verifier{claims, validate.OK}
		if c.code != "" {
			v = verifier{nil, c.code}
		}
		if c.want == "" {
			c.want = validate.OK
		}
		if c.token == "" {
			c.token = "a.b.c"
		}
		x := validate.New(&c.view, validate.Policy{MaxStaleness: 30 * time.Second, ServeStale: true}, v, v, nil)
		got, verdict := x.Person(c.token, now)
		if verdict.Code != c.want || (got != nil) != (c.want == validate.OK) {
			t.Errorf("%s: %v %s", name, got, verdict.Code)
		}
		if got != nil && got.Person().Issuer != "corp" {
			t.Errorf("%s: %+v", name, got.Person())
		}
		if key, _ := x.Operator(c.token, now); key != nil && c.token == "a.b.c" {
			t.Errorf("%s: a JWT is taken for an operator's key", name)
		}
	}
}
