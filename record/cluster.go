package record

import (
	"reflect"
	"strconv"
	"time"
)

// Revision is the Raft index at which something became true. It is the cluster's only
// clock for order: of two revisions, the greater is the later. Zero is before everything.
type Revision uint64

// Freshness says how far a node's state reaches.
type Freshness struct {
	// Revision is the last one that the node's index holds entirely.
	Revision Revision
	// AsOf is the time as of which the state is known to be complete: nothing that was
	// committed before it is missing. Zero when the node cannot tell.
	AsOf time.Time
	// Ready is false until the node has caught up with the commit index that the leader
	// reported after this node's start (P10). Nothing may be allowed before.
	Ready bool
	// Missing are revisions that a cluster gave before this one was made of what was left of it: nobody knows
	// here what was done at them. It must not be changed.
	Missing []Span
}

// Span are the revisions between two, without either.
type Span struct {
	After  Revision `cbor:"1,keyasint"`
	Before Revision `cbor:"2,keyasint"`
}

// Holds tells whether the state is based on all that was done up to the revision.
func (f *Freshness) Holds(r Revision) bool {
	if f.Revision < r {
		return false
	}
	for _, m := range f.Missing {
		if m.After < r && r < m.Before {
			return false
		}
	}
	return true
}

// Age is how old the as-of time is by the clock on the wall or by the one that runs in this
// process, whichever says more: the one can be set back, the other stands still while the
// machine sleeps.
func (f Freshness) Age(now time.Time) time.Duration {
	return max(now.Sub(f.AsOf), now.Round(0).Sub(f.AsOf.Round(0)))
}

// NodeRole is a node's part in Raft.
type NodeRole string

// The roles of nodes: a voter votes, a replica only follows and answers.
const (
	NodeVoter   NodeRole = "voter"
	NodeReplica NodeRole = "replica"
)

// NodeStatus is what a cluster knows of one of its nodes.
type NodeStatus struct {
	ID      string   `json:"id" cbor:"1,keyasint"`
	Role    NodeRole `json:"role" cbor:"2,keyasint"`
	Region  string   `json:"region,omitempty" cbor:"3,keyasint,omitempty"`
	Address string   `json:"address" cbor:"4,keyasint"`
	// State is alive, suspect, left or dead, as gossip has it; unknown if it has not.
	State   string   `json:"state" cbor:"5,keyasint"`
	Applied Revision `json:"applied" cbor:"6,keyasint"`
	// LagMillis is how far the node's as-of time is behind; -1 when it could not be asked.
	LagMillis int64  `json:"lag_ms" cbor:"7,keyasint"`
	Version   string `json:"version,omitempty" cbor:"8,keyasint,omitempty"`
	// Level is the highest that the node's program knows; 0 if it could not be asked.
	Level Level `json:"level,omitempty" cbor:"13,keyasint,omitempty"`
	// Why it could not be asked, if it could not; Refused is set if that is because one of it and the node that was asked refuses the other.
	Why     string  `json:"why,omitempty" cbor:"19,keyasint,omitempty"`
	Refused Refused `json:"refused,omitempty" cbor:"20,keyasint,omitempty"`
	// Propagation is what the node that was asked has measured of this one; nil if nothing.
	Propagation *Propagation `json:"propagation,omitempty" cbor:"9,keyasint,omitempty"`
	// AuditHead is the last entry of the node's audit trail, as HASH@REVISION; empty if its trail
	// is not chained yet, or it could not be asked.
	AuditHead string `json:"audit_head,omitempty" cbor:"10,keyasint,omitempty"`
	// Audit says whether the trail of the node that was asked holds that head.
	Audit AuditAgreement `json:"audit,omitempty" cbor:"11,keyasint,omitempty"`
	// Pepper is how the node stands to the peppers; empty if it could not be asked.
	Pepper PepperState `json:"pepper,omitempty" cbor:"12,keyasint,omitempty"`
	// Wants is the role that the node itself has: a replica that wants to be a voter is one in waiting.
	Wants NodeRole `json:"wants,omitempty" cbor:"14,keyasint,omitempty"`
	// Member is false of a node that gossip knows, and the configuration of the cluster does not have.
	Member bool `json:"member" cbor:"15,keyasint,omitempty"`
	// Pending is how many revocations the node has taken that the log does not have.
	Pending int `json:"pending,omitempty" cbor:"16,keyasint,omitempty"`
	// ClockMillis is how far its clock is ahead of that of the node that was asked, to about the time that
	// the answer took.
	ClockMillis int64 `json:"clock_ms,omitempty" cbor:"17,keyasint,omitempty"`
	// Host is what it stands on; nil if it could not be asked.
	Host *NodeHost `json:"host,omitempty" cbor:"18,keyasint,omitempty"`
}

// NodeHost is what a node stands on and does not mend by itself. Secrets are named by fingerprints: the
// first 8 digits of their SHA-256.
type NodeHost struct {
	DiskFree uint64 `json:"disk_free_bytes" cbor:"1,keyasint"`
	DiskSize uint64 `json:"disk_size_bytes" cbor:"2,keyasint"`
	// NodeEndsAt is when the certificate ends that it shows other nodes, and HTTPEndsAt that of its HTTP
	// listeners, if they have one.
	NodeEndsAt time.Time `json:"node_certificate_ends_at,omitzero" cbor:"3,keyasint,omitzero"`
	HTTPEndsAt time.Time `json:"http_certificate_ends_at,omitzero" cbor:"4,keyasint,omitzero"`
	// Authorities are those that it believes, and Signer the one that signed its certificate.
	Authorities []string `json:"authorities,omitempty" cbor:"5,keyasint,omitempty"`
	Signer      string   `json:"signer,omitempty" cbor:"6,keyasint,omitempty"`
	// GossipKeys are those that it reads, the one that it speaks by first.
	GossipKeys []string `json:"gossip_keys,omitempty" cbor:"7,keyasint,omitempty"`
	// Unread is why its certificates or gossip keys as they are on its disk are not those in use; empty if
	// they are.
	Unread string `json:"unread,omitempty" cbor:"8,keyasint,omitempty"`
}

// MemberAction is what may be done with a node's membership.
type MemberAction string

// The actions. Who leaves does so in order, with all that it holds told to the others; who is removed is
// gone. A role is kept by the node that has it.
const (
	MemberLeave   MemberAction = "leave"
	MemberRemove  MemberAction = "remove"
	MemberPromote MemberAction = "promote"
	MemberDemote  MemberAction = "demote"
)

// MemberChange is what an operator wants of a node.
type MemberChange struct {
	Action MemberAction `cbor:"1,keyasint"`
	Node   string       `cbor:"2,keyasint"`
	// Force removes a node that answers.
	Force bool `cbor:"3,keyasint,omitempty"`
}

// MemberChanged is what became of it.
type MemberChanged struct {
	Node string `json:"node" cbor:"1,keyasint"`
	// Done is false if it has begun, and Detail says where to see that it is done.
	Done   bool   `json:"done" cbor:"2,keyasint"`
	Detail string `json:"detail" cbor:"3,keyasint"`
}

// Refused is what one of two nodes does not take the other for: its certificate is refused, or it is of another cluster.
type Refused string

// What nodes refuse each other for.
const (
	RefusedCertificate Refused = "certificate"
	RefusedCluster     Refused = "cluster"
)

// AuditAgreement is whether two nodes have the same audit trail; empty if it cannot be told now.
type AuditAgreement string

// The agreements.
const (
	AuditAgrees  AuditAgreement = "agrees"
	AuditDiffers AuditAgreement = "differs"
)

// Propagation is how long a node takes to deny what another has revoked, from when that has taken
// it until it has this node's word. The way of the word back is in it: so it is a bound from above.
type Propagation struct {
	// P50Millis and P99Millis are -1 when that many were not confirmed, or the last one was not:
	// a node that is gone is not shown as fast as it once was.
	P50Millis float64 `json:"p50_ms" cbor:"1,keyasint"`
	P99Millis float64 `json:"p99_ms" cbor:"2,keyasint"`
	// Samples are those that were confirmed of the last ones, and Failed those that were not in
	// time.
	Samples int `json:"samples" cbor:"3,keyasint"`
	Failed  int `json:"failed" cbor:"4,keyasint"`
}

// ClusterStatus is the cluster as one node sees it.
type ClusterStatus struct {
	ID       string   `json:"id"`
	Leader   string   `json:"leader"`
	Revision Revision `json:"revision"`
	// Level is the one in force: what needs a higher one is refused.
	Level Level `json:"level"`
	// LeakedKeys are the API keys that go on though a secret of theirs is known where anyone can read it.
	LeakedKeys int          `json:"leaked_keys,omitempty"`
	Nodes      []NodeStatus `json:"nodes"`
	// Of the Voters, so many Answer, and so many more may be lost before nothing can be changed; below 0 if
	// nothing can be now.
	Voters  int `json:"voters"`
	Answer  int `json:"voters_answer"`
	CanLose int `json:"can_lose"`
	// Problems are what is wrong, the graver first.
	Problems []ClusterProblem `json:"problems"`
}

// Severity says how soon a problem is to be mended: a grave one now, a warning soon, a note if one likes.
type Severity string

// The severities, the graver first.
const (
	Grave   Severity = "grave"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Severities are all of them, the graver first.
var Severities = []Severity{Grave, Warning, Note}

// ClusterProblem is something that is wrong with a cluster.
type ClusterProblem struct {
	Severity Severity `json:"severity"`
	// Code is a stable word for it.
	Code  string   `json:"code"`
	Nodes []string `json:"nodes,omitempty"`
	// What is wrong, and what mends it, for people.
	What string `json:"what"`
	Mend string `json:"mend"`
}

// The states of a receipt.
const (
	// StateCommitted is that of a revocation that the log has.
	StateCommitted = "committed"
	// StatePending is that of one that a node has taken, and proposes until the log has it.
	StatePending = "pending"
)

// Receipt is the answer to a revocation: its revision, and where it is enforced by now. If it adds nothing to what
// stood before, that is what the receipt tells of.
type Receipt struct {
	ID string `json:"id"`
	// Revision is zero while it is pending.
	Revision Revision `json:"revision,omitempty"`
	// State is committed or pending.
	State string `json:"state"`
	// NotBefore is zero when it denies whatever was issued, and KeptUntil when it is kept until someone lifts it.
	NotBefore time.Time `json:"not_before,omitzero"`
	KeptUntil time.Time `json:"kept_until,omitzero"`
	// EnforcedOn names the nodes that said that their index holds it, and no others.
	EnforcedOn []string `json:"enforced_on"`
	PendingOn  []string `json:"pending_on"`
	// DurableOn names, while it is pending, the node that keeps it on disk until the log has it.
	DurableOn []string `json:"durable_on,omitempty"`
}

// Remembered is what is kept of a request with an Idempotency-Key, for at least a day.
type Remembered struct {
	Sum    [32]byte `cbor:"1,keyasint"`
	Result Result   `cbor:"2,keyasint"`
}

// Notice is an early word of revocations, sent ahead of the log. It only adds denials. It comes
// from a committed entry, or from an outbox that proposes them until they are committed (P1).
type Notice struct {
	// Cluster is the id of the cluster that it is about; others ignore it.
	Cluster string `cbor:"1,keyasint"`
	// Revision of the committed entry; zero if it comes from an outbox.
	Revision    Revision     `cbor:"2,keyasint,omitempty"`
	Revocations []Revocation `cbor:"3,keyasint"`
	// Outbox and First say which items of the outbox they are, and Node whose it is.
	Outbox OutboxID `cbor:"4,keyasint,omitempty"`
	First  uint64   `cbor:"5,keyasint,omitempty"`
	Node   string   `cbor:"6,keyasint,omitempty"`
	// Requests are how the requests for the revocations name themselves, if one of them does: so
	// whoever brings them into the log does no request twice.
	Requests []Request `cbor:"7,keyasint,omitempty"`
	// Unkept says that the outbox is only just writing them to its disk: they may never have been
	// taken, and their numbers be those of others then.
	Unkept bool `cbor:"8,keyasint,omitempty"`
	// Trace carries the trace of the first request that is told of.
	Trace string `cbor:"9,keyasint,omitempty"`
}

// Request is that for the revocation in the place.
func (n *Notice) Request(i int) Request {
	if i >= len(n.Requests) {
		return Request{}
	}
	return n.Requests[i]
}

// Beacon is the leader's word on how far the log reaches. The leader sends one only after a
// majority of the voters has confirmed, later than At, that it leads.
type Beacon struct {
	Cluster string `cbor:"1,keyasint"`
	Leader  string `cbor:"2,keyasint"`
	Term    uint64 `cbor:"3,keyasint"`
	// Commit is the revision that the leader had applied at At or later: all that it had
	// answered for before At is in it.
	Commit Revision  `cbor:"4,keyasint"`
	At     time.Time `cbor:"5,keyasint"`
}

// PepperID numbers a pepper: 1 and up, without gaps.
type PepperID uint32

// MaxPeppers is how many peppers there may be at a time.
const MaxPeppers = 3

// Pepper is a secret of the cluster that hashes of API keys are made with. It is known only to nodes
// that have the key which wraps it.
type Pepper struct {
	ID PepperID `json:"id" cbor:"1,keyasint"`
	// Wrapped is the secret, encrypted: a nonce and what AES-256-GCM makes of it.
	Wrapped []byte `json:"-" cbor:"2,keyasint"`
	// WrappedBy is the fingerprint of the key that wraps it.
	WrappedBy string `json:"wrapped_by" cbor:"3,keyasint"`
	// MadeAt is set when the command is applied, as are Revision and WrappedAt, of the last change.
	MadeAt    time.Time `json:"made_at" cbor:"4,keyasint"`
	WrappedAt time.Time `json:"wrapped_at" cbor:"5,keyasint"`
	Revision  Revision  `json:"revision" cbor:"6,keyasint"`
}

// Bounds of what is in a Pepper.
const (
	maxWrapped     = 256
	maxFingerprint = 64
)

// Check reports what is wrong with the pepper as a node made it, or nil.
func (p *Pepper) Check() error {
	if p.ID == 0 || len(p.Wrapped) == 0 || len(p.Wrapped) > maxWrapped || p.WrappedBy == "" || len(p.WrappedBy) > maxFingerprint {
		return Invalid("pepper: has no id, or nothing in it that can be one")
	}
	return nil
}

// Chain is by which peppers the hash of a secret is made, one after the other, from the SHA-256 of
// it: From to To. The zero Chain is the SHA-256 itself.
type Chain struct {
	_        struct{} `cbor:",toarray"`
	From, To PepperID
}

// IsZero tells whether the hash is made without a pepper.
func (c Chain) IsZero() bool { return c == Chain{} }

// Needs tells whether the pepper is one of them.
func (c Chain) Needs(p PepperID) bool { return c.From <= p && p <= c.To }

// ChainOf is the chain of one pepper; zero of none.
func ChainOf(p PepperID) Chain { return Chain{From: p, To: p} }

// Through is the chain that goes on to the pepper.
func (c Chain) Through(p PepperID) Chain {
	if c.IsZero() {
		return ChainOf(p)
	}
	return Chain{From: c.From, To: p}
}

// PutPepper adds the next pepper, or wraps one that is there anew. Of MaxPeppers the oldest is dropped
// if no key needs it.
type PutPepper struct {
	Pepper Pepper `cbor:"1,keyasint"`
}

// RehashKeys gives secrets of keys hashes that end with the newest pepper; at most MaxRehashes.
type RehashKeys struct {
	Keys []Rehash `cbor:"1,keyasint"`
}

// Rehash is one secret of a RehashKeys. It is left out if the key has no hash Old by now.
type Rehash struct {
	_        struct{} `cbor:",toarray"`
	ID       string
	Old, New KeyHash
	Chain    Chain // of New
}

// Rehashed is of a Change: the key is found by other hashes, and has changed in nothing else.
type Rehashed struct{ Key, Was *APIKey }

// Kind of each body.
func (PutPepper) Kind() Kind  { return KindPutPepper }
func (RehashKeys) Kind() Kind { return KindRehashKeys }

// PepperState is how a node stands to the peppers of its cluster.
type PepperState string

// The states.
const (
	// PepperNone: the node was given no key that wraps peppers, and the cluster has none.
	PepperNone PepperState = "none"
	// PepperHeld: it has such a key, and knows all peppers that there are.
	PepperHeld PepperState = "held"
	// PepperLocked: there is a pepper that it cannot unwrap.
	PepperLocked PepperState = "locked"
)

// PepperStatus is what is told of the peppers.
type PepperStatus struct {
	// State of the node that was asked.
	State   PepperState `json:"state"`
	Peppers []Pepper    `json:"peppers"`
	// Keys are how many secrets there are by each chain.
	Keys []ChainCount `json:"keys"`
}

// ChainCount is how many secrets have hashes by the chain, the peppers with these ids; none for
// the plain SHA-256.
type ChainCount struct {
	Peppers []PepperID `json:"peppers"`
	Secrets int        `json:"secrets"`
}

// Level numbers what programs know of commands. A version that gives them a new kind, field or meaning
// takes the next, and names it there: at the kind in kindLevels, at the field as `since`.
type Level uint16

// The levels.
const (
	// LevelFirst is that of nodes that say none.
	LevelFirst Level = 1
	// LevelKeys came with roles, limits, rolls, peppers and managers of API keys, and with conditions.
	LevelKeys Level = 2
	// LevelTrail came with an audit trail that is cut, with portal sessions that are bounded and stored by a
	// pepper, with ids of issuers that do not pass to another iss while they name managers, with lines of
	// streams that are tried again, with requests that are known by a clock that is behind, and with revocations
	// of a stream that are kept without what they have in common and come in larger parts.
	LevelTrail Level = 3

	LevelNewest = LevelTrail
)

// kindLevels are those of kinds that came after the first.
var kindLevels = [...]Level{
	KindPutPepper: LevelKeys, KindRehashKeys: LevelKeys, KindRollKey: LevelKeys, KindDrawQuota: LevelKeys,
	KindPutRole: LevelKeys, KindDeleteRole: LevelKeys, KindOpenSession: LevelKeys, KindEndSession: LevelKeys,
	KindMarkLeaked: LevelKeys, KindManageKey: LevelKeys, KindCutAudit: LevelTrail,
}

// RaiseLevel has commands be taken that need the level. The leader proposes it once every node has said
// that it knows so much; it is never lowered.
type RaiseLevel struct {
	To Level `json:"level" cbor:"1,keyasint"`
}

// Kind of the body.
func (RaiseLevel) Kind() Kind { return KindRaiseLevel }

// Level is the lowest at which a program does the command as it is meant.
func (c *Command) Level() Level {
	least := LevelFirst
	if k := c.Body.Kind(); int(k) < len(kindLevels) && !c.Skippable {
		least = max(least, kindLevels[k])
	}
	if c.Condition.When != WhenAny || c.Ahead != 0 {
		least = max(least, LevelKeys)
	}
	if b, ok := c.Body.(Import); ok && len(b.Items) > MaxImportAt(LevelFirst) {
		least = max(least, LevelTrail)
	}
	return max(least, levelOf(reflect.ValueOf(c.Body)), levelOf(reflect.ValueOf(c.From)))
}

// levelOf is the highest of the fields that are set.
func levelOf(v reflect.Value) (highest Level) {
	if !hasLevels(v.Type()) || v.IsZero() {
		return 0
	}
	switch v.Kind() {
	case reflect.Pointer:
		return levelOf(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			highest = max(highest, levelOf(v.Index(i)))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				continue
			}
			since, _ := strconv.ParseUint(v.Type().Field(i).Tag.Get("since"), 10, 16) // none is none
			highest = max(highest, Level(since), levelOf(v.Field(i)))
		}
	}
	return highest
}

// hasLevels tells whether a field of such a value, or of what is in it, came after the first level. So
// what is long and has none is not gone through.
func hasLevels(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return hasLevels(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.IsExported() && (f.Tag.Get("since") != "" || hasLevels(f.Type)) {
				return true
			}
		}
	}
	return false
}
