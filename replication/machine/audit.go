package machine

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"veto/record"
	"veto/record/trail"
)

// headKey is where the last entry of the audit trail's chain is told; nothing is there before the
// chain has begun.
var headKey = record.TableMeta.Key([]byte("audit/head"))

// AuditHead reads the last entry of the audit trail's chain; false if the chain has not begun.
func AuditHead(s Reader) (trail.Head, bool, error) { return get[trail.Head](s, headKey) }

// anchorKey is where the last entry is told that was removed; nothing is there before one was.
var anchorKey = record.TableMeta.Key([]byte("audit/anchor"))

// AuditAnchor reads the entry behind which the audit trail begins, since what was older was removed; false if
// nothing was.
func AuditAnchor(s Reader) (trail.Head, bool, error) { return get[trail.Head](s, anchorKey) }

const (
	maxAuditRefs    = 10
	maxAuditChanges = 64
	maxAuditText    = 256 // in bytes
)

// audit gathers what goes into the next entry of the audit trail.
type audit struct {
	who     string // the name of who asked
	refs    []string
	kinds   []string
	more    uint32
	sum     hash.Hash // over what is more
	changes []trail.Change
	reason  string
	number  uint16            // of the next entry at this revision
	head    *trail.Head       // of the chain, once it was read; nil as well if there is none
	read    bool              // the head was
	moved   bool              // the head has, since
	names   map[string]string // of keys, by id, as far as they were read
}

func (a *audit) any() bool { return len(a.refs) > 0 }

// begin begins the chain with the next entry.
func (a *audit) begin() { a.head, a.read = &trail.Head{}, true }

// record notes a record that was changed.
func (a *audit) record(kind, id string) {
	if len(a.refs) < maxAuditRefs {
		a.refs, a.kinds = append(a.refs, id), append(a.kinds, kind)
		return
	}
	a.another([]byte(id))
}

// revocation notes one that was made. Its id is made only if anyone will see it.
func (a *audit) revocation(d record.Digest) {
	if len(a.refs) < maxAuditRefs {
		a.record(kindRevocation, d.RevocationID())
		return
	}
	a.another(d[:])
}

func (a *audit) another(id []byte) {
	if a.sum == nil {
		a.sum = sha256.New()
	}
	a.more++
	_, _ = a.sum.Write(id) // a hash never fails
}

const kindRevocation = "revocation"

func kindOf(r record.Record) string {
	switch r.(type) {
	case *record.Issuer:
		return "issuer"
	case *record.SigningKeys:
		return "signing_keys"
	case *record.Consumer:
		return "consumer"
	case *record.APIKey:
		return "key"
	case *record.DefinedRole:
		return "role"
	case *record.PortalSession:
		return "portal_session"
	case *record.Pepper:
		return "pepper"
	case *record.Revocation:
		return kindRevocation
	case *record.Expiry:
		return "revocations_until"
	case *record.RaiseLevel:
		return "level"
	}
	return "other"
}

// shown are the fields of records of which the audit trail says what they were and are. Of all
// others it says that they were changed: they may hold what is nobody's business in a year.
var shown = []string{
	"algorithms", "allow_no_expiry", "allow_no_issued_at", "audiences", "consumer", "consumers", "disabled", "discovery",
	"environment", "expires_at", "grantable", "imported", "issuer", "issuers", "jwks_uri", "leaked_at", "leeway", "limits", "max_keys", "max_lifetime", "max_staleness", "name", "operators", "preset",
	"roles", "rotating", "scopes", "shared_secret", "tags", "targets", "types", "wrapped_by",
}

// unremarkable are fields that change with every change.
var unremarkable = []string{"id", "revision", "created_at", "rolled_at", "hint", "made_at", "wrapped_at"}

// altered notes what differs between two states of a record; was may be a zero value.
func (a *audit) altered(id string, was, is any) {
	before, after := fieldsOf(was), fieldsOf(is)
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, f := range slices.Sorted(maps.Keys(all)) {
		if slices.Contains(unremarkable, f) || bytes.Equal(before[f], after[f]) {
			continue
		}
		c := trail.Change{Of: id, Field: f}
		if slices.Contains(shown, f) {
			c.From, c.To = text(before[f]), text(after[f])
		}
		a.change(c)
	}
}

// fieldsOf are the fields that people see of a record. A record that has no JSON has none.
func fieldsOf(v any) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	b, err := json.Marshal(v)
	if err != nil || json.Unmarshal(b, &fields) != nil || fields == nil {
		return map[string]json.RawMessage{}
	}
	return fields
}

// rekeyed notes which keys an issuer had and has.
func (a *audit) rekeyed(id string, was, is []record.SigningKey) {
	a.change(trail.Change{Of: id, Field: "keys", From: text(kids(was)), To: text(kids(is))})
}

func kids(keys []record.SigningKey) []byte {
	if len(keys) == 0 {
		return nil
	}
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.KID
		if k.Status == record.SigningKeyRetired {
			all[i] += " (retired)"
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil
	}
	return b
}

func (a *audit) change(c trail.Change) {
	if len(a.changes) < maxAuditChanges {
		a.changes = append(a.changes, c)
	}
}

// text is a JSON value as the trail holds it: a string as it is, all else in JSON; cut, and of an
// address without what may be a secret.
func text(b []byte) string {
	var plain string
	if json.Unmarshal(b, &plain) != nil {
		return clip(string(b))
	}
	if address, _, ok := strings.Cut(plain, "?"); ok && strings.Contains(address, "://") {
		plain = address + "?..."
	}
	return clip(plain)
}

// clip makes text that is the same in CBOR and in JSON, of at most maxAuditText bytes.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxAuditText {
		return s
	}
	end := maxAuditText - len("...")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// asks notes who asked: the name of the key, or its hint; empty if it is not there.
func (x *change) asks(keyID string) error {
	name, known := x.audit.names[keyID]
	if !known && keyID != "" {
		k, _, err := get[record.APIKey](x.state, keyKey(keyID))
		if err != nil {
			return err
		}
		if name = k.Name; name == "" {
			name = k.Hint
		}
		if x.audit.names == nil {
			x.audit.names = map[string]string{}
		}
		x.audit.names[keyID] = name
	}
	x.audit.who = name
	return nil
}

// chainAudit begins the chain where it has not begun.
func (x *change) chainAudit() error {
	_, ok, err := AuditHead(x.state)
	if err != nil || ok {
		return err
	}
	c, _, err := Cluster(x.state)
	if err != nil {
		return err
	}
	x.ref = c.ClusterID
	x.audit.begin()
	x.audit.record("cluster", c.ClusterID)
	return nil
}

// cutAudit removes the oldest entries. The entry that says so names the last of them, with its hash: so nobody else
// can take the beginning of a trail away and say that this was it.
func (x *change) cutAudit(b record.CutAudit) error {
	if x.by != "" {
		return record.Invalid("the audit trail is cut by the cluster itself alone")
	}
	last := record.AuditKey(b.Through, b.Number)
	e, there, err := get[trail.Entry](x.state, last)
	if err != nil {
		return err
	}
	head, _, err := AuditHead(x.state)
	if err != nil || !there || e.Sequence == 0 || e.Hash != trail.Hash(b.Hash) || e.Sequence >= head.Sequence {
		return err
	}
	was, _, err := AuditAnchor(x.state)
	if err != nil {
		return err
	}
	if err := x.state.DeleteRange(record.TableAudit.Key(), append(last, 0)); err != nil {
		return err
	}
	anchor := trail.Head{Revision: e.Revision, Number: e.Number, Sequence: e.Sequence, Hash: e.Hash, Began: head.Began}
	x.ref = anchor.String()
	x.audit.record("audit_trail", x.ref)
	x.audit.change(trail.Change{Of: x.ref, Field: "entries", From: strconv.FormatUint(was.Sequence+1, 10), To: strconv.FormatUint(e.Sequence, 10)})
	return put(x.state, anchorKey, anchor)
}

// actionNodes is of what Raft itself agrees on, and no command: which nodes there are.
const actionNodes = "nodes"

// Enlist enters which nodes there are from a revision on into the audit trail, where that is chained.
func Enlist(s State, nodes []record.NodeStatus, at time.Time, rev record.Revision) error {
	if _, ok, err := AuditHead(s); err != nil || !ok {
		return err
	}
	x := &change{state: s, stamp: at, revision: rev}
	for _, n := range nodes {
		x.audit.record("node", n.ID)
		x.audit.change(trail.Change{Of: n.ID, Field: "role", To: string(n.Role)})
		x.audit.change(trail.Change{Of: n.ID, Field: "address", To: clip(n.Address)})
	}
	return errors.Join(x.entry(actionNodes, "", record.Origin{Way: record.WayCluster}), x.sealAudit())
}

// enter writes an entry of what was changed since the last, if anything was. It is the next of the
// chain, if that has begun.
func (x *change) enter(c record.Command) error {
	if lift, ok := c.Body.(record.Lift); ok {
		x.audit.reason = strings.ToValidUTF8(lift.Reason, "\uFFFD")
	}
	return x.entry(c.Body.Kind().String(), c.By, c.From)
}

func (x *change) entry(action, by string, from record.Origin) error {
	a := &x.audit
	if !a.any() {
		return nil
	}
	person := record.Person{Issuer: clip(from.Person.Issuer), Subject: clip(from.Person.Subject)}
	e := trail.Entry{
		Revision: x.revision, Number: a.number, At: x.stamp, By: clip(by), ByName: clip(a.who), Action: action, Reason: a.reason,
		From: record.Origin{Node: clip(from.Node), Way: clip(from.Way), Address: clip(from.Address), Person: person},
		Refs: a.refs, Kinds: a.kinds, More: a.more, Changes: a.changes,
	}
	for i := range e.Refs {
		e.Refs[i] = clip(e.Refs[i])
	}
	for i := range e.Changes {
		e.Changes[i].Of = clip(e.Changes[i].Of)
	}
	if a.sum != nil {
		a.sum.Sum(e.Sum[:0])
	}
	a.refs, a.kinds, a.more, a.sum, a.changes = nil, nil, 0, nil, nil
	if err := x.readHead(); err != nil {
		return err
	}
	key := record.AuditKey(e.Revision, e.Number)
	a.number++
	if a.head == nil {
		return put(x.state, key, e)
	}
	a.moved = true
	b, err := a.head.Next(&e)
	if err != nil {
		return err
	}
	return x.state.Put(key, b)
}

func (x *change) readHead() error {
	if x.audit.read {
		return nil
	}
	h, ok, err := AuditHead(x.state)
	if err != nil {
		return err
	}
	if x.audit.read = true; ok {
		x.audit.head = &h
	}
	return nil
}

// sealAudit writes how far the chain has come, once for all entries of the command.
func (x *change) sealAudit() error {
	if !x.audit.moved {
		return nil
	}
	return put(x.state, headKey, *x.audit.head)
}
