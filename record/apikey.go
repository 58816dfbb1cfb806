package record

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"veto/record/limit"
)

// Role is what an operator's API key may do on the control plane.
type Role string

// The roles. Admin may do everything that the others may.
const (
	RoleAdmin     Role = "admin"
	RoleRevoker   Role = "revoker"
	RoleValidator Role = "validator"
	RoleAuditor   Role = "auditor"
)

// Roles are all roles there are.
var Roles = []Role{RoleAdmin, RoleRevoker, RoleValidator, RoleAuditor}

// KeyHash is the SHA-256 of an API key's secret. The secret itself is stored nowhere.
type KeyHash [32]byte

// APIKey is what the cluster knows of a secret that was shown once.
type APIKey struct {
	// ID names the key: "key_" and a ULID.
	ID string `json:"id" cbor:"1,keyasint"`
	// Consumer that the key belongs to; empty for an operator's key.
	Consumer string `json:"consumer,omitempty" cbor:"2,keyasint,omitempty"`
	// Name is for people; at most 200 bytes.
	Name string `json:"name,omitempty" cbor:"3,keyasint,omitempty"`
	// Hash is how the key is found. It never leaves the cluster.
	Hash KeyHash `json:"-" cbor:"4,keyasint"`
	// Hint is the key's prefix and last four characters, by which people tell keys apart.
	Hint string `json:"hint" cbor:"5,keyasint"`
	// Scopes that a request may ask for. One that ends in a segment of ScopeWildcard stands for all
	// that begin with the segments before it and have more.
	Scopes []string `json:"scopes,omitempty" cbor:"6,keyasint,omitempty"`
	// Roles on the control plane; empty for all keys but operators'.
	Roles []Role `json:"roles,omitempty" cbor:"7,keyasint,omitempty"`
	// Metadata is a JSON object that comes back with every verdict; at most 16 KiB.
	Metadata json.RawMessage `json:"metadata,omitempty" cbor:"8,keyasint,omitempty"`
	// ExpiresAt is when the key stops working; zero for never.
	ExpiresAt time.Time `json:"expires_at,omitzero" cbor:"9,keyasint,omitzero"`
	// Disabled keys are denied until they are enabled again.
	Disabled bool `json:"disabled" cbor:"10,keyasint,omitempty"`
	// CreatedAt, Created (its revision) and Revision (of the last change) are set when the
	// command is applied.
	CreatedAt time.Time `json:"created_at,omitzero" cbor:"11,keyasint,omitzero"`
	Revision  Revision  `json:"revision" cbor:"12,keyasint,omitempty"`
	Created   Revision  `json:"-" cbor:"13,keyasint,omitempty"`
	// Issuers, if there are any, are the iss of those whose tokens an operator's key may revoke;
	// then it may revoke nothing else.
	Issuers []string `json:"issuers,omitempty" cbor:"14,keyasint,omitempty"`
	// Environment is the word in the secret by which people tell what it is for, such as live or
	// test; it may be empty, and is for an operator's key.
	Environment string `json:"environment,omitempty" cbor:"15,keyasint,omitempty"`
	// Imported tells that another system made the secret, so that it has any form: all that is known
	// of it is the hash and the hint that were given.
	Imported bool `json:"imported,omitempty" cbor:"17,keyasint,omitempty"`
	// Limits are how much a consumer's key may be used; nil if there are none.
	Limits *limit.Limits `json:"limits,omitempty" cbor:"30,keyasint,omitempty"`
	// Rotating, if not nil, is the secret that the last roll replaced.
	Rotating *Rotating `json:"rotating,omitempty" cbor:"18,keyasint,omitempty"`
	// RolledAt and Rolled (the revision) are those of the last roll.
	RolledAt time.Time `json:"rolled_at,omitzero" cbor:"19,keyasint,omitzero"`
	Rolled   Revision  `json:"-" cbor:"20,keyasint,omitempty"`
	// LastUsedAt is about when the key was last allowed, on whatever node; filled in for those who
	// look, as the record does not change when it is used.
	LastUsedAt time.Time `json:"last_used_at,omitzero" cbor:"-"`
	// Uses is where a node notes that the key was used; nil but in its index.
	Uses *Uses `json:"-" cbor:"-"`
}

// Minute is a time in minutes since 1970.
type Minute int64

// MinuteOf is the minute in which the time lies.
func MinuteOf(t time.Time) Minute { return Minute(t.Unix() / 60) }

// Time is the minute's beginning.
func (m Minute) Time() time.Time { return time.Unix(int64(m)*60, 0).UTC() }

// Uses is when a node last allowed a key. Many may note it at once.
type Uses struct {
	last atomic.Int64
	told Minute // the log was, by the one goroutine that does
}

// Note notes a use: one store a minute.
func (u *Uses) Note(now time.Time) {
	if m := int64(MinuteOf(now)); u != nil && u.last.Load() != m {
		u.last.Store(m)
	}
}

// Untold is the last use, and what the log was told before; false if that is no earlier.
func (u *Uses) Untold() (last, before Minute, ok bool) {
	last = Minute(u.last.Load())
	return last, u.told, last > u.told
}

// Tell notes that the log was told of the use.
func (u *Uses) Tell(m Minute) { u.told = m }

// MaxOverlap is how long a secret may be good beside the one that replaced it.
const MaxOverlap = 30 * 24 * time.Hour

// Rotating is a secret that another has replaced, and that is good for some more time.
type Rotating struct {
	Hash KeyHash `json:"-" cbor:"1,keyasint"`
	Hint string  `json:"hint" cbor:"2,keyasint"`
	// Until is when it stops working.
	Until time.Time `json:"until" cbor:"3,keyasint"`
	// Imported tells that another system made it.
	Imported bool `json:"imported,omitempty" cbor:"4,keyasint,omitempty"`
}

// ByOld tells whether the hash is that of the secret that was replaced.
func (k *APIKey) ByOld(h KeyHash) bool { return k.Rotating != nil && k.Rotating.Hash == h }

// HasImported tells whether another system made a secret of the key.
func (k *APIKey) HasImported() bool { return k.Imported || k.Rotating != nil && k.Rotating.Imported }

// IsRotating tells whether two secrets are good.
func (k *APIKey) IsRotating(now time.Time) bool {
	return k.Rotating != nil && now.Before(k.Rotating.Until)
}

// IsExpired tells whether the key has stopped working by itself.
func (k *APIKey) IsExpired(now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)
}

// The word in the secrets of operators' keys, where others have their environment, and how long
// that may be.
const (
	OperatorEnvironment = "op"
	MaxEnvironment      = 16
)

// maxHint is how long a hint may be, in bytes.
const maxHint = 64

// HasRole tells whether the key may act in the role: it holds it, or it holds admin.
func (k *APIKey) HasRole(r Role) bool {
	return slices.Contains(k.Roles, r) || slices.Contains(k.Roles, RoleAdmin)
}

// MayRevoke tells whether the key, if it may revoke at all, may revoke what has the name.
func (k *APIKey) MayRevoke(n Name) bool {
	return len(k.Issuers) == 0 || n.Target.OfIssuer() && slices.Contains(k.Issuers, n.Issuer)
}

// Check reports what is wrong with the key as an operator gave it, or nil.
func (k *APIKey) Check() error {
	if k.ID == "" || len(k.ID) > 63 || k.Hash == (KeyHash{}) {
		return Invalid("key: has no id or no hash")
	}
	if k.Consumer != "" {
		if err := checkID("consumer", k.Consumer); err != nil {
			return err
		}
	}
	if k.Consumer == "" && len(k.Roles) == 0 {
		return Invalid("give the consumer that the key belongs to, or the roles of an operator's key")
	}
	if k.Consumer != "" && len(k.Roles) > 0 {
		return Invalid("a key belongs to a consumer or has operator roles, not both")
	}
	if len(k.Name) > maxName {
		return Invalid("name: at most %d bytes", maxName)
	}
	if err := k.checkForm(); err != nil {
		return err
	}
	for _, r := range k.Roles {
		if !slices.Contains(Roles, r) {
			return Invalid("roles: %q is not one of admin, revoker, validator, auditor", r)
		}
	}
	if len(k.Issuers) > 0 && (!slices.Contains(k.Roles, RoleRevoker) || slices.Contains(k.Roles, RoleAdmin)) {
		return Invalid("issuers: bind a key with the role revoker, and without the role admin")
	}
	if err := checkList("issuers", k.Issuers); err != nil {
		return err
	}
	if !storable(k.ExpiresAt) {
		return Invalid("expires_at: out of range")
	}
	if err := checkMetadata(k.Metadata); err != nil {
		return err
	}
	if err := k.checkLimits(); err != nil {
		return err
	}
	return checkScopes(k.Scopes)
}

func (k *APIKey) checkLimits() error {
	if k.Limits == nil {
		return nil
	}
	if k.Consumer == "" {
		return Invalid("limits: an operator's key has none")
	}
	if err := k.Limits.Check(); err != nil {
		return Invalid("%s", err)
	}
	return nil
}

// checkForm checks what is said of the secret's form.
func (k *APIKey) checkForm() error {
	other := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') }
	switch {
	case len(k.Hint) > maxHint:
		return Invalid("hint: at most %d bytes", maxHint)
	case k.Imported && len(k.Roles) > 0:
		return Invalid("roles: an operator's key cannot be imported; make one")
	case k.Imported && k.Environment != "":
		return Invalid("environment: is a word in the secrets that are made here; leave it out, as this secret is there already")
	case k.Environment == "":
		return nil
	case len(k.Roles) > 0:
		return Invalid("environment: an operator's key has none; it begins with a word of its own")
	case k.Environment == OperatorEnvironment:
		return Invalid("environment: %s is the word of operators' keys; give another", OperatorEnvironment)
	case len(k.Environment) > MaxEnvironment || strings.ContainsFunc(k.Environment, other):
		return Invalid("environment: 1 to %d of a-z and 0-9", MaxEnvironment)
	}
	return nil
}

// Scopes of API keys have segments, the last of which may stand for all others.
const (
	ScopeSeparator = ":"
	ScopeWildcard  = "*"
)

// checkScopes refuses what is no scope-token (RFC 6749 section 3.3), and wildcards that would be
// taken for more than they are.
func checkScopes(scopes []string) error {
	for _, s := range scopes {
		if i := strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c == '"' || c == '\\' || c > '~' }); i >= 0 {
			return Invalid("scopes: %.100q has a character that no scope may have: use ASCII without spaces, quotes and backslashes", s)
		}
		before, wild := strings.CutSuffix(s, ScopeWildcard)
		if strings.Contains(before, ScopeWildcard) || wild && before != "" && !strings.HasSuffix(before, ScopeSeparator) {
			return Invalid("scopes: %.100q: a wildcard is the last segment, as in orders:*", s)
		}
	}
	return checkList("scopes", scopes)
}
