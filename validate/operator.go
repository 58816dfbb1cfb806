package validate

import (
	"encoding/json"
	"slices"
	"time"

	"veto/record"
)

// Operator decides who asks for something on the control plane. The key is nil unless the
// verdict allows; its roles are the caller's to check. Staleness does not matter here: that a
// node is cut off must not keep its operators out. Revocations that it knows do.
func (v *Validator) Operator(token string, now time.Time) (*record.APIKey, Verdict) {
	return v.operator(token, now, Policy{ServeStale: true})
}

// Denier is Operator for those who ask for nothing but more denials. A node that was started
// while it is cut off lets them in by the state that it had: a denial too many can be lifted, and
// one too few is what nobody may wait for.
func (v *Validator) Denier(token string, now time.Time) (*record.APIKey, Verdict) {
	return v.operator(token, now, Policy{ServeStale: true, Unready: true})
}

func (v *Validator) operator(token string, now time.Time, p Policy) (*record.APIKey, Verdict) {
	verdict, claims := v.decide(Request{Credential: token}, now, new(Claims), p)
	if verdict.Outcome != Allow {
		return nil, verdict
	}
	if !isOperator(claims) {
		return nil, Verdict{Outcome: Deny, Code: KeyNotFound, Revision: verdict.Revision, AsOf: verdict.AsOf}
	}
	noteUse(verdict, claims, now)
	return claims.Key, verdict
}

// Sure tells whether the node can be sure of what it knows, by its own bound on staleness even where it
// serves stale; OK if it can.
func (v *Validator) Sure(now time.Time) Code {
	return Policy{MaxStaleness: v.policy.MaxStaleness}.doubt(v.view.Freshness(), Request{}, 0, now)
}

// Person decides who presents a JWT to ask something of Veto itself. The claims are nil unless the
// verdict allows. It is judged as on the data plane, and by the node's bound on staleness even where
// that serves stale: what may have been revoked opens nothing.
func (v *Validator) Person(token string, now time.Time) (*Claims, Verdict) {
	if kindOf(token) != JWT {
		return nil, Verdict{Outcome: Deny, Code: Malformed}
	}
	verdict, claims := v.decide(Request{Credential: token}, now, new(Claims), Policy{MaxStaleness: v.policy.MaxStaleness})
	if verdict.Outcome != Allow {
		return nil, verdict
	}
	// Who cannot be told apart from others, or never has to come back, is nobody here.
	if claims.Subject == "" || len(claims.Subject) > record.MaxSubject || claims.ExpiresAt.IsZero() {
		return nil, Verdict{Outcome: Deny, Code: MissingClaim, Revision: verdict.Revision, AsOf: verdict.AsOf}
	}
	return claims, verdict
}

// Person is who presented the JWT.
func (c *Claims) Person() record.Person {
	return record.Person{Issuer: c.Rules.ID, Subject: c.Subject}
}

// Operator is a key, stored nowhere, that stands for whoever presented the JWT and has the roles that
// the issuer's map gives, perhaps none. It is nil, with a code that says why, if there is no map or the
// token is for something else.
func (c *Claims) Operator() (*record.APIKey, Code) {
	o := c.Rules.Operators
	if o == nil {
		return nil, KeyNotFound
	}
	if code := wantedAudience(c, Request{Audience: o.Audience}); code != OK {
		return nil, code
	}
	return &record.APIKey{ID: c.Person().ID(), Roles: o.Of(c.texts(o.Claim))}, OK
}

// isForVeto tells whether a token is for operators of Veto and for nobody else: it is no credential of an API's caller,
// unless the issuer's audiences or the question name theirs.
func isForVeto(c *Claims, r Request) bool {
	if c == nil || c.Rules == nil || c.Rules.Operators == nil || len(c.Rules.Audiences) > 0 || len(c.Audience) == 0 {
		return false
	}
	theirs := c.Rules.Operators.Audience
	return r.Audience != theirs && !slices.ContainsFunc(c.Audience, func(a string) bool { return a != theirs })
}

// cost is what the request counts for.
func (r *Request) cost() uint32 { return max(r.Cost, 1) }

// deny denies what was allowed.
func (d *Verdict) deny(c Code) {
	if d.Outcome == Allow {
		d.Code, d.Outcome = c, c.Outcome()
	}
}

// texts are those of a claim that is a text or a list of texts; none of any other.
func (c *Claims) texts(name string) []string {
	var all map[string]json.RawMessage
	if json.Unmarshal([]byte(c.Raw), &all) != nil {
		return nil
	}
	var one string
	if json.Unmarshal(all[name], &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(all[name], &list) != nil {
		return nil
	}
	return list
}
