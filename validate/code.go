package validate

import "fmt"

// Outcome is what a verdict comes down to.
type Outcome uint8

// The outcomes. The zero value allows nothing.
const (
	Unknown Outcome = iota
	Allow
	Deny
)

var outcomeNames = [...]string{Unknown: "unknown", Allow: "allow", Deny: "deny"}

// String is the text form, as in the API.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[Unknown]
}

// MarshalText writes the text form.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the text form.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, name := range outcomeNames {
		if name == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not an outcome", b)
}

// Code is why. The strings are part of the API and never change.
type Code string

// The codes.
const (
	OK Code = "ok"

	Malformed         Code = "malformed"
	TooLarge          Code = "too_large"
	UnsupportedAlg    Code = "unsupported_alg"
	UnknownIssuer     Code = "unknown_issuer"
	UnknownSigningKey Code = "unknown_signing_key"
	BadSignature      Code = "bad_signature"
	Expired           Code = "expired"
	NotYetValid       Code = "not_yet_valid"
	IssuedInFuture    Code = "issued_in_future"
	TooLongLived      Code = "too_long_lived"
	WrongAudience     Code = "wrong_audience"
	WrongType         Code = "wrong_type"
	MissingClaim      Code = "missing_claim"
	Revoked           Code = "revoked"
	KeyNotFound       Code = "key_not_found"
	KeyDisabled       Code = "key_disabled"
	KeyExpired        Code = "key_expired"
	ConsumerDisabled  Code = "consumer_disabled"
	InsufficientScope Code = "insufficient_scope"
	RateLimited       Code = "rate_limited"
	QuotaExceeded     Code = "quota_exceeded"

	Stale             Code = "stale"
	BehindMinRevision Code = "behind_min_revision"
	NotReady          Code = "not_ready"
	PepperLocked      Code = "pepper_locked"
)

// Codes are all codes there are.
var Codes = []Code{
	OK, Malformed, TooLarge, UnsupportedAlg, UnknownIssuer, UnknownSigningKey, BadSignature, Expired, NotYetValid,
	IssuedInFuture, TooLongLived, WrongAudience, WrongType, MissingClaim, Revoked, KeyNotFound, KeyDisabled,
	KeyExpired, ConsumerDisabled, InsufficientScope, RateLimited, QuotaExceeded, Stale, BehindMinRevision, NotReady, PepperLocked,
}

// Outcome is what a verdict with the code comes down to.
func (c Code) Outcome() Outcome {
	switch c {
	case OK:
		return Allow
	case Stale, BehindMinRevision, NotReady, PepperLocked, "":
		return Unknown
	}
	return Deny
}

// mayBeNews tells whether the code may come only of not having heard of something yet.
func (c Code) mayBeNews() bool {
	switch c {
	case UnknownIssuer, UnknownSigningKey, KeyNotFound, KeyDisabled, KeyExpired, ConsumerDisabled,
		UnsupportedAlg, TooLongLived, WrongAudience, WrongType, MissingClaim:
		return true
	}
	return false
}
