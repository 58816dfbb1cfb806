package record

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Role names a set of scopes. An operator's API key has Veto's own, which say what it may do on the
// control plane; a consumer's has those that operators have defined.
type Role string

// Veto's own roles. Admin may do everything that the others may.
const (
	RoleAdmin     Role = "admin"
	RoleRevoker   Role = "revoker"
	RoleValidator Role = "validator"
	RoleAuditor   Role = "auditor"
)

// Roles are all of Veto's own.
var Roles = []Role{RoleAdmin, RoleRevoker, RoleValidator, RoleAuditor}

// Bounds of roles: what a look-up goes through, and a verdict tells.
const (
	maxRoleScopes = 256
	maxKeyRoles   = 32
)

// DefinedRole is a role that consumers' keys may have, with its scopes.
type DefinedRole struct {
	// ID is the role: 1 to 63 of a-z, 0-9, dash; none of Veto's own.
	ID Role `json:"id" cbor:"1,keyasint"`
	// Name is for people; at most 200 bytes.
	Name string `json:"name,omitempty" cbor:"2,keyasint,omitempty"`
	// Scopes that every key with the role has; at most 256.
	Scopes []string `json:"scopes" cbor:"3,keyasint,omitempty"`
	// CreatedAt and Revision are set when the command is applied.
	CreatedAt time.Time `json:"created_at,omitzero" cbor:"4,keyasint,omitzero"`
	Revision  Revision  `json:"revision" cbor:"5,keyasint,omitempty"`
}

// Check reports what is wrong with the role as an operator gave it, or nil.
func (r *DefinedRole) Check() error {
	if err := checkDefined(r.ID); err != nil {
		return err
	}
	if len(r.Name) > maxName {
		return Invalid("name: at most %d bytes", maxName)
	}
	return checkScopes(r.Scopes, maxRoleScopes)
}

func checkDefined(r Role) error {
	if slices.Contains(Roles, r) {
		return Invalid("role: %s is Veto's own, and of operators' keys alone; use another name", r)
	}
	return checkID("role", string(r))
}

// Granted are the scopes that a key has by itself and by its roles, as they are now. It is shared by
// all keys with the same, kept up by whoever knows the roles, and read from anywhere.
type Granted struct{ scopes atomic.Pointer[[]string] }

// Set replaces the scopes, which must not be changed any more.
func (g *Granted) Set(scopes []string) { g.scopes.Store(&scopes) }

// KeyHash is the SHA-256 of an API key. The key itself is stored nowhere.
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
	// Roles: of an operator's key Veto's own, of a consumer's those of DefinedRoles; at most 32.
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
	// Issuers are the iss of those whose tokens an operator's key may revoke, and Consumers those whose
	// API keys; if there are any of either, it may revoke nothing else.
	Issuers   []string `json:"issuers,omitempty" cbor:"14,keyasint,omitempty"`
	Consumers []string `json:"consumers,omitempty" cbor:"22,keyasint,omitempty"`
	// Targets, if there are any, are the only ones that an operator's key may revoke by.
	Targets []string `json:"targets,omitempty" cbor:"23,keyasint,omitempty"`
	// Granted is filled in where the roles are known, of a consumer's key that has any.
	Granted *Granted `json:"-" cbor:"-"`
}

// IsOperator tells whether the key opens the control plane, and is no credential of an API's caller.
func (k *APIKey) IsOperator() bool { return k.Consumer == "" && len(k.Roles) > 0 }

// AllScopes are the key's own and those of its roles, as they are now; shared: read them only.
func (k *APIKey) AllScopes() []string {
	if k.Granted == nil {
		return k.Scopes
	}
	return *k.Granted.scopes.Load()
}

// HasRole tells whether the key may act in the role, one of Veto's own: it is an operator's, and
// holds it or admin.
func (k *APIKey) HasRole(r Role) bool {
	return k.IsOperator() && (slices.Contains(k.Roles, r) || slices.Contains(k.Roles, RoleAdmin))
}

// IsBound tells whether the key may not revoke everything, if it may revoke at all.
func (k *APIKey) IsBound() bool { return len(k.Issuers)+len(k.Consumers)+len(k.Targets) > 0 }

// ReadsAll tells whether an operator's key may read what every operator may. One that is bound reads
// no more than it may revoke, unless it has a role to read by.
func (k *APIKey) ReadsAll() bool {
	return !k.IsBound() || k.HasRole(RoleAuditor) || k.HasRole(RoleValidator)
}

// MayRevoke tells whether the key, if it may revoke at all, may revoke what has the name. Owner is the
// consumer of the API key that the name names; empty if it names none, or one of nobody known.
func (k *APIKey) MayRevoke(n Name, owner string) bool {
	not := func(t Target) bool { return !slices.Contains(k.Targets, t.String()) }
	if len(k.Targets) > 0 && (not(n.Target) || slices.ContainsFunc(n.And, func(p Part) bool { return not(p.Target) })) {
		return false
	}
	if len(k.Issuers)+len(k.Consumers) == 0 {
		return true
	}
	switch n.Target {
	case TargetConsumer:
		return slices.Contains(k.Consumers, n.Value)
	case TargetKey:
		return owner != "" && slices.Contains(k.Consumers, owner)
	}
	return n.Target.OfIssuer() && slices.Contains(k.Issuers, n.Issuer)
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
	if len(k.Name) > maxName {
		return Invalid("name: at most %d bytes", maxName)
	}
	if err := k.checkRoles(); err != nil {
		return err
	}
	if err := k.checkBounds(); err != nil {
		return err
	}
	if !storable(k.ExpiresAt) {
		return Invalid("expires_at: out of range")
	}
	if err := checkMetadata(k.Metadata); err != nil {
		return err
	}
	return checkScopes(k.Scopes, maxListItems)
}

func (k *APIKey) checkBounds() error {
	if k.IsBound() && (k.Consumer != "" || !slices.Contains(k.Roles, RoleRevoker) || slices.Contains(k.Roles, RoleAdmin)) {
		return Invalid("issuers, consumers and targets bind an operator's key with the role revoker, and without the role admin")
	}
	for _, c := range k.Consumers {
		if err := checkID("consumers", c); err != nil {
			return err
		}
	}
	for _, t := range k.Targets {
		if err := new(Target).UnmarshalText([]byte(t)); err != nil {
			return Invalid("targets: give some of %s", strings.Join(TargetNames(), ", "))
		}
	}
	return errors.Join(checkList("issuers", k.Issuers), checkList("consumers", k.Consumers), checkList("targets", k.Targets))
}

func (k *APIKey) checkRoles() error {
	if k.Consumer != "" {
		return k.checkDefinedRoles()
	}
	for _, r := range k.Roles {
		if !slices.Contains(Roles, r) {
			// It is not repeated: it may be a secret in a wrong place.
			return Invalid("roles: one is not of admin, revoker, validator, auditor, which operators' keys have; for any other give the consumer that the key belongs to")
		}
	}
	return nil
}

func (k *APIKey) checkDefinedRoles() error {
	if len(k.Roles) > maxKeyRoles {
		return Invalid("roles: at most %d", maxKeyRoles)
	}
	for n, r := range k.Roles {
		if err := checkDefined(r); err != nil {
			return err
		}
		if slices.Contains(k.Roles[:n], r) {
			return Invalid("roles: %s is there twice", r)
		}
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
func checkScopes(scopes []string, most int) error {
	for _, s := range scopes {
		if i := strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c == '"' || c == '\\' || c > '~' }); i >= 0 {
			return Invalid("scopes: %.100q has a character that no scope may have: use ASCII without spaces, quotes and backslashes", s)
		}
		before, wild := strings.CutSuffix(s, ScopeWildcard)
		if strings.Contains(before, ScopeWildcard) || wild && before != "" && !strings.HasSuffix(before, ScopeSeparator) {
			return Invalid("scopes: %.100q: a wildcard is the last segment, as in orders:*", s)
		}
	}
	return checkListOf("scopes", scopes, most)
}
