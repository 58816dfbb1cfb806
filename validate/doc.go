// Package validate decides: a credential, what the node knows, and the time give a Verdict.
//
// It does no I/O, starts no goroutine and reads no clock; what the node knows it sees through
// a View. It does not check signatures itself: only verifiers (rooms jwt and apikey) make
// Claims, and nothing that is not verified gets further.
//
// The order of a validation: read how fresh the node is; bound the credential; verify it; look
// up every revocation that the claims could be under; then freshness, audience, scopes; then an API
// key's limits (a Limiter counts).
//
// Promises:
//
//	V1  Nothing is allowed that is revoked here, whatever else is true of it.
//	    TestRevokedByEveryTarget
//	V2  A node that is not ready, too stale, or behind min_revision allows nothing, unless
//	    serving stale is its policy and nobody else has set a bound (V8); and it does not deny for what it may merely not have
//	    heard of yet: nor for the form of what may be an imported API key.
//	    TestFreshness
//	V3  Freshness is read before the look-ups, so a verdict is never older than it says.
//	    TestFreshnessIsReadFirst
//	V4  Only verifiers make Claims.
//	    TestOnlyVerifiersMakeClaims
//	V5  The zero Verdict is unknown, and allows nothing.
//	    TestZeroVerdict
//	V6  Explain comes to the verdict of Validate, and tells of the check that decided it.
//	    TestExplainSaysWhatValidateSays
//	V7  A verdict reads as what encoding/json would write of it.
//	    TestAppendJSON
//	V8  Of the bounds on staleness that the node, the issuer and the request set, the strictest
//	    holds. Serving stale lifts the node's own, and no other's.
//	    TestStrictestBoundHolds, TestKeysHaveNoIssuersBound
//	V9  An operator's key is no credential: it opens the control plane, and nothing else. Nor is a token that is
//	    for operators alone, where nobody names that audience.
//	    TestOperatorsKeyIsNoCredential, TestOperatorsTokenIsNoCredential
//	V10 A wildcard at the end of an API key's scope stands for the segments that follow, and for
//	    nothing else; a token's scopes are taken by their names. What is missing is told.
//	    TestScopes, TestWildcardsCoverWholeSegments
//	V11 Limits are asked last, of what is else allowed: what is denied for another reason uses up
//	    nothing, and neither does Explain.
//	    TestOnlyWhatIsAllowedIsCounted
//	V12 A JWT is somebody who asks something of Veto itself only where it would be allowed, by the
//	    node's own bound on staleness even where that serves stale.
//	    TestPerson
//	V11 Of an API key is noted when it was allowed, and no other answer.
//	    TestOnlyWhatIsAllowedIsUsed
package validate
