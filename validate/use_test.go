package validate_test

import (
	"testing"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/validate"
)

// counter is a limiter that notes what is taken.
type counter struct {
	code        validate.Code
	taken, seen uint32
}

func (c *counter) Take(_ *record.APIKey, cost uint32, _ time.Time) (validate.Use, validate.Code) {
	c.taken += cost
	return validate.Use{Rate: validate.RateUse{Limit: 5, RetryAfter: 1}}, c.code
}

func (c *counter) Look(_ *record.APIKey, cost uint32, _ time.Time) (validate.Use, validate.Code) {
	c.seen += cost
	return validate.Use{}, c.code
}

// V11
func TestOnlyWhatIsAllowedIsCounted(t *testing.T) {
	limited := func() *validate.Claims {
		c := key()
		c.Key.Limits = &limit.Limits{Rate: limit.Rate{Requests: 5, Seconds: 1}, Burst: 5}
		return c
	}
	revokedKey := revoked(record.Name{Target: record.TargetKey, Value: "k"}, 200)
	for name, c := range map[string]struct {
		view    view
		claims  *validate.Claims
		request validate.Request
		limits  validate.Code
		want    validate.Code
		taken   uint32
	}{
		"allowed":      {view{fresh: fresh}, limited(), validate.Request{}, validate.OK, validate.OK, 1},
		"costly":       {view{fresh: fresh}, limited(), validate.Request{Cost: 7}, validate.OK, validate.OK, 7},
		"limited":      {view{fresh: fresh}, limited(), validate.Request{}, validate.RateLimited, validate.RateLimited, 1},
		"exhausted":    {view{fresh: fresh}, limited(), validate.Request{}, validate.QuotaExceeded, validate.QuotaExceeded, 1},
		"no limits":    {view{fresh: fresh}, key(), validate.Request{Cost: 7}, validate.RateLimited, validate.OK, 0},
		"scopes":       {view{fresh: fresh}, limited(), validate.Request{Scopes: []string{"x"}}, validate.OK, validate.InsufficientScope, 0},
		"audience":     {view{fresh: fresh}, limited(), validate.Request{Audience: "x"}, validate.OK, validate.WrongAudience, 0},
		"revoked":      {view{fresh: fresh, revoked: revokedKey}, limited(), validate.Request{}, validate.OK, validate.Revoked, 0},
		"not ready":    {view{}, limited(), validate.Request{}, validate.OK, validate.NotReady, 0},
		"behind":       {view{fresh: fresh}, limited(), validate.Request{MinRevision: 11}, validate.OK, validate.BehindMinRevision, 0},
		"a key denied": {view{fresh: fresh}, nil, validate.Request{}, validate.OK, validate.KeyNotFound, 0},
	} {
		code := validate.OK
		if c.claims == nil {
			code = validate.KeyNotFound
		}
		n := &counter{code: c.limits}
		x := validate.New(&c.view, validate.Policy{MaxStaleness: time.Minute}, nil, verifier{c.claims, code}, n)
		c.request.Credential = "veto_x"
		v := x.Validate(c.request, now)
		if v.Code != c.want || v.Outcome != c.want.Outcome() || n.taken != c.taken || n.seen > 0 {
			t.Errorf("%s: %s, %d taken", name, v.Code, n.taken)
		}
		if (v.RateLimit.Limit > 0) != (c.taken > 0) {
			t.Errorf("%s: %+v", name, v.RateLimit)
		}
		if e := x.Explain(c.request, now); e.Code != c.want || n.taken != c.taken {
			t.Errorf("%s: explained as %s, %d taken", name, e.Code, n.taken)
		}
		before := n.taken
		if x.Operator("veto_x", now); n.taken != before {
			t.Errorf("%s: whoever asks on the control plane is counted", name)
		}
	}
}
