package validate

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"veto/record"
)

// View is what the node knows. Its methods do not block on writes. Records are shared: read them only.
type View interface {
	// Freshness is how far the answers of the other methods reach at least, if they are
	// asked later.
	Freshness() record.Freshness
	// Digest stands for the name in this cluster. It does not change once the node is ready.
	Digest(n record.Name) record.Digest
	// InUse are the classes of names of which there are revocations, or were. It only grows.
	InUse() record.ClassSet
	// FirstDenied is the place of the first of the digests of names by which a revocation denies
	// what was issued at the second (or record.NoIssuedAt); -1 if there is none.
	FirstDenied(all []record.Digest, issuedAt int64) int
	// AnsweredBy says, for people, by what means FirstDenied answers.
	AnsweredBy(d record.Digest, issuedAt int64) string
	// Revoked finds that revocation; it may read the disk.
	Revoked(n record.Name, issuedAt int64) (record.Revocation, bool)
	Consumer(id string) (*record.Consumer, bool)
}

// Verifier checks a credential by itself. It gives claims with code OK and nil with any
// other.
type Verifier interface {
	// Verify does not block and does not keep the credential. The claims are shared, or those
	// of room, which the caller may use again when it is done with them. Of a credential that is
	// refused, room has MaxStaleness all the same, if it names a trusted issuer that has one.
	Verify(credential string, now time.Time, room *Claims) (*Claims, Code)
	// Explain does the same, and tells of every check.
	Explain(credential string, now time.Time, trail *Trail) (*Claims, Code)
}

// Inspector looks at a JWT that someone presents to have it revoked.
type Inspector interface {
	// Inspect gives claims whenever the signature is good, also with a code that refuses.
	Inspect(token string, now time.Time) (*Claims, Code)
}

// Policy is what the node does about staleness.
type Policy struct {
	// MaxStaleness is how old the as-of time may be, unless an issuer or a request is stricter.
	MaxStaleness time.Duration
	// ServeStale answers beyond that all the same; as_of tells how old the answer is. It lifts
	// the node's own bound and no other: whoever bounds an issuer or a request has said that
	// older answers are of no use there, and would otherwise take one for a fresh one.
	ServeStale bool
	// Unready answers before the node has caught up. It is no setting: see Denier.
	Unready bool
}

// JWTs are what a Validator needs for tokens.
type JWTs interface {
	Verifier
	Inspector
}

// Validator decides. It may be used from anywhere at once.
type Validator struct {
	view    View
	policy  Policy
	jwt     JWTs
	apiKey  Verifier
	limits  Limiter
	rooms   *sync.Pool // of *Claims
	digests *sync.Pool // of *[usualNames]record.Digest
}

// New makes a Validator of its parts.
func New(view View, policy Policy, jwt JWTs, apiKey Verifier, limits Limiter) *Validator {
	return &Validator{
		view: view, policy: policy, jwt: jwt, apiKey: apiKey, limits: limits,
		rooms:   &sync.Pool{New: func() any { return new(Claims) }},
		digests: &sync.Pool{New: func() any { return new([usualNames]record.Digest) }},
	}
}

// Validate answers whether the credential may still be used, at the given time. It does not
// block, and keeps nothing of the request.
func (v *Validator) Validate(r Request, now time.Time) Verdict {
	room, _ := v.rooms.Get().(*Claims)
	defer v.rooms.Put(room)
	verdict, claims := v.decide(r, now, room, v.policy)
	if isOperator(claims) && verdict.Outcome == Allow {
		return noCredential(verdict)
	}
	if isForVeto(claims, r) {
		verdict.deny(WrongAudience)
	}
	if verdict.Code == OK && claims.Key != nil && claims.Key.Limits != nil {
		use, code := v.limits.Take(claims.Key, r.cost(), now)
		verdict.limited(use, code)
	}
	noteUse(verdict, claims, now)
	return verdict
}

// noteUse notes that an API key was allowed.
func noteUse(v Verdict, c *Claims, now time.Time) {
	if v.Outcome == Allow && c.Key != nil {
		c.Key.Uses.Note(now)
	}
}

// isOperator tells whether the claims are of an operator's key: it opens the control plane, and is
// no credential of an API's caller.
func isOperator(c *Claims) bool { return c != nil && c.Key != nil && c.Key.IsOperator() }

func noCredential(v Verdict) Verdict {
	return Verdict{Outcome: Deny, Code: KeyNotFound, Kind: APIKey, Revision: v.Revision, AsOf: v.AsOf}
}

// decide also gives the claims, if the credential itself is good.
func (v *Validator) decide(r Request, now time.Time, room *Claims, p Policy) (Verdict, *Claims) {
	// Before any look-up, so that the verdict is never older than it says.
	fresh := v.view.Freshness()
	room.MaxStaleness = 0
	claims, code := v.verify(r.Credential, now, room)
	issuer := room.MaxStaleness
	if claims != nil {
		issuer = claims.MaxStaleness
	}
	return v.judge(r, p.doubt(fresh, r, issuer, now), fresh, claims, code, nil), claims
}

// judge comes to the verdict on what the verifier found. A known revocation denies whatever
// else; then comes whether the node can be sure; then what the request wants.
func (v *Validator) judge(r Request, doubt Code, fresh record.Freshness, claims *Claims, code Code, trail *Trail) Verdict {
	verdict := Verdict{Code: code, Revision: fresh.Revision, AsOf: fresh.AsOf.UTC(), Kind: kindOf(r.Credential)}
	switch {
	case claims == nil && doubt != OK && (code.mayBeNews() || mayBeImported(r.Credential, code)):
		verdict.Code = doubt
	case claims == nil:
	default:
		owner := v.owner(claims)
		verdict.describe(claims, owner)
		if revocation := v.revoked(claims, fresh.Ready, trail); revocation != nil {
			verdict.Code, verdict.Revocation = Revoked, revocation
		} else if doubt != OK {
			verdict.Code = doubt
		} else if verdict.Code = enabled(owner); verdict.Code == OK {
			verdict.Code = wanted(claims, r)
		}
		if verdict.Code == InsufficientScope {
			verdict.MissingScopes = missing(claims, r.Scopes)
		}
	}
	verdict.Outcome = verdict.Code.Outcome()
	if verdict.Outcome == Unknown {
		// What could not be decided is not described either.
		verdict = Verdict{Code: verdict.Code, Kind: verdict.Kind, Revision: verdict.Revision, AsOf: verdict.AsOf}
	}
	return verdict
}

// mayBeImported tells whether what has not the form of an API key may be one all the same, of which
// the node has merely not heard.
func mayBeImported(credential string, code Code) bool {
	return code == Malformed && credential != "" && kindOf(credential) == APIKey
}

// Explain is Validate with every check told, for people who may know (the caller's to see to).
func (v *Validator) Explain(r Request, now time.Time) Verdict {
	trail := &Trail{}
	fresh := v.view.Freshness()
	var claims *Claims
	code := sized(r.Credential)
	trail.Tell("size", code, fmt.Sprintf("%d bytes; 1 to %d", len(r.Credential), MaxCredential))
	if code == OK {
		claims, code = v.verifier(r.Credential).Explain(r.Credential, now, trail)
	}
	doubt := v.policy.doubt(fresh, r, trail.MaxStaleness, now)
	verdict := v.judge(r, doubt, fresh, claims, code, trail)
	v.explainRest(r, now, fresh, doubt, claims, trail)
	if verdict.Code == OK && claims.Key != nil && claims.Key.Limits != nil {
		use, code := v.limits.Look(claims.Key, r.cost(), now)
		verdict.limited(use, code)
		trail.Tell("limits", code, use.String())
	}
	if isOperator(claims) && verdict.Outcome == Allow {
		verdict = noCredential(verdict)
		trail.Tell("purpose", KeyNotFound, "an operator's key opens the control plane, and nothing else")
	}
	if isForVeto(claims, r) {
		verdict.deny(WrongAudience)
		trail.Tell("purpose", WrongAudience, "a token that is for operators of Veto alone is for no other API, unless the issuer's audiences or the question name theirs")
	}
	verdict.Checks = trail.Checks
	return verdict
}

// explainRest tells of the checks that are not the verifier's.
func (v *Validator) explainRest(r Request, now time.Time, fresh record.Freshness, doubt Code, claims *Claims, trail *Trail) {
	if claims == nil {
		trail.Skip("revocations")
	}
	state := "the node has not heard of the leader"
	if !fresh.AsOf.IsZero() {
		state = fmt.Sprintf("revision %d, complete as of %s ago", fresh.Revision, fresh.Age(now).Round(time.Millisecond))
	}
	wanted := "of any age, as the node serves stale"
	if limit, by := v.policy.limit(trail.MaxStaleness, r.MaxStaleness); by != "" {
		wanted = fmt.Sprintf("at most %s old, by the max_staleness of %s", limit, by)
	}
	trail.Tell("freshness", doubt, fmt.Sprintf("%s; wanted: revision %d, %s", state, r.MinRevision, wanted))
	if claims != nil && claims.Kind == APIKey {
		trail.Tell("consumer", enabled(v.owner(claims)), claims.Key.Consumer)
	}
	if claims == nil {
		trail.Skip("wanted_audience")
		trail.Skip("wanted_scopes")
		return
	}
	trail.Tell("wanted_audience", wantedAudience(claims, r), fmt.Sprintf("asked for %.200q", r.Audience))
	scopes := fmt.Sprintf("asked for %.200q, the credential has %.500q", r.Scopes, claims.Scopes)
	if lacks := missing(claims, r.Scopes); len(lacks) > 0 {
		scopes += fmt.Sprintf(", which lacks %.200q", lacks)
	}
	trail.Tell("wanted_scopes", wantedScopes(claims, r), scopes)
}

// verify picks the verifier by the credential's form.
func (v *Validator) verify(credential string, now time.Time, room *Claims) (*Claims, Code) {
	if code := sized(credential); code != OK {
		return nil, code
	}
	return v.verifier(credential).Verify(credential, now, room)
}

func sized(credential string) Code {
	switch {
	case len(credential) > MaxCredential:
		return TooLarge
	case credential == "":
		return Malformed
	}
	return OK
}

func (v *Validator) verifier(credential string) Verifier {
	if kindOf(credential) == JWT {
		return v.jwt
	}
	return v.apiKey
}

// kindOf tells what a credential is: API keys have no dots, JWTs have.
func kindOf(credential string) Kind {
	if strings.IndexByte(credential, '.') >= 0 {
		return JWT
	}
	return APIKey
}

// doubt says why the node cannot be sure of an answer; OK if it can. Issuer is the bound of the
// credential's, on staleness.
func (p Policy) doubt(f record.Freshness, r Request, issuer time.Duration, now time.Time) Code {
	if !f.Ready && !p.Unready {
		return NotReady
	}
	if !f.Holds(r.MinRevision) {
		return BehindMinRevision
	}
	limit, by := p.limit(issuer, r.MaxStaleness)
	if by != "" && (f.AsOf.IsZero() || f.Age(now) > limit) {
		return Stale
	}
	return OK
}

// limit is the strictest bound on the state's age, and whose it is; empty if nobody has set one.
func (p Policy) limit(issuer, request time.Duration) (limit time.Duration, by string) {
	if !p.ServeStale {
		limit, by = p.MaxStaleness, "the node"
	}
	if issuer > 0 && (by == "" || issuer < limit) {
		limit, by = issuer, "the issuer"
	}
	if request > 0 && (by == "" || request < limit) {
		limit, by = request, "the request"
	}
	return limit, by
}

// revoked looks up every name that the claims bear. Their digests are remembered with the
// claims once they cannot change any more.
func (v *Validator) revoked(c *Claims, ready bool, trail *Trail) *Denial {
	of := v.view.InUse()
	if trail != nil {
		of |= record.SingleTargets // whoever wants it explained is told of all
	}
	if m := c.marks.Load(); m != nil && m.of == of {
		return v.lookUp(c, m.digests, of, trail)
	}
	room, _ := v.digests.Get().(*[usualNames]record.Digest) // never what is kept
	defer v.digests.Put(room)
	digests := v.mark(c, of, room[:0])
	if c.Remembered && ready {
		c.marks.Store(&marks{slices.Clone(digests), of})
	}
	return v.lookUp(c, digests, of, trail)
}

func (v *Validator) lookUp(c *Claims, digests []record.Digest, of record.ClassSet, trail *Trail) *Denial {
	first := v.view.FirstDenied(digests, c.IssuedAt)
	if trail != nil {
		v.tellNames(c, digests, of, trail)
	}
	if first < 0 {
		return nil
	}
	return v.denial(c, of, first)
}

// tellNames tells what comes of each name.
func (v *Validator) tellNames(c *Claims, digests []record.Digest, of record.ClassSet, trail *Trail) {
	for i := range digests {
		var found *Denial
		if v.view.FirstDenied(digests[i:i+1], c.IssuedAt) == 0 {
			found = v.denial(c, of, i)
		}
		check, code, detail := told(nameAt(c, of, i), found)
		trail.Tell(check, code, detail+" ("+v.view.AnsweredBy(digests[i], c.IssuedAt)+")")
	}
}

func (v *Validator) mark(c *Claims, of record.ClassSet, to []record.Digest) []record.Digest {
	if c.Key != nil {
		var room [2]record.Name // to clear room for a token's names takes longer than to look these up
		for _, n := range c.keyNames(room[:0], of) {
			to = append(to, v.view.Digest(n))
		}
		return to
	}
	var room [usualNames]record.Name
	for _, n := range c.names(room[:0], of) {
		to = append(to, v.view.Digest(n))
	}
	return to
}

func nameAt(c *Claims, of record.ClassSet, i int) record.Name {
	return c.names(nil, of)[i]
}

// denial describes the revocation of one of the names.
func (v *Validator) denial(c *Claims, of record.ClassSet, i int) *Denial {
	n := nameAt(c, of, i)
	d := &Denial{ID: v.view.Digest(n).RevocationID(), Target: n.Target}
	if r, ok := v.view.Revoked(n, c.IssuedAt); ok {
		d.Reason, d.Revision = r.Reason, r.Revision
	}
	return d
}

// told is what Explain says of one name, and of the revocation of it, if there is one.
func told(n record.Name, d *Denial) (check string, code Code, detail string) {
	check, detail = "revoked_"+n.Target.String(), fmt.Sprintf("no revocation of %s %.200q", n.Target, n.Value)
	if n.Target == record.TargetIssuer {
		detail = "no revocation of the issuer"
	}
	for _, p := range n.And {
		check += "_and_" + p.Target.String()
		detail += fmt.Sprintf(" and %s %.200q", p.Target, p.Value)
	}
	if d != nil {
		return check, Revoked, fmt.Sprintf("%s, made at revision %d: %s", d.ID, d.Revision, d.Reason)
	}
	return check, OK, detail
}

// wanted checks what the request wants of a good credential.
func wanted(c *Claims, r Request) Code {
	if code := wantedAudience(c, r); code != OK {
		return code
	}
	return wantedScopes(c, r)
}

func wantedAudience(c *Claims, r Request) Code {
	if r.Audience != "" && !slices.Contains(c.Audience, r.Audience) {
		return WrongAudience
	}
	return OK
}

func wantedScopes(c *Claims, r Request) Code {
	if len(missing(c, r.Scopes)) > 0 {
		return InsufficientScope
	}
	return OK
}

// describe fills in whose credential it is.
func (d *Verdict) describe(c *Claims, owner *record.Consumer) {
	d.Issuer, d.Subject, d.Client = c.Issuer, c.Subject, c.Client
	d.Scopes, d.Claims, d.ExpiresAt = c.Scopes, c.Raw, c.ExpiresAt
	if c.Key == nil {
		return
	}
	d.KeyID, d.Consumer, d.Metadata, d.Rotating = c.Key.ID, c.Key.Consumer, c.Key.Metadata, c.Rotating
	if len(d.Metadata) == 0 && owner != nil {
		d.Metadata = owner.Metadata
	}
}

// owner is whom an API key belongs to; nil for other credentials.
func (v *Validator) owner(c *Claims) *record.Consumer {
	if c.Key == nil || c.Key.Consumer == "" {
		return nil
	}
	owner, ok := v.view.Consumer(c.Key.Consumer)
	if !ok {
		return nil
	}
	return owner
}

func enabled(owner *record.Consumer) Code {
	if owner != nil && owner.Disabled {
		return ConsumerDisabled
	}
	return OK
}

// Inspect verifies a JWT that someone presents to have it revoked. There are claims whenever its
// signature is good, also with a code that says why it would not be allowed now.
func (v *Validator) Inspect(token string, now time.Time) (*Claims, Code) {
	if code := sized(token); code != OK {
		return nil, code
	}
	if kindOf(token) != JWT {
		return nil, Malformed
	}
	return v.jwt.Inspect(token, now)
}
