package record

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"veto/record/limit"
)

// KeyHash is the SHA-256 of an API key's secret, or what a Chain of peppers makes of that. The secret
// itself is stored nowhere.
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
	// Chain is by which peppers the hash is made.
	Chain Chain `json:"-" cbor:"16,keyasint,omitzero" since:"2"`
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
	// Environment is the word in the secret by which people tell what it is for, such as live or
	// test; it may be empty, as it is of an operator's key.
	Environment string `json:"environment,omitempty" cbor:"15,keyasint,omitempty" since:"2"`
	// Imported tells that another system made the secret, so that it has any form: all that is known
	// of it is the hash and the hint that were given.
	Imported bool `json:"imported,omitempty" cbor:"17,keyasint,omitempty" since:"2"`
	// Limits are how much a consumer's key may be used; nil if there are none.
	Limits *limit.Limits `json:"limits,omitempty" cbor:"30,keyasint,omitempty" since:"2"`
	// Rotating, if not nil, is the secret that the last roll replaced.
	Rotating *Rotating `json:"rotating,omitempty" cbor:"18,keyasint,omitempty" since:"2"`
	// RolledAt and Rolled (the revision) are those of the last roll.
	RolledAt time.Time `json:"rolled_at,omitzero" cbor:"19,keyasint,omitzero" since:"2"`
	Rolled   Revision  `json:"-" cbor:"20,keyasint,omitempty" since:"2"`
	// Issuers are the iss of those whose tokens an operator's key may revoke, and Consumers those whose
	// API keys; if there are any of either, it may revoke nothing else.
	Issuers   []string `json:"issuers,omitempty" cbor:"14,keyasint,omitempty"`
	Consumers []string `json:"consumers,omitempty" cbor:"22,keyasint,omitempty" since:"2"`
	// Targets, if there are any, are the only ones that an operator's key may revoke by.
	Targets []string `json:"targets,omitempty" cbor:"23,keyasint,omitempty" since:"2"`
	// LeakedAt is when a secret of the key was last told to be where anyone can read it, and Leak by whom.
	LeakedAt time.Time `json:"leaked_at,omitzero" cbor:"26,keyasint,omitzero" since:"2"`
	Leak     *Leak     `json:"leak,omitempty" cbor:"27,keyasint,omitempty" since:"2"`
	// Granted is filled in where the roles are known, of a consumer's key that has any.
	Granted *Granted `json:"-" cbor:"-"`
	// LastUsedAt is about when the key was last allowed, on whatever node; filled in for those who
	// look, as the record does not change when it is used.
	LastUsedAt time.Time `json:"last_used_at,omitzero" cbor:"-"`
	// Uses is where a node notes that the key was used; zero but in its index.
	Uses Uses `json:"-" cbor:"-"`
}

// Minute is a time in minutes since 1970.
type Minute int64

// MinuteOf is the minute in which the time lies.
func MinuteOf(t time.Time) Minute { return Minute(t.Unix() / 60) }

// Time is the minute's beginning.
func (m Minute) Time() time.Time { return time.Unix(int64(m)*60, 0).UTC() }

// Use is where it is kept when a node last allowed a key, and what of that the log was told: one word
// without a pointer, as there are millions. It is given to one key after the other, each of which has a
// turn, so that who still holds the place of one that is gone notes nothing for the next.
type Use struct{ word atomic.Uint64 } // turn, minute told, minute last

const (
	minuteBits = 26 // until the year 2097
	minuteMask = 1<<minuteBits - 1
	turnStep   = 1 << (2 * minuteBits)
)

// Begin begins the next turn, in which there was no use. Called by one goroutine.
func (u *Use) Begin() { u.word.Store((u.word.Load()/turnStep + 1) * turnStep) }

// Now is the place of the key whose turn it is.
func (u *Use) Now() Uses { return Uses{u, u.word.Load() / turnStep} }

// Uses is when a node last allowed a key. Many may note it at once. The zero Uses keeps nothing.
type Uses struct {
	at   *Use
	turn uint64
}

// Note notes a use: one store a minute.
func (u Uses) Note(now time.Time) {
	last := uint64(min(max(MinuteOf(now), 0), minuteMask))
	u.change(func(word uint64) uint64 { return word&^minuteMask | last })
}

// Tell notes that the log was told of the use.
func (u Uses) Tell(m Minute) {
	u.change(func(word uint64) uint64 { return word&^(minuteMask<<minuteBits) | uint64(m)<<minuteBits })
}

func (u Uses) change(f func(uint64) uint64) {
	for u.at != nil {
		word := u.at.word.Load()
		if next := f(word); word/turnStep != u.turn || next == word || u.at.word.CompareAndSwap(word, next) {
			return
		}
	}
}

// Untold is the last use, and what the log was told before; false if that is no earlier.
func (u Uses) Untold() (last, before Minute, ok bool) {
	if u.at == nil {
		return 0, 0, false
	}
	word := u.at.word.Load()
	if word/turnStep != u.turn {
		return 0, 0, false
	}
	last, before = Minute(word&minuteMask), Minute(word>>minuteBits&minuteMask)
	return last, before, last > before
}

// KeyRoom is room for one key's record and what it points to, to be used again and again.
type KeyRoom struct {
	// Brief, which is set once, says that there is to be no more of the record than a verdict needs.
	Brief    bool
	Key      APIKey
	Rotating Rotating
	Limits   limit.Limits
	Leak     Leak
}

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
	// Chain is by which peppers its hash is made.
	Chain Chain `json:"-" cbor:"5,keyasint,omitzero"`
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
	if err := k.checkForm(); err != nil {
		return err
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
	if err := k.checkLimits(); err != nil {
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
		if !r.IsOwn() {
			// It is not repeated: it may be a secret in a wrong place.
			return &Rejection{Reason: ReasonUnknownRole, Detail: "roles: one is not of admin, revoker, validator, auditor, which operators' keys have; for any other give the consumer that the key belongs to"}
		}
	}
	return nil
}

func (k *APIKey) checkDefinedRoles() error {
	return checkEach("roles", k.Roles, maxKeyRoles, checkDefined)
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
	case k.Imported && k.Consumer == "":
		return Invalid("roles: an operator's key cannot be imported; make one")
	case k.Imported && k.Environment != "":
		return Invalid("environment: is a word in the secrets that are made here; leave it out, as this secret is there already")
	case k.Environment == "":
		return nil
	case k.Consumer == "":
		return Invalid("environment: an operator's key has none; it begins with a word of its own")
	case k.Environment == OperatorEnvironment:
		return Invalid("environment: %s is the word of operators' keys; give another", OperatorEnvironment)
	case len(k.Environment) > MaxEnvironment || strings.ContainsFunc(k.Environment, other):
		return Invalid("environment: 1 to %d of a-z and 0-9", MaxEnvironment)
	}
	return nil
}

// KeyState is how an API key is at some time, by itself: whether its consumer is disabled is not in it.
type KeyState string

// The states. A key may be disabled, expired and revoked at once, and is active if it is none of
// them; one that is rotating may be any of these.
const (
	KeyActive   KeyState = "active"
	KeyDisabled KeyState = "disabled"
	KeyExpired  KeyState = "expired"
	KeyRotating KeyState = "rotating"
	KeyRevoked  KeyState = "revoked"
	KeyLeaked   KeyState = "leaked" // is known where anyone can read it, and goes on
)

// KeyQuery is what API keys are looked for by. The zero query finds all.
type KeyQuery struct {
	Consumer, Environment string
	State                 KeyState
	// Role is one of the key's, and Scope one that it may be asked for, by itself or by its roles.
	Role  Role
	Scope string
	// Text stands in the name or the hint, in capitals or not.
	Text string
	// Pepper is one that a secret of the key's needs.
	Pepper PepperID
}

// Finds tells whether it finds the key, which is Granted what its roles give. Revoked is asked only for
// states that depend on it, and last.
func (q *KeyQuery) Finds(k *APIKey, now time.Time, revoked func() (bool, error)) (bool, error) {
	text := strings.ToLower(q.Text)
	has := func(held string) bool { return held == q.Scope || CoversScope(held, q.Scope) }
	if q.Consumer != "" && k.Consumer != q.Consumer || q.Environment != "" && k.Environment != q.Environment ||
		q.Role != "" && !slices.Contains(k.Roles, q.Role) || q.Scope != "" && !slices.ContainsFunc(k.AllScopes(), has) ||
		!strings.Contains(strings.ToLower(k.Name), text) && !strings.Contains(strings.ToLower(k.Hint), text) ||
		q.Pepper != 0 && !k.Chain.Needs(q.Pepper) && (k.Rotating == nil || !k.Rotating.Chain.Needs(q.Pepper)) {
		return false, nil
	}
	switch q.State {
	case KeyActive, KeyLeaked:
		if k.Disabled || k.IsExpired(now) || q.State == KeyLeaked && !k.HasLeaked(now) {
			return false, nil
		}
		is, err := revoked()
		return !is, err
	case KeyRevoked:
		return revoked()
	case KeyDisabled:
		return k.Disabled, nil
	case KeyExpired:
		return k.IsExpired(now), nil
	case KeyRotating:
		return k.IsRotating(now), nil
	}
	return true, nil
}

// CreateKey adds an API key. Its hash is by the newest pepper.
type CreateKey struct {
	Key APIKey `cbor:"1,keyasint"`
	// Also are the hashes of the secret by every other chain of the peppers that there are, so that a
	// key with this secret is found by whatever chain it has.
	Also []KeyHash `cbor:"2,keyasint,omitempty" since:"2"`
}

// UpdateKey changes what is set of an API key.
type UpdateKey struct {
	ID        string     `cbor:"1,keyasint"`
	Name      *string    `cbor:"2,keyasint,omitempty"`
	Scopes    *[]string  `cbor:"3,keyasint,omitempty"`
	Metadata  []byte     `cbor:"4,keyasint,omitempty"`
	ExpiresAt *time.Time `cbor:"5,keyasint,omitempty"`
	Disabled  *bool      `cbor:"6,keyasint,omitempty"`
	// Limits, if given, are the new ones; the zero Limits take those that there are away.
	Limits *limit.Limits `cbor:"30,keyasint,omitempty" since:"2"`
	Roles  *[]Role       `cbor:"22,keyasint,omitempty" since:"2"`
	// Forever takes the expiry away: no time says that, as the zero one is written as none.
	Forever bool `cbor:"31,keyasint,omitempty" since:"3"`
}

// RollKey gives an API key another secret. The one before is good for the overlap, from the
// command's stamp on: 0 to MaxOverlap.
type RollKey struct {
	ID      string        `cbor:"1,keyasint"`
	Hash    KeyHash       `cbor:"2,keyasint"`
	Hint    string        `cbor:"3,keyasint"`
	Overlap time.Duration `cbor:"4,keyasint,omitempty"`
	// Force ends a secret that an earlier roll has left some time.
	Force bool `cbor:"5,keyasint,omitempty"`
	// Chain of the hash: the newest pepper.
	Chain Chain `cbor:"6,keyasint,omitzero"`
}

// KeysUsed tells when a node last allowed keys; of each the latest time is kept. At most MaxKeysUsed.
type KeysUsed struct {
	Keys []KeyUsed `cbor:"1,keyasint"`
}

// KeyUsed is one key of a KeysUsed.
type KeyUsed struct {
	_  struct{} `cbor:",toarray"`
	ID string
	At Minute
}

// DeleteKey deletes an API key.
type DeleteKey struct {
	ID string `cbor:"1,keyasint"`
}

// DrawQuota takes parts of keys' quotas for a node. What is not there any more gives nothing, and
// keeps none of the others back. At most limit.MaxDraws.
type DrawQuota struct {
	Draws []limit.Draw `cbor:"1,keyasint"`
}

func (DrawQuota) Kind() Kind { return KindDrawQuota }
func (CreateKey) Kind() Kind { return KindCreateKey }
func (UpdateKey) Kind() Kind { return KindUpdateKey }
func (DeleteKey) Kind() Kind { return KindDeleteKey }
func (RollKey) Kind() Kind   { return KindRollKey }
func (KeysUsed) Kind() Kind  { return KindKeysUsed }
