package record

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	maxName     = 200
	maxMetadata = 16 << 10
	maxTags     = 50
	maxTag      = 63
)

// Consumer is whom an API key belongs to: a customer, a service, a team.
type Consumer struct {
	// ID names the consumer: 1 to 63 of a-z, 0-9, dash.
	ID string `json:"id" cbor:"1,keyasint"`
	// Name is for people; at most 200 bytes.
	Name string `json:"name,omitempty" cbor:"2,keyasint,omitempty"`
	// Metadata is a JSON object that comes back with every verdict; at most 16 KiB.
	Metadata json.RawMessage `json:"metadata,omitempty" cbor:"3,keyasint,omitempty"`
	// CreatedAt and Revision are set when the command is applied.
	CreatedAt time.Time `json:"created_at,omitzero" cbor:"5,keyasint,omitzero"`
	Revision  Revision  `json:"revision" cbor:"6,keyasint,omitempty"`
	// Tags are for finding consumers: at most 50, each of 1 to 63 of a-z, 0-9 and -._:
	Tags []string `json:"tags,omitempty" cbor:"7,keyasint,omitempty"`
	// Disabled consumers' keys are denied until they are enabled again.
	Disabled bool `json:"disabled" cbor:"8,keyasint,omitempty"`
	// Former are managers of no issuer, of before LevelKeys. Nobody reads them.
	Former []string `json:"-" cbor:"4,keyasint,omitempty"`
	// Managers may manage the consumer's keys; at most 100. An issuer's id is who has it now.
	Managers []Person `json:"managers,omitempty" cbor:"20,keyasint,omitempty" since:"2"`
	// Grantable is what the keys may have that managers make; nothing if it is nil.
	Grantable *Grantable `json:"grantable,omitempty" cbor:"21,keyasint,omitempty" since:"2"`
	// MaxKeys is how many API keys the consumer has at most for managers to make another; see KeysAtMost.
	MaxKeys uint32 `json:"max_keys,omitempty" cbor:"22,keyasint,omitempty" since:"2"`
}

// Bounds of a consumer's managers, and of the keys that they make.
const (
	maxManagers    = 100
	DefaultMaxKeys = 100
	MostMaxKeys    = 10_000
)

// Grantable are scopes and roles that managers may give.
type Grantable struct {
	Scopes []string `json:"scopes,omitempty" cbor:"1,keyasint,omitempty"`
	Roles  []Role   `json:"roles,omitempty" cbor:"2,keyasint,omitempty"`
}

// Covers tells whether the key has nothing but what managers may give.
func (g *Grantable) Covers(k *APIKey) bool {
	if g == nil {
		g = &Grantable{}
	}
	return !slices.ContainsFunc(k.Roles, func(r Role) bool { return !slices.Contains(g.Roles, r) }) &&
		!slices.ContainsFunc(k.Scopes, func(s string) bool {
			return !slices.ContainsFunc(g.Scopes, func(has string) bool { return scopeCovers(has, s) })
		})
}

// scopeCovers tells whether whoever has the one scope has all that the other stands for.
func scopeCovers(has, asked string) bool {
	before, wild := strings.CutSuffix(has, ScopeWildcard)
	return has == asked || wild && len(asked) > len(before) && strings.HasPrefix(asked, before)
}

// KeysAtMost is MaxKeys, or what it is if it is not said.
func (c *Consumer) KeysAtMost() int {
	if c.MaxKeys == 0 {
		return DefaultMaxKeys
	}
	return int(c.MaxKeys)
}

// IsManager tells whether the person may manage the consumer's keys.
func (c *Consumer) IsManager(p Person) bool { return slices.Contains(c.Managers, p) }

func (c *Consumer) checkManagers() error {
	err := checkEach("managers", c.Managers, maxManagers, func(m Person) error {
		if m.Subject == "" || len(m.Subject) > MaxSubject {
			return Invalid("managers: give each the issuer's id and a subject of 1 to %d bytes", MaxSubject)
		}
		return checkID("managers: issuer", m.Issuer)
	})
	if err != nil {
		return err
	}
	if c.MaxKeys > MostMaxKeys {
		return Invalid("max_keys: at most %d", MostMaxKeys)
	}
	if c.Grantable == nil {
		return nil
	}
	as := APIKey{Roles: c.Grantable.Roles}
	if err := as.checkDefinedRoles(); err != nil {
		return err
	}
	return checkScopes(c.Grantable.Scopes, maxListItems)
}

// ConsumerQuery is what consumers are looked for by. The zero query finds all.
type ConsumerQuery struct {
	// Text stands in the id or the name, in capitals or not.
	Text string
	// Tags are all among the consumer's.
	Tags []string
	// Disabled, if it is not nil, is whether the consumer is.
	Disabled *bool
}

// Finds tells whether it finds the consumer.
func (q ConsumerQuery) Finds(c *Consumer) bool {
	text := strings.ToLower(q.Text)
	return (strings.Contains(c.ID, text) || strings.Contains(strings.ToLower(c.Name), text)) &&
		!slices.ContainsFunc(q.Tags, func(t string) bool { return !slices.Contains(c.Tags, t) }) &&
		(q.Disabled == nil || *q.Disabled == c.Disabled)
}

// Check reports what is wrong with the consumer as an operator gave it, or nil.
func (c *Consumer) Check() error {
	if err := checkID("consumer id", c.ID); err != nil {
		return err
	}
	if len(c.Name) > maxName {
		return Invalid("name: at most %d bytes", maxName)
	}
	if err := checkMetadata(c.Metadata); err != nil {
		return err
	}
	if err := checkTags(c.Tags); err != nil {
		return err
	}
	return c.checkManagers()
}

func checkTags(tags []string) error {
	return checkEach("tags", tags, maxTags, func(t string) error {
		if t == "" || len(t) > maxTag || strings.Trim(t, "abcdefghijklmnopqrstuvwxyz0123456789-._:") != "" {
			return Invalid("tags: %.100q: give 1 to %d of a-z, 0-9 and -._:", t, maxTag)
		}
		return nil
	})
}

func checkMetadata(m json.RawMessage) error {
	if len(m) == 0 {
		return nil
	}
	if len(m) > maxMetadata {
		return &Rejection{Reason: ReasonMetadataTooLarge, Detail: fmt.Sprintf("metadata: is %d bytes, and at most %d are kept; keep the rest elsewhere, by the id", len(m), maxMetadata)}
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(m, &object); err != nil || object == nil {
		return Invalid("metadata: must be a JSON object")
	}
	return nil
}

// PutConsumer makes a consumer or replaces one.
type PutConsumer struct {
	Consumer Consumer `cbor:"1,keyasint"`
}

// UpdateConsumer changes what is set of a consumer.
type UpdateConsumer struct {
	ID       string    `cbor:"1,keyasint"`
	Name     *string   `cbor:"2,keyasint,omitempty"`
	Metadata []byte    `cbor:"3,keyasint,omitempty"`
	Former   *[]string `cbor:"4,keyasint,omitempty"`
	Tags     *[]string `cbor:"5,keyasint,omitempty"`
	Disabled *bool     `cbor:"6,keyasint,omitempty"`
	// Grantable replaces all of it; empty, it takes it away.
	Managers  *[]Person  `cbor:"20,keyasint,omitempty" since:"2"`
	Grantable *Grantable `cbor:"21,keyasint,omitempty" since:"2"`
	MaxKeys   *uint32    `cbor:"22,keyasint,omitempty" since:"2"`
}

// DeleteConsumer deletes a consumer and its keys.
type DeleteConsumer struct {
	ID string `cbor:"1,keyasint"`
}

// Bounds of a portal session's lifetime, and what it is if none is given.
const (
	MinSession     = time.Minute
	MaxSession     = 12 * time.Hour
	DefaultSession = time.Hour
	// MaxSessions is how many a consumer has: one more ends the oldest.
	MaxSessions = 100
)

// PortalSession lets whoever has its secret manage a consumer's keys for a while.
type PortalSession struct {
	ID       string `json:"id" cbor:"1,keyasint"`
	Consumer string `json:"consumer" cbor:"2,keyasint"`
	// Hash is the SHA-256 of the secret, or what the newest pepper made of that when it was opened (at LevelTrail). It
	// never leaves the cluster.
	Hash KeyHash `json:"-" cbor:"3,keyasint"`
	// ExpiresAt is when it ends by itself: with the consumer, or when that is disabled, it ends before.
	ExpiresAt time.Time `json:"expires_at" cbor:"4,keyasint"`
	CreatedAt time.Time `json:"created_at" cbor:"5,keyasint"`
	CreatedBy string    `json:"created_by" cbor:"6,keyasint,omitempty"`
	Revision  Revision  `json:"revision" cbor:"7,keyasint,omitempty"`
}

const sessionPrefix = "ses_"

// SessionID names the session whose secret has the hash, and tells nothing of either.
func SessionID(h KeyHash) string {
	sum := sha256.Sum256(append([]byte("veto portal session\x00"), h[:]...))
	return sessionPrefix + idText.EncodeToString(sum[:20])
}

// IsSessionID tells whether the id is that of a portal session, and of no API key or person.
func IsSessionID(id string) bool { return strings.HasPrefix(id, sessionPrefix) }

// SessionKey, SessionOfKey and ManagerKey are store keys in TablePortal. The second lists sessions under their
// consumers, and with an empty id is their common prefix; the last, with an empty consumer, is that of all
// consumers that the person manages.
func SessionKey(id string) []byte { return TablePortal.Key([]byte{'s'}, []byte(id)) }

func SessionOfKey(consumer, id string) []byte {
	return TablePortal.Key([]byte{'c'}, []byte(consumer), []byte{0}, []byte(id))
}

func ManagerKey(p Person, consumer string) []byte {
	return TablePortal.Key([]byte{'m'}, []byte(p.ID()), []byte(consumer))
}

// OpenSession makes a portal session, from the command's stamp on.
type OpenSession struct {
	Consumer string        `cbor:"1,keyasint"`
	Hash     KeyHash       `cbor:"2,keyasint"`
	Lifetime time.Duration `cbor:"3,keyasint"`
}

// EndSession ends one.
type EndSession struct {
	Consumer string `cbor:"1,keyasint"`
	ID       string `cbor:"2,keyasint"`
}

// ManageKey creates or rolls an API key of the consumer, in the name of a manager: the person of the
// command's Origin, or the portal session that it is by. One of Create and Roll is given.
type ManageKey struct {
	Consumer string     `cbor:"1,keyasint"`
	Create   *CreateKey `cbor:"2,keyasint,omitempty"`
	Roll     *RollKey   `cbor:"3,keyasint,omitempty"`
}

func (OpenSession) Kind() Kind    { return KindOpenSession }
func (EndSession) Kind() Kind     { return KindEndSession }
func (ManageKey) Kind() Kind      { return KindManageKey }
func (PutConsumer) Kind() Kind    { return KindPutConsumer }
func (DeleteConsumer) Kind() Kind { return KindDeleteConsumer }
func (UpdateConsumer) Kind() Kind { return KindUpdateConsumer }
