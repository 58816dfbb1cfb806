package record

import (
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
func Roles() []Role { return []Role{RoleAdmin, RoleRevoker, RoleValidator, RoleAuditor} }

// IsOwn tells whether the role is one of Veto's own, and not one that operators define.
func (r Role) IsOwn() bool { return slices.Contains(Roles(), r) }

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
	if r.IsOwn() {
		return Invalid("role: %s is Veto's own, and of operators' keys alone; use another name", r)
	}
	return checkID("role", string(r))
}

// Granted are the scopes that a key has by itself and by its roles, as they are now. It is shared by
// all keys with the same, kept up by whoever knows the roles, and read from anywhere.
type Granted struct{ scopes atomic.Pointer[[]string] }

// Set replaces the scopes, which must not be changed any more.
func (g *Granted) Set(scopes []string) { g.scopes.Store(&scopes) }

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

// CoversScope tells whether what is held ends in a wildcard that stands for the rest of the scope: one
// segment or more. So orders:* covers orders:read and orders:read:own, and neither orders nor
// orders-old:read.
func CoversScope(held, scope string) bool {
	before, wild := strings.CutSuffix(held, ScopeWildcard)
	return wild && len(scope) > len(before) && strings.HasPrefix(scope, before) && (before == "" || strings.HasSuffix(before, ScopeSeparator))
}

// PutRole defines a role, or replaces what it stands for, for every key that has it.
type PutRole struct {
	Role DefinedRole `cbor:"1,keyasint"`
}

// DeleteRole deletes a role that no key has.
type DeleteRole struct {
	ID Role `cbor:"1,keyasint"`
}

func (PutRole) Kind() Kind    { return KindPutRole }
func (DeleteRole) Kind() Kind { return KindDeleteRole }
