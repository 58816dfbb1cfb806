package event

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"veto/record"
)

// ID names an event: the one with the number, from 1, at the revision. As a place in the stream of
// events it stands for that event and all before it.
type ID struct {
	Revision record.Revision
	Number   uint32
}

// String is the text form, such as 42.1.
func (id ID) String() string {
	return strconv.FormatUint(uint64(id.Revision), 10) + "." + strconv.FormatUint(uint64(id.Number), 10)
}

// ParseID is the reverse of String. What is none gives a *record.Rejection.
func ParseID(text string) (ID, error) {
	revision, number, _ := strings.Cut(text, ".")
	r, errRevision := strconv.ParseUint(revision, 10, 64)
	n, errNumber := strconv.ParseUint(number, 10, 32)
	id := ID{record.Revision(r), uint32(n)}
	if errRevision != nil || errNumber != nil || id.String() != text {
		return ID{}, record.Invalid("after: is not the id of an event, such as 42.1")
	}
	return id, nil
}

// Type says what happened, as an attribute of a CloudEvent.
type Type string

// The types.
const (
	Revoked    Type = "veto.revoked"
	Lifted     Type = "veto.lifted"
	KeyCreated Type = "veto.key.created"
	KeyUpdated Type = "veto.key.updated"
	KeyRotated Type = "veto.key.rotated"
	KeyDeleted Type = "veto.key.deleted"
	KeyLeaked  Type = "veto.key.leaked"
)

// Types are all there are.
var Types = []Type{Revoked, Lifted, KeyCreated, KeyUpdated, KeyRotated, KeyDeleted, KeyLeaked}

var typeOf = [...]Type{
	kindRevoked: Revoked, kindLifted: Lifted,
	kindKeyCreated: KeyCreated, kindKeyUpdated: KeyUpdated, kindKeyDeleted: KeyDeleted, kindKeyRotated: KeyRotated, kindKeyLeaked: KeyLeaked,
}

// Fact is one thing that happened, with what is known of it now.
type Fact struct {
	ID ID
	At time.Time
	// Sequence is its number in its feed, and Previous the revision of the one before there.
	Sequence uint64
	Previous record.Revision
	Item     Item
	// Record is the *record.Revocation or *record.APIKey that it is about; nil if that is gone.
	Record record.Record
}

// Type says what happened.
func (f *Fact) Type() Type { return typeOf[f.Item.Kind] }

// Target is what the revocation names; of a combination, its first part.
func (f *Fact) Target() record.Target {
	c := f.Item.Ref.Digest.Class()
	if parts := c.Combined(); len(parts) > 0 {
		return parts[0]
	}
	return record.Target(c)
}

// Topic is what the event is sent under: its type, and of revocations the target.
func (f *Fact) Topic() string {
	if f.Item.Kind.ofRevocation() {
		return string(f.Type()) + "." + f.Target().String()
	}
	return string(f.Type())
}

// IsLike tells whether the other's topic is the same for sure.
func (f *Fact) IsLike(other *Fact) bool {
	return f.Item.Kind == other.Item.Kind && f.Item.Ref.Digest.Class() == other.Item.Ref.Digest.Class()
}

// Event is a CloudEvent 1.0, as it is written in JSON.
type Event struct {
	SpecVersion string `json:"specversion"`
	// ID is that of the fact. With Source it is unique.
	ID string `json:"id"`
	// Source is the cluster and the feed: a sequence is that of a source.
	Source string `json:"source"`
	Type   Type   `json:"type"`
	// Subject is the id of the revocation or of the API key.
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	// Sequence is the number in the feed, in twenty digits, so that it is in order as text: an
	// extension that CloudEvents documents.
	Sequence string          `json:"sequence"`
	Data     json.RawMessage `json:"data"`
}

// ContentType is that of an Event.
const ContentType = "application/cloudevents+json"

// place is what the data of all events have.
type place struct {
	Revision record.Revision `json:"revision"`
	// Previous is the revision of the event before this one on the feed, and Sequence one more
	// than its. A subscriber that has not seen it has missed something.
	Previous record.Revision `json:"previous_revision"`
	Sequence uint64          `json:"sequence"`
	// Gone says that what it is about is there no more, so that only its id is known.
	Gone bool `json:"gone,omitempty"`
}

// RevocationData is the data of veto.revoked and veto.lifted.
type RevocationData struct {
	ID        string        `json:"id"`
	Target    record.Target `json:"target"`
	Issuer    string        `json:"issuer,omitempty"`
	Value     string        `json:"value,omitempty"`
	And       []record.Part `json:"and,omitempty"`
	NotBefore time.Time     `json:"not_before,omitzero"`
	// Reason why it was made, or lifted.
	Reason    string    `json:"reason,omitempty"`
	At        time.Time `json:"at"`
	KeptUntil time.Time `json:"kept_until,omitzero"`
	place
}

// KeyData is the data of veto.key.*: the key as it is now. Of one that is gone there is its id, and
// whose it was.
type KeyData struct {
	ID        string          `json:"id"`
	Consumer  string          `json:"consumer,omitempty"`
	Name      string          `json:"name,omitempty"`
	Hint      string          `json:"hint,omitempty"`
	Scopes    []string        `json:"scopes,omitempty"`
	Roles     []record.Role   `json:"roles,omitempty"`
	Issuers   []string        `json:"issuers,omitempty"`
	Consumers []string        `json:"consumers,omitempty"`
	Targets   []string        `json:"targets,omitempty"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	ExpiresAt time.Time       `json:"expires_at,omitzero"`
	Disabled  *bool           `json:"disabled,omitempty"`
	CreatedAt time.Time       `json:"created_at,omitzero"`
	// Rotating is the secret before, as it was at the key's last change.
	Rotating *record.Rotating `json:"rotating,omitempty"`
	RolledAt time.Time        `json:"rolled_at,omitzero"`
	// LeakedAt is when a secret of it was told to be where anyone can read it, and Leak by whom.
	LeakedAt time.Time    `json:"leaked_at,omitzero"`
	Leak     *record.Leak `json:"leak,omitempty"`
	place
}

// Event is the form of the fact that leaves the cluster with the id.
func (f *Fact) Event(cluster string) (Event, error) {
	e := Event{
		SpecVersion: "1.0", ID: f.ID.String(), Source: "/veto/" + cluster + "/keys", Type: f.Type(), Subject: f.Item.Key,
		Time: f.At, DataContentType: "application/json", Sequence: fmt.Sprintf("%020d", f.Sequence),
	}
	at := place{Revision: f.ID.Revision, Previous: f.Previous, Sequence: f.Sequence}
	var data any
	if f.Item.Kind.ofRevocation() {
		e.Source, e.Subject = "/veto/"+cluster+"/revocations", f.Item.Ref.Digest.RevocationID()
		data = f.revocation(at)
	} else {
		data = f.key(at)
	}
	var err error
	e.Data, err = json.Marshal(data)
	return e, err
}

func (f *Fact) revocation(at place) RevocationData {
	d := RevocationData{ID: f.Item.Ref.Digest.RevocationID(), Target: f.Target(), At: f.At, place: at}
	if l := f.Item.Lifted; l != nil {
		d.Target, d.Issuer, d.Value, d.And, d.Reason = l.Target, l.Issuer, l.Value, l.And, f.Item.Reason
		return d
	}
	r, ok := f.Record.(*record.Revocation)
	if !ok {
		d.Gone = true
		return d
	}
	d.Target, d.Issuer, d.Value, d.And = r.Target, r.Issuer, r.Value, r.And
	d.NotBefore, d.Reason, d.KeptUntil = r.NotBefore, r.Reason, r.KeptUntil
	return d
}

func (f *Fact) key(at place) KeyData {
	k, ok := f.Record.(*record.APIKey)
	if !ok || f.Item.Kind == kindKeyDeleted {
		at.Gone = true
		return KeyData{ID: f.Item.Key, Consumer: f.Item.Consumer, place: at}
	}
	disabled := k.Disabled
	return KeyData{
		ID: k.ID, Consumer: k.Consumer, Name: k.Name, Hint: k.Hint, Scopes: k.Scopes, Roles: k.Roles, Issuers: k.Issuers,
		Consumers: k.Consumers, Targets: k.Targets, Metadata: k.Metadata,
		ExpiresAt: k.ExpiresAt, Disabled: &disabled, CreatedAt: k.CreatedAt,
		Rotating: k.Rotating, RolledAt: k.RolledAt, LeakedAt: k.LeakedAt, Leak: k.Leak, place: at,
	}
}
