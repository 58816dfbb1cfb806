package validate_test

import (
	"strings"
	"testing"
	"time"

	"veto/record"
	"veto/validate"
)

// bounded verifies as it is told, for an issuer with a bound.
type bounded struct {
	verifier
	issuer time.Duration
}

func (b bounded) Verify(_ string, _ time.Time, room *validate.Claims) (*validate.Claims, validate.Code) {
	if b.claims == nil {
		room.MaxStaleness = b.issuer
	}
	return b.claims, b.code
}

func (b bounded) Explain(_ string, _ time.Time, trail *validate.Trail) (*validate.Claims, validate.Code) {
	trail.MaxStaleness = b.issuer
	return b.claims, b.code
}

// V8: the strictest bound of node, issuer and request holds to the nanosecond, with both policies,
// and explain says the same and whose it was.
func TestStrictestBoundHolds(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		node, issuer, request time.Duration // no node's if it serves stale
		limit                 time.Duration // zero if none holds
		by                    string
	}{
		"node alone":                     {node: 30 * s, limit: 30 * s, by: "the node"},
		"issuer is stricter":             {node: 30 * s, issuer: 5 * s, limit: 5 * s, by: "the issuer"},
		"issuer is not":                  {node: 30 * s, issuer: 60 * s, limit: 30 * s, by: "the node"},
		"request is stricter":            {node: 30 * s, issuer: 5 * s, request: s, limit: s, by: "the request"},
		"request is not":                 {node: 30 * s, issuer: 5 * s, request: 6 * s, limit: 5 * s, by: "the issuer"},
		"request, and no issuer's":       {node: 30 * s, request: 2 * s, limit: 2 * s, by: "the request"},
		"below a second":                 {node: 30 * s, request: 1, limit: 1, by: "the request"},
		"serving stale":                  {},
		"serving stale, issuer's holds":  {issuer: 60 * s, limit: 60 * s, by: "the issuer"},
		"serving stale, request's holds": {request: 90 * s, limit: 90 * s, by: "the request"},
		"serving stale, both":            {issuer: 60 * s, request: 50 * s, limit: 50 * s, by: "the request"},
	} {
		policy := validate.Policy{MaxStaleness: c.node, ServeStale: c.node == 0}
		for age, want := range map[time.Duration]validate.Code{
			0: validate.OK, c.limit: validate.OK, c.limit + 1: validate.Stale, 1000 * time.Hour: validate.Stale,
		} {
			if c.limit == 0 {
				want = validate.OK
			}
			v := &view{fresh: record.Freshness{Ready: true, Revision: 10, AsOf: now.Add(-age)}}
			claims := jwtClaims()
			claims.MaxStaleness = c.issuer
			check(t, name, v, policy, bounded{verifier{claims, validate.OK}, c.issuer}, c.request, want, c.by)
			// One that is refused by what may be news is decided by the same bound, and one that
			// is refused whatever is new is not.
			want = map[validate.Code]validate.Code{validate.OK: validate.UnknownSigningKey, validate.Stale: validate.Stale}[want]
			check(t, name, v, policy, bounded{verifier{nil, validate.UnknownSigningKey}, c.issuer}, c.request, want, c.by)
			check(t, name, v, policy, bounded{verifier{nil, validate.Expired}, c.issuer}, c.request, validate.Expired, c.by)
		}
		never := &view{fresh: record.Freshness{Ready: true, Revision: 10}}
		want := validate.OK
		if c.limit > 0 {
			want = validate.Stale
		}
		claims := jwtClaims()
		claims.MaxStaleness = c.issuer
		check(t, name+", never heard of the leader", never, policy, bounded{verifier{claims, validate.OK}, c.issuer}, c.request, want, c.by)
	}
}

func check(t *testing.T, name string, v *view, p validate.Policy, b bounded, request time.Duration, want validate.Code, by string) {
	t.Helper()
	x := validate.New(v, p, b, b, nil)
	r := validate.Request{Credential: "a.b.c", MaxStaleness: request}
	got, explained := x.Validate(r, now), x.Explain(r, now)
	if got.Code != want || explained.Code != want {
		t.Errorf("%s, %s old: %s, explained as %s, want %s", name, v.fresh.Age(now), got.Code, explained.Code, want)
	}
	if want != validate.Stale && !v.fresh.AsOf.IsZero() && !got.AsOf.Equal(v.fresh.AsOf) {
		t.Errorf("%s: as of %s, and it is %s", name, got.AsOf, v.fresh.AsOf)
	}
	for _, c := range explained.Checks {
		if c.Check != "freshness" {
			continue
		}
		if by == "" && !strings.Contains(c.Detail, "serves stale") || by != "" && !strings.HasSuffix(c.Detail, "by the max_staleness of "+by) {
			t.Errorf("%s: explained by %q", name, c.Detail)
		}
		return
	}
	t.Errorf("%s: freshness is not explained", name)
}

// An API key has no issuer: what a token's issuer said before, in the same room, is not its bound.
func TestKeysHaveNoIssuersBound(t *testing.T) {
	v := &view{fresh: record.Freshness{Ready: true, Revision: 10, AsOf: now.Add(-10 * time.Second)}}
	token := bounded{verifier{nil, validate.UnknownSigningKey}, time.Second}
	x := validate.New(v, validate.Policy{MaxStaleness: 30 * time.Second}, token, verifier{key(), validate.OK}, nil)
	for range 10 {
		if got := x.Validate(validate.Request{Credential: "a.b.c"}, now); got.Code != validate.Stale {
			t.Fatalf("the token: %s", got.Code)
		}
		if got := x.Validate(validate.Request{Credential: "veto_x"}, now); got.Code != validate.OK {
			t.Fatalf("the key after it: %s", got.Code)
		}
		unknown := validate.New(v, validate.Policy{MaxStaleness: 30 * time.Second}, token, verifier{nil, validate.KeyNotFound}, nil)
		unknown.Validate(validate.Request{Credential: "a.b.c"}, now)
		if got := unknown.Validate(validate.Request{Credential: "veto_x"}, now); got.Code != validate.KeyNotFound {
			t.Fatalf("an unknown key after it: %s", got.Code)
		}
	}
}
