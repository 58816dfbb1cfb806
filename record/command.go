package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"veto/record/limit"
)

// MaxCommand bounds an encoded command, in bytes.
const MaxCommand = 1 << 20

// MaxRequestKey bounds a Request's Key, in bytes: a longer one could not be read back from the log.
const MaxRequestKey = 255

// MaxRevocations bounds the revocations of one Revoke or Deliver command, MaxImport those of one
// Import, MaxKeysUsed the keys of one KeysUsed, and MaxRehashes the hashes of one RehashKeys.
const (
	MaxRevocations = 512
	MaxImport      = 16384
	MaxKeysUsed    = 4096
	MaxRehashes    = 2048
)

// Kind is the kind of a command. The numbers are in the log and never change.
type Kind uint16

// The kinds.
const (
	KindFound          Kind = 1
	KindPutIssuer      Kind = 2
	KindDeleteIssuer   Kind = 3
	KindPutSigningKeys Kind = 4
	KindPutConsumer    Kind = 5
	KindDeleteConsumer Kind = 6
	KindCreateKey      Kind = 7
	KindUpdateKey      Kind = 8
	KindDeleteKey      Kind = 9
	KindRevoke         Kind = 10
	KindLift           Kind = 11
	KindExpire         Kind = 12
	KindDeliver        Kind = 13
	KindImport         Kind = 14
	KindPutPepper      Kind = 15
	KindRehashKeys     Kind = 16
	KindRollKey        Kind = 17
	KindKeysUsed       Kind = 18
	KindDrawQuota      Kind = 20
	KindPutRole        Kind = 21
	KindDeleteRole     Kind = 22
	KindOpenSession    Kind = 23
	KindEndSession     Kind = 24
	KindChainAudit     Kind = 25
	KindMarkLeaked     Kind = 26
	KindManageKey      Kind = 28
	KindUpdateConsumer Kind = 30
	KindRaiseLevel     Kind = 31
	KindCutAudit       Kind = 32
)

var kindNames = [...]string{
	KindFound: "found", KindPutIssuer: "put_issuer", KindDeleteIssuer: "delete_issuer",
	KindPutSigningKeys: "put_signing_keys", KindPutConsumer: "put_consumer",
	KindDeleteConsumer: "delete_consumer", KindCreateKey: "create_key",
	KindUpdateKey: "update_key", KindDeleteKey: "delete_key", KindRevoke: "revoke",
	KindLift: "lift", KindExpire: "expire", KindDeliver: "deliver", KindImport: "import",
	KindUpdateConsumer: "update_consumer", KindChainAudit: "chain_audit",
	KindDrawQuota: "draw_quota", KindRollKey: "roll_key",
	KindKeysUsed:    "keys_used",
	KindOpenSession: "open_session", KindEndSession: "end_session", KindManageKey: "manage_key",
	KindPutPepper: "put_pepper", KindRehashKeys: "rehash_keys",
	KindMarkLeaked: "mark_leaked", KindRaiseLevel: "raise_level", KindCutAudit: "cut_audit",
	KindPutRole: "put_role", KindDeleteRole: "delete_role",
}

// String is the name of the kind, as in the audit trail.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint16(k))
}

// Body is what a command asks for: one of the types below.
type Body interface{ Kind() Kind }

// Found is the first command of a cluster: it names it and makes its first operator's key.
type Found struct {
	ClusterID string    `cbor:"1,keyasint"`
	DigestKey DigestKey `cbor:"2,keyasint"`
	Admin     APIKey    `cbor:"3,keyasint"`
	// ChainAudit begins the audit trail's chain of hashes with this command.
	ChainAudit bool `cbor:"4,keyasint,omitempty"`
	// Level is one that all nodes that found the cluster know; zero for the first.
	Level Level `cbor:"5,keyasint,omitempty"`
}

// ChainAudit begins the audit trail's chain of hashes, in a cluster that was founded without. Where
// it has begun, nothing is done. It is in logs of old: RaiseLevel does that now.
type ChainAudit struct{}

// CutAudit removes the entries of the audit trail through one of the chain, which has the hash, as they are older
// than they are kept. Where there is no such entry, or it is the last, nothing is done.
type CutAudit struct {
	Through Revision `cbor:"1,keyasint"`
	Number  uint16   `cbor:"2,keyasint,omitempty"`
	Hash    [32]byte `cbor:"3,keyasint"`
}

// Kind of each body.
func (ChainAudit) Kind() Kind { return KindChainAudit }
func (CutAudit) Kind() Kind   { return KindCutAudit }
func (Found) Kind() Kind      { return KindFound }
func (Deliver) Kind() Kind    { return KindDeliver }

// Request identifies the request that a command came from, so that it is done once.
type Request struct {
	// Key is the caller's Idempotency-Key; empty when the caller gave none.
	Key string `cbor:"1,keyasint,omitempty"`
	// Sum is the SHA-256 of what was asked for: the same Key with another Sum is refused.
	Sum [32]byte `cbor:"2,keyasint,omitempty"`
}

// Command is one change that the cluster agrees on.
type Command struct {
	// Skippable says that a node that does not know the kind may leave the command out.
	Skippable bool
	// Stamp is the leader's time when it took the command. Apply knows no other time.
	Stamp time.Time
	// Ahead is how far the foremost clock of the voters is ahead of Stamp, if it is worth a word: what must be
	// kept long enough is kept by that one.
	Ahead time.Duration
	// By is the id of the API key that asked for it, or what stands for who else did (Person.ID); empty
	// for the cluster itself.
	By string
	// From is the way by which it came to the cluster.
	From    Origin
	Request Request
	// Condition is what must be so of the record that Body is about, or nothing is done.
	Condition Condition
	Body      Body
}

// maxAhead bounds Command.Ahead: no clock that has lost its battery is further behind.
const maxAhead = 100 * 365 * 24 * time.Hour

// MaxConditions bounds the revisions of one Condition.
const MaxConditions = 16

// Condition says how the record that a command is about must be for the command to be done. The zero
// Condition is always met.
type Condition struct {
	When When `cbor:"1,keyasint"`
	// Revisions are, with WhenRevision, those of which the record must have one; with none it is never met.
	Revisions []Revision `cbor:"2,keyasint,omitempty"`
}

// When is what a Condition asks for. The numbers are in the log and never change.
type When uint8

// What a Condition asks for.
const (
	WhenAny      When = 0 // nothing
	WhenRevision When = 1 // the record is there, at one of the revisions
	WhenThere    When = 2 // the record is there
	WhenAbsent   When = 3 // there is no such record
)

// Met tells whether a record at the revision, 0 if there is none, is as the condition says.
func (c Condition) Met(r Revision) bool {
	switch c.When {
	case WhenAny:
		return true
	case WhenRevision:
		return r != 0 && slices.Contains(c.Revisions, r)
	case WhenThere:
		return r != 0
	}
	return r == 0
}

func (c Condition) check() error {
	if c.When > WhenAbsent || len(c.Revisions) > MaxConditions || c.When != WhenRevision && len(c.Revisions) > 0 {
		return fmt.Errorf("condition: of kind %d with %d revisions", c.When, len(c.Revisions))
	}
	return nil
}

// Origin is the way by which a command came to the cluster.
type Origin struct {
	// Node is the node that took it.
	Node string `json:"node,omitempty" cbor:"1,keyasint,omitempty"`
	// Way is one of the ways below.
	Way string `json:"way,omitempty" cbor:"2,keyasint,omitempty"`
	// Address of the client, as that node saw it; of a message of JetStream, its place there.
	Address string `json:"address,omitempty" cbor:"3,keyasint,omitempty"`
	// Person asked, if it was no API key that did.
	Person Person `json:"person,omitzero" cbor:"10,keyasint,omitzero" since:"2"`
}

// The ways of an Origin.
const (
	WayHTTP      = "http"
	WayNATS      = "nats"
	WayJetStream = "jetstream"
	WayScanning  = "secret_scanning" // a signed report of GitHub's
	WayCluster   = "cluster"         // the cluster's own doing: nobody asked
)

// Result is what came of an applied command.
type Result struct {
	// Revision at which the command took effect. For a repeated request, that of the first.
	Revision Revision `cbor:"1,keyasint"`
	// Ref is the id of the record that the command made or changed, if it is about one.
	Ref string `cbor:"2,keyasint,omitempty"`
	// Repeated says that the request had been done before and nothing was changed now.
	Repeated bool `cbor:"3,keyasint,omitempty"`
	// Rejection, if not nil, says why nothing was changed.
	Rejection *Rejection `cbor:"4,keyasint,omitempty"`
	// Before is the number of the last item that had been done before, and Refused those now
	// that were not; of a Deliver or an Import.
	Before  uint64    `cbor:"5,keyasint,omitempty"`
	Refused []Refusal `cbor:"6,keyasint,omitempty"`
	// Kept are until when the revocations are kept; of a Deliver from the item after Before on.
	// It is not remembered with the request.
	Kept []Kept `cbor:"7,keyasint,omitempty"`
	// Drawn are what came of a DrawQuota, in its order.
	Drawn []limit.Drawn `cbor:"30,keyasint,omitempty"`
	// Sum is, of an Import, that of all lines through the last one that is done.
	Sum []byte `cbor:"8,keyasint,omitempty"`
	// Missing are, of an Import, the numbers through Before that were refused, in their order, and no more
	// than MaxMissing and one: then not all are known.
	Missing []uint64 `cbor:"9,keyasint,omitempty"`
}

// MaxMissing is how many refused items of a stream are remembered.
const MaxMissing = 4096

// Misses tells whether the item is done and was refused.
func (r *Result) Misses(number uint64) bool {
	_, found := slices.BinarySearch(r.Missing, number)
	return found
}

// Reason tells why a command was not done. The strings cross the wire and never change.
type Reason string

// The reasons.
const (
	ReasonInvalid  Reason = "invalid"   // what was asked for makes no sense
	ReasonNotFound Reason = "not_found" // it names something that is not there
	ReasonConflict Reason = "conflict"  // it contradicts what is there
	ReasonGap      Reason = "gap"       // it is part of a stream, and what comes before it is not there yet

	// ReasonOlderNodes says that some nodes run a version that does not know what is asked for.
	ReasonOlderNodes Reason = "older_nodes"

	// ReasonPrecondition says that the record is not as the command's Condition says.
	ReasonPrecondition Reason = "precondition_failed"

	// Of values that are wrong in a way of their own.
	ReasonExpiryInPast     Reason = "expiry_in_past"
	ReasonMetadataTooLarge Reason = "metadata_too_large"
	ReasonUnknownRole      Reason = "unknown_role"

	// ReasonDuplicateKey is a conflict: the secret is that of an API key that is there.
	ReasonDuplicateKey Reason = "duplicate_key"

	// ReasonPepperChanged says that a hash is not by the newest pepper: make it again. Only nodes see it.
	ReasonPepperChanged Reason = "pepper_changed"
	// ReasonPeppersInUse says that there are as many peppers as there may be, and keys need them all.
	ReasonPeppersInUse Reason = "peppers_in_use"

	// Of a secret that is to be replaced, though that would be of no use, or take another from someone.
	ReasonKeyRevoked  Reason = "key_revoked"
	ReasonKeyDisabled Reason = "key_disabled"
	ReasonKeyExpired  Reason = "key_expired"
	ReasonKeyRotating Reason = "key_rotating"
)

// Rejection is the answer to a command that was understood and not done. The state is
// unchanged. Detail is safe to show to whoever sent the command.
type Rejection struct {
	Reason Reason `json:"reason" cbor:"1,keyasint"`
	Detail string `json:"detail" cbor:"2,keyasint"`
	// Present is, with ReasonPrecondition, the record's revision; 0 if there is no record.
	Present Revision `json:"present,omitempty" cbor:"3,keyasint,omitempty"`
}

func (r *Rejection) Error() string { return r.Detail }

// Invalid is a rejection with ReasonInvalid.
func Invalid(format string, args ...any) *Rejection {
	return &Rejection{Reason: ReasonInvalid, Detail: fmt.Sprintf(format, args...)}
}

// NotFound is a rejection with ReasonNotFound.
func NotFound(format string, args ...any) *Rejection {
	return &Rejection{Reason: ReasonNotFound, Detail: fmt.Sprintf(format, args...)}
}

// Conflict is a rejection with ReasonConflict.
func Conflict(format string, args ...any) *Rejection {
	return &Rejection{Reason: ReasonConflict, Detail: fmt.Sprintf(format, args...)}
}

// ErrOutcomeUnknown says that a command may or may not have been done: the leader was lost
// while it waited. Sending it again with the same idempotency key is harmless.
var ErrOutcomeUnknown = errors.New("the leader was lost before it could tell whether the change was made; send it again with the same Idempotency-Key")

// Unavailable is the answer to a command that was not done and could not be: there is no
// leader, or no quorum. It may be tried again after RetryAfter.
type Unavailable struct {
	Detail     string
	RetryAfter time.Duration
}

func (u *Unavailable) Error() string { return u.Detail }

// A command's header: format, flags, kind. The rest is the envelope in CBOR.
const (
	commandFormat   = 1
	flagSkippable   = 1
	flagConditional = 2 // a node that does not know conditions must not do the command without
	commandHeader   = 4
	knownFlags      = flagSkippable | flagConditional
	commandByMaxLen = 63
)

type envelope struct {
	StampMillis int64      `cbor:"1,keyasint,omitempty"`
	By          string     `cbor:"2,keyasint,omitempty"`
	Request     Request    `cbor:"3,keyasint,omitzero"`
	Body        rawMessage `cbor:"4,keyasint"`
	From        Origin     `cbor:"5,keyasint,omitzero"`
	Condition   *Condition `cbor:"6,keyasint,omitempty"`
	AheadMillis uint64     `cbor:"7,keyasint,omitempty"`
}

// UnknownCommandError says that a command is of a format or kind, or has a field, that this program does
// not know. If Skippable is false, a node must stop rather than go on without it (P11).
type UnknownCommandError struct {
	Format    uint8
	Kind      Kind
	Skippable bool
}

func (e *UnknownCommandError) Error() string {
	return fmt.Sprintf("the log holds a command (format %d, %s) that this version of veto does not know, or not all of; start a version that does", e.Format, e.Kind)
}

// notDecoded is why a command was not read.
func notDecoded(err error, kind Kind, skippable bool) error {
	if errors.Is(err, errUnknownField) {
		return &UnknownCommandError{Format: commandFormat, Kind: kind, Skippable: skippable}
	}
	return fmt.Errorf("command %s: %w", kind, err)
}

var errShortCommand = errors.New("command: shorter than its header")

// Encode returns the byte form of the command.
func (c *Command) Encode() ([]byte, error) {
	if len(c.Request.Key) > MaxRequestKey {
		return nil, Invalid("Idempotency-Key: at most %d bytes", MaxRequestKey)
	}
	if len(c.By) > commandByMaxLen {
		return nil, fmt.Errorf("command: who asked for it has a name of %d bytes", len(c.By))
	}
	body, err := Encode(c.Body)
	if err != nil {
		return nil, err
	}
	e := envelope{By: c.By, From: c.From, Request: c.Request, Body: body}
	if !c.Stamp.IsZero() {
		e.StampMillis = c.Stamp.UnixMilli()
	}
	e.AheadMillis = uint64(min(max(c.Ahead, 0), maxAhead).Milliseconds())
	if c.Condition.When != WhenAny {
		if err := c.Condition.check(); err != nil {
			return nil, err
		}
		e.Condition = &c.Condition
	}
	rest, err := Encode(e)
	if err != nil {
		return nil, err
	}
	out := make([]byte, commandHeader, commandHeader+len(rest))
	out[0] = commandFormat
	if c.Skippable {
		out[1] |= flagSkippable
	}
	if e.Condition != nil {
		out[1] |= flagConditional
	}
	binary.BigEndian.PutUint16(out[2:], uint16(c.Body.Kind()))
	out = append(out, rest...)
	if len(out) > MaxCommand {
		return nil, Invalid("the change is %d bytes; at most %d fit in one", len(out), MaxCommand)
	}
	return out, nil
}

// DecodeCommand reads the byte form. A command of an unknown format or kind, or with a field that is
// unknown, gives an *UnknownCommandError.
func DecodeCommand(b []byte) (Command, error) {
	if len(b) < commandHeader {
		return Command{}, errShortCommand
	}
	format, flags, kind := b[0], b[1], Kind(binary.BigEndian.Uint16(b[2:]))
	skippable := flags&flagSkippable != 0
	if format != commandFormat || flags&^knownFlags != 0 || !kind.known() {
		return Command{}, &UnknownCommandError{Format: format, Kind: kind, Skippable: skippable}
	}
	if len(b) > MaxCommand {
		return Command{}, fmt.Errorf("command: %d bytes, over the limit of %d", len(b), MaxCommand)
	}
	var e envelope
	if err := decodeWhole(b[commandHeader:], &e); err != nil {
		return Command{}, notDecoded(err, kind, skippable)
	}
	if e.AheadMillis > uint64(maxAhead.Milliseconds()) {
		return Command{}, fmt.Errorf("command %s: a clock in it is further ahead than any", kind)
	}
	if len(e.By) > commandByMaxLen || len(e.Request.Key) > MaxRequestKey {
		return Command{}, fmt.Errorf("command %s: an id in it is too long", kind)
	}
	decoded, err := decodeBody(kind, e.Body)
	if err != nil {
		return Command{}, notDecoded(err, kind, skippable)
	}
	c := Command{Skippable: skippable, Ahead: time.Duration(e.AheadMillis) * time.Millisecond, By: e.By, From: e.From, Request: e.Request, Body: decoded}
	if (flags&flagConditional != 0) != (e.Condition != nil) {
		return Command{}, fmt.Errorf("command %s: its header and its envelope differ about a condition", kind)
	}
	if e.Condition != nil {
		if err := e.Condition.check(); err != nil {
			return Command{}, fmt.Errorf("command %s: %w", kind, err)
		}
		c.Condition = *e.Condition
	}
	if e.StampMillis != 0 {
		c.Stamp = time.UnixMilli(e.StampMillis).UTC()
	}
	return c, nil
}

// Record is one of the records that the cluster agrees on.
type Record interface{ record() }

func (*Issuer) record()      {}
func (*SigningKeys) record() {}
func (*Consumer) record()    {}
func (*APIKey) record()      {}
func (*DefinedRole) record() {}

func (*PortalSession) record() {}
func (*Revocation) record()    {}
func (*Expiry) record()        {}
func (*Delivered) record()     {}
func (*Pepper) record()        {}
func (*Rehashed) record()      {}
func (*RaiseLevel) record()    {}

// Change is one record that an applied command wrote or took away. A Gone change holds the
// record as it was, or, for a lifted revocation, one of those that are gone.
type Change struct {
	Record Record
	Gone   bool
	// Digest is that of a revocation's name: who makes the change has it, and others need not make it again.
	Digest Digest
	// Was is the record before, of an API key that was there and has another secret now, or one less.
	Was Record
}
