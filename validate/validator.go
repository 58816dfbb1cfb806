package validate

import (
	"slices"
	"strings"
	"time"

	"veto/record"
)

// View is what the node knows. Its methods do not block. Records are shared: read them only.
type View interface {
	// Freshness is how far the answers of the other methods reach at least, if they are
	// asked later.
	Freshness() record.Freshness
	// Revoked finds a revocation that denies what bears the name and was issued at the
	// second (or record.NoIssuedAt).
	Revoked(n record.Name, issuedAt int64) (record.Revocation, bool)
	// RevocationID is the id of revocations of the name.
	RevocationID(n record.Name) string
	Consumer(id string) (*record.Consumer, bool)
}

// Verifier checks a credential by itself. It gives claims with code OK and nil with any
// other. A credential that is good but for its time gives the code and no claims.
type Verifier interface {
	Verify(credential string, now time.Time) (*Claims, Code)
}

// Policy is what the node does about staleness.
type Policy struct {
	// MaxStaleness is how old the as-of time may be.
	MaxStaleness time.Duration
	// ServeStale answers beyond that all the same; as_of tells how old the answer is.
	ServeStale bool
}

// Validator decides. It may be used from anywhere at once.
type Validator struct {
	view   View
	policy Policy
	jwt    Verifier
	apiKey Verifier
}

// New makes a Validator of its parts.
func New(view View, policy Policy, jwt, apiKey Verifier) *Validator {
	return &Validator{view: view, policy: policy, jwt: jwt, apiKey: apiKey}
}

// Validate answers whether the credential may still be used, at the given time. It does not
// block, and keeps nothing of the request.
func (v *Validator) Validate(r Request, now time.Time) Verdict {
	// Before any look-up, so that the verdict is never older than it says.
	fresh := v.view.Freshness()
	claims, code := v.verify(r.Credential, now)
	verdict := Verdict{Code: code, Revision: fresh.Revision, AsOf: fresh.AsOf.UTC(), Kind: kindOf(r.Credential)}
	doubt := v.doubt(fresh, r.MinRevision, now)
	switch {
	case claims == nil && doubt != "" && code.mayBeNews():
		verdict.Code = doubt
	case claims == nil:
	default:
		verdict.describe(claims, v.view)
		if revocation := v.revoked(claims); revocation != nil {
			verdict.Code, verdict.Revocation = Revoked, revocation
		} else if doubt != "" {
			verdict.Code = doubt
		} else {
			verdict.Code = wanted(claims, r)
		}
	}
	verdict.Outcome = verdict.Code.Outcome()
	if verdict.Outcome == Unknown {
		// What could not be decided is not described either.
		verdict = Verdict{Code: verdict.Code, Kind: verdict.Kind, Revision: verdict.Revision, AsOf: verdict.AsOf}
	}
	return verdict
}

// verify picks the verifier by the credential's form. API keys have no dots, JWTs have.
func (v *Validator) verify(credential string, now time.Time) (*Claims, Code) {
	switch {
	case len(credential) > MaxCredential:
		return nil, TooLarge
	case credential == "":
		return nil, Malformed
	case kindOf(credential) == JWT:
		return v.jwt.Verify(credential, now)
	}
	return v.apiKey.Verify(credential, now)
}

func kindOf(credential string) Kind {
	if strings.IndexByte(credential, '.') >= 0 {
		return JWT
	}
	return APIKey
}

// doubt says why the node cannot be sure of an answer; empty if it can.
func (v *Validator) doubt(f record.Freshness, min record.Revision, now time.Time) Code {
	switch {
	case !f.Ready:
		return NotReady
	case f.Revision < min:
		return BehindMinRevision
	case !v.policy.ServeStale && (f.AsOf.IsZero() || f.Age(now) > v.policy.MaxStaleness):
		return Stale
	}
	return ""
}

// revoked looks up every name that the claims bear.
func (v *Validator) revoked(c *Claims) *Denial {
	if c.Key != nil {
		if r := v.denied(record.Name{Target: record.TargetKey, Value: c.Key.ID}, c.IssuedAt); r != nil || c.Key.Consumer == "" {
			return r
		}
		return v.denied(record.Name{Target: record.TargetConsumer, Value: c.Key.Consumer}, c.IssuedAt)
	}
	names := [...]record.Name{
		{Target: record.TargetToken, Issuer: c.Issuer, Value: c.TokenHash},
		{Target: record.TargetJTI, Issuer: c.Issuer, Value: c.JTI},
		{Target: record.TargetSubject, Issuer: c.Issuer, Value: c.Subject},
		{Target: record.TargetClient, Issuer: c.Issuer, Value: c.Client},
		{Target: record.TargetSession, Issuer: c.Issuer, Value: c.Session},
		{Target: record.TargetSigningKey, Issuer: c.Issuer, Value: c.KID},
		{Target: record.TargetIssuer, Issuer: c.Issuer},
	}
	for _, n := range names {
		if n.Value == "" && n.Target != record.TargetIssuer {
			continue
		}
		if r := v.denied(n, c.IssuedAt); r != nil {
			return r
		}
	}
	return nil
}

func (v *Validator) denied(n record.Name, issuedAt int64) *Denial {
	r, ok := v.view.Revoked(n, issuedAt)
	if !ok {
		return nil
	}
	return &Denial{ID: v.view.RevocationID(n), Target: n.Target, Reason: r.Reason, Revision: r.Revision}
}

// wanted checks what the request wants of a good credential.
func wanted(c *Claims, r Request) Code {
	if r.Audience != "" && !slices.Contains(c.Audience, r.Audience) {
		return WrongAudience
	}
	for _, s := range r.Scopes {
		if !slices.Contains(c.Scopes, s) {
			return InsufficientScope
		}
	}
	return OK
}

// describe fills in whose credential it is.
func (d *Verdict) describe(c *Claims, view View) {
	d.Issuer, d.Subject, d.Client = c.Issuer, c.Subject, c.Client
	d.Scopes, d.Claims, d.ExpiresAt = c.Scopes, c.Raw, c.ExpiresAt
	if c.Key == nil {
		return
	}
	d.KeyID, d.Consumer, d.Metadata = c.Key.ID, c.Key.Consumer, c.Key.Metadata
	if len(d.Metadata) > 0 || d.Consumer == "" {
		return
	}
	if owner, ok := view.Consumer(d.Consumer); ok {
		d.Metadata = owner.Metadata
	}
}

// Operator decides who asks for something on the control plane. The key is nil unless the
// verdict allows; its roles are the caller's to check. Staleness does not matter here: that a
// node is cut off must not keep its operators out. Revocations that it knows do.
func (v *Validator) Operator(token string, now time.Time) (*record.APIKey, Verdict) {
	operators := Validator{view: v.view, policy: Policy{ServeStale: true}, jwt: v.jwt, apiKey: v.apiKey}
	verdict := operators.Validate(Request{Credential: token}, now)
	if verdict.Outcome != Allow {
		return nil, verdict
	}
	claims, code := v.verify(token, now)
	if code != OK || claims.Key == nil || len(claims.Key.Roles) == 0 {
		return nil, Verdict{Outcome: Deny, Code: KeyNotFound, Revision: verdict.Revision, AsOf: verdict.AsOf}
	}
	return claims.Key, verdict
}

// Inspect verifies a JWT that someone presents to have it revoked.
func (v *Validator) Inspect(token string, now time.Time) (*Claims, Code) {
	if len(token) > MaxCredential {
		return nil, TooLarge
	}
	if kindOf(token) != JWT {
		return nil, Malformed
	}
	return v.jwt.Verify(token, now)
}
