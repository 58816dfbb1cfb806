package validate

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"veto/record"
)

// Kind is the kind of a credential.
type Kind string

// The kinds.
const (
	JWT    Kind = "jwt"
	APIKey Kind = "api_key"
)

// Request is the question.
type Request struct {
	// Credential is what the caller presented; at most MaxCredential bytes.
	Credential string
	// Audience, if set, must be among the credential's.
	Audience string
	// Scopes must all be the credential's.
	Scopes []string
	// MinRevision is the revision that the answer must at least be based on.
	MinRevision record.Revision
	// MaxStaleness is how old the state may be that the answer is based on; zero leaves that to
	// the node and the credential's issuer. The strictest holds.
	MaxStaleness time.Duration
	// Cost is what the request counts for where the credential has limits; 1 if zero.
	Cost uint32
}

// MaxCredential bounds a credential, in bytes.
const MaxCredential = 16 << 10

// Verdict is the answer.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Code    Code    `json:"code"`
	Kind    Kind    `json:"kind,omitempty"`

	Issuer   string `json:"issuer,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Client   string `json:"client,omitempty"`
	Consumer string `json:"consumer,omitempty"`
	KeyID    string `json:"key_id,omitempty"`
	// Rotating says that the API key was presented by a secret that another has replaced: it stops
	// working at ExpiresAt.
	Rotating  bool            `json:"rotating,omitempty"`
	Scopes    []string        `json:"scopes,omitempty"`
	Claims    JSON            `json:"claims,omitempty"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	ExpiresAt time.Time       `json:"expires_at,omitzero"`

	// MissingScopes are those that were asked for and are not the credential's; set with code
	// insufficient_scope.
	MissingScopes []string `json:"missing_scopes,omitempty"`

	// RateLimit and Quota say what is left of an API key's limits, if it has some; as far as the
	// node knows.
	RateLimit RateUse  `json:"rate_limit,omitzero"`
	Quota     QuotaUse `json:"quota,omitzero"`

	// Revision and AsOf say how far the state reached that the answer is based on.
	Revision record.Revision `json:"revision"`
	AsOf     time.Time       `json:"as_of,omitzero"`
	// Revocation is set with code revoked.
	Revocation *Denial `json:"revocation,omitempty"`
	// Checks are set by Explain only.
	Checks []Finding `json:"checks,omitempty"`
}

// Denial is what a verdict tells of the revocation that denies.
type Denial struct {
	ID       string          `json:"id"`
	Target   record.Target   `json:"target"`
	Reason   string          `json:"reason,omitempty"`
	Revision record.Revision `json:"revision,omitempty"`
}

// Claims are what a verifier found to be true of a credential. Nothing else makes them. They are
// shared by all who present it, and not changed.
type Claims struct {
	Kind    Kind
	Issuer  string
	Subject string
	Client  string
	Session string
	JTI     string
	// TokenHash is the SHA-256 of a JWT's signing input.
	TokenHash [32]byte
	KID       string
	Audience  []string
	Scopes    []string
	// IssuedAt is iat in seconds since 1970, or record.NoIssuedAt.
	IssuedAt int64
	// ExpiresAt is zero for a credential that does not expire.
	ExpiresAt time.Time
	// Raw are a JWT's claims, as signed.
	Raw JSON
	// Actors are who acts for the subject, the current one first (RFC 8693 section 4.1).
	Actors []Actor
	// Key is the API key's record, which may be in KeyRoom and brief, and shares what it holds; nil for a JWT.
	Key     *record.APIKey
	KeyRoom *record.KeyRoom
	// Rotating says that it was presented by the secret that its last roll replaced.
	Rotating bool
	// Remembered says that they will be used again for the same credential.
	Remembered bool
	// MaxStaleness is the issuer's bound on the state's age; zero if it has none.
	MaxStaleness time.Duration
	// Rules are the issuer's by which a JWT was verified, shared; nil for an API key.
	Rules *record.Issuer

	marks atomic.Pointer[marks]
}
