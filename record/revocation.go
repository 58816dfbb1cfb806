package record

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Target is what a revocation names. The numbers are on disk and never change.
type Target uint8

// The targets.
const (
	TargetJTI        Target = 1 // one token, by its jti (RFC 7519 section 4.1.7)
	TargetToken      Target = 2 // one token, by the SHA-256 of its signing input
	TargetSubject    Target = 3 // all tokens of a sub
	TargetClient     Target = 4 // all tokens of a client_id (or azp)
	TargetSession    Target = 5 // all tokens of a sid
	TargetSigningKey Target = 6 // all tokens signed with a kid
	TargetIssuer     Target = 7 // all tokens of an issuer
	TargetKey        Target = 8 // one API key, by its id
	TargetConsumer   Target = 9 // all API keys of a consumer
)

var targetNames = [...]string{
	TargetJTI: "jti", TargetToken: "token", TargetSubject: "subject", TargetClient: "client",
	TargetSession: "session", TargetSigningKey: "signing_key", TargetIssuer: "issuer",
	TargetKey: "key", TargetConsumer: "consumer",
}

const unknownTarget = "unknown"

// TargetNames are the text forms of all targets, in the order of their numbers.
func TargetNames() []string { return append([]string(nil), targetNames[1:]...) }

// String is the text form, as in the API.
func (t Target) String() string {
	if int(t) < len(targetNames) && targetNames[t] != "" {
		return targetNames[t]
	}
	return unknownTarget
}

// one is what the target is called in a sentence, such as an issuer.
func (t Target) one() string {
	if t == TargetIssuer {
		return "an " + t.String()
	}
	return "a " + t.String()
}

// MarshalText writes the text form.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the text form; an unknown one is a *Rejection.
func (t *Target) UnmarshalText(b []byte) error {
	for i, name := range targetNames {
		if name != "" && name == string(b) {
			*t = Target(i)
			return nil
		}
	}
	return Invalid("target: %q is not one of %s", b, strings.Join(TargetNames(), ", "))
}

// OfIssuer tells whether the target's values have a meaning only within an issuer.
func (t Target) OfIssuer() bool { return t >= TargetJTI && t <= TargetIssuer }

// OneToken tells whether the target names something that no token issued later will have,
// so that its revocation may end when the tokens issued by now have ended. A session is none:
// it gets new tokens whenever they are refreshed.
func (t Target) OneToken() bool { return t == TargetJTI || t == TargetToken }

// Dated tells whether a revocation of the name may carry a not-before time. Every combination
// may, as each has a part that may.
func (n Name) Dated() bool {
	switch n.Target {
	case TargetSubject, TargetClient, TargetSession, TargetIssuer, TargetConsumer:
		return true
	}
	return false
}

// Name is what a revocation names and what a look-up asks for. It is compared exactly.
type Name struct {
	Target Target `json:"target" cbor:"1,keyasint"`
	// Issuer is the iss within which Value has its meaning; empty for key and consumer.
	Issuer string `json:"issuer,omitempty" cbor:"2,keyasint,omitempty"`
	// Value is the jti, sub, client id and so on; empty for target issuer.
	Value string `json:"value,omitempty" cbor:"3,keyasint,omitempty"`
	// And makes it a combination: what else a token must bear to be denied.
	And []Part `json:"and,omitempty" cbor:"11,keyasint,omitempty"`
}

// CanaryIssuer is the iss in whose name the cluster revokes tokens of its own, which nobody has, to
// see how long that takes. No issuer can have it, and nobody but the cluster revokes in its name.
const CanaryIssuer = "veto:canary"

// OfCanary tells whether the name is the canary's: what is done about it is in no list, audit trail
// or feed.
func (n Name) OfCanary() bool { return n.Issuer == CanaryIssuer }

// MaxNameValue bounds Value and Issuer of a name, in bytes.
const MaxNameValue = 2048

// Check reports what is wrong with the name as it was given, or nil.
func (n Name) Check() error {
	if len(n.And) > 0 {
		return n.checkCombination()
	}
	return n.checkOne()
}

func (n Name) checkOne() error {
	switch {
	case n.Target.String() == unknownTarget:
		return Invalid("target: give one of %s", strings.Join(TargetNames(), ", "))
	case n.Target == TargetIssuer && n.Value != "":
		return Invalid("value: to revoke an issuer, give its iss as issuer and no value")
	case n.Target.OfIssuer() && n.Issuer == "":
		return Invalid("issuer: %s has a meaning only within an issuer; give its iss", n.Target.one())
	case !n.Target.OfIssuer() && n.Issuer != "":
		return Invalid("issuer: %s belongs to no issuer; leave it out", n.Target.one())
	case n.Target != TargetIssuer && n.Value == "":
		return Invalid("value: give the %s to revoke", n.Target)
	case len(n.Value) > MaxNameValue || len(n.Issuer) > MaxNameValue:
		return Invalid("value and issuer: at most %d bytes each", MaxNameValue)
	}
	return nil
}

// Part is one more thing that a token must bear for a combination to deny it.
type Part struct {
	Target Target `json:"target" cbor:"1,keyasint"`
	Value  string `json:"value" cbor:"2,keyasint"`
}

// Canonical is the name with its parts in the order of their targets: the same parts in another
// order are the same name. Check takes no other form.
func (n Name) Canonical() Name {
	if len(n.And) == 0 {
		n.And = nil
		return n
	}
	parts := append(slices.Clone(n.And), Part{n.Target, n.Value})
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(a.Target, b.Target) })
	n.Target, n.Value, n.And = parts[0].Target, parts[0].Value, parts[1:]
	return n
}

func (n Name) checkCombination() error {
	if err := n.checkOne(); err != nil {
		return err
	}
	last := n.Target
	if bitOf(last) == 0 {
		return Invalid("and: %s cannot be combined; subject, client, session and signing_key can", last.one())
	}
	for _, p := range n.And {
		switch {
		case bitOf(p.Target) == 0:
			return Invalid("and: %s cannot be combined; subject, client, session and signing_key can", p.Target.one())
		case p.Target <= last:
			return Invalid("and: there is more than one %s, and a token has one", p.Target)
		case p.Value == "" || len(p.Value) > MaxNameValue:
			return Invalid("and: give the value of each, 1 to %d bytes", MaxNameValue)
		}
		last = p.Target
	}
	return nil
}

// Bucket is an hour: the count of hours since 1970 until which a revocation must be kept.
type Bucket uint32

// Forever is the bucket of the revocations that are kept until someone lifts them.
const Forever Bucket = 1<<32 - 1

// BucketUntil returns the first bucket that ends no earlier than the time.
func BucketUntil(t time.Time) Bucket { return Bucket((t.Unix() + 3599) / 3600) }

// End is the time at which the bucket may be dropped; zero for Forever.
func (b Bucket) End() time.Time {
	if b == Forever {
		return time.Time{}
	}
	return time.Unix(int64(b)*3600, 0).UTC()
}

// Revocation is a rule that denies.
type Revocation struct {
	// Name is what it denies.
	Name
	// NotBefore, if set, spares tokens that were issued after it: those with iat <=
	// NotBefore, or without an iat, are denied. Whole seconds, as iat mostly is.
	NotBefore time.Time `json:"not_before,omitzero" cbor:"4,keyasint,omitzero"`
	// Expiry is the verified exp of the one token that it names, when the token itself was
	// presented; otherwise zero. An expiry that was merely claimed never gets here.
	Expiry time.Time `json:"-" cbor:"5,keyasint,omitzero"`
	// Reason is for people; at most 500 bytes.
	Reason string `json:"reason,omitempty" cbor:"6,keyasint,omitempty"`
	// By is the id of the API key that asked for it.
	By string `json:"by,omitempty" cbor:"7,keyasint,omitempty"`
	// At, KeptUntil and Revision are set when the command is applied. KeptUntil is zero when
	// the revocation is kept until someone lifts it.
	At        time.Time `json:"at,omitzero" cbor:"8,keyasint,omitzero"`
	KeptUntil time.Time `json:"kept_until,omitzero" cbor:"9,keyasint,omitzero"`
	Revision  Revision  `json:"revision" cbor:"10,keyasint,omitempty"`
}

// MaxReason bounds the reason of a revocation, or of lifting one, in bytes.
const MaxReason = 500

// MaxRevocationText bounds the text that asks for one revocation, whatever way it comes, in bytes.
const MaxRevocationText = 32 << 10

// Check reports what is wrong with the revocation as it was given, or nil.
func (r *Revocation) Check() error {
	if err := r.Name.Check(); err != nil {
		return err
	}
	if !r.NotBefore.IsZero() && !r.Dated() {
		return Invalid("not_before: %s cannot be revoked in part", r.Target.one())
	}
	if !storable(r.NotBefore) {
		return Invalid("not_before: out of range")
	}
	if len(r.Reason) > MaxReason {
		return Invalid("reason: at most %d bytes", MaxReason)
	}
	return nil
}

// storable tells whether the time is unset, or one that can be written down, also after the
// longest that anything is kept was added to it.
func storable(t time.Time) bool {
	y := t.UTC().Year()
	return t.IsZero() || y >= 1970 && y < 9000
}

// Cutoff is NotBefore as a comparable number: a token is denied when its iat, in seconds
// since 1970, is not above it. A revocation without NotBefore denies whatever the iat.
func (r *Revocation) Cutoff() int64 {
	if r.NotBefore.IsZero() {
		return DeniesAll
	}
	return r.NotBefore.Unix()
}

// DeniesAll is the cut-off that no iat is above.
const DeniesAll int64 = 1<<63 - 1

// NoIssuedAt is the iat, in seconds, of a credential that has none: older than any cut-off.
const NoIssuedAt int64 = -1 << 63

// Revocations that are kept longer than fineBuckets share the bucket of the day's end: so that
// there are few buckets, in each of which a look-up on disk may have to seek.
const (
	fineBuckets = 48 * time.Hour
	hoursPerDay = 24
)

// Bucket is the bucket in which the revocation is kept.
func (r *Revocation) Bucket() Bucket {
	if r.KeptUntil.IsZero() {
		return Forever
	}
	b := BucketUntil(r.KeptUntil)
	if r.KeptUntil.Add(-fineBuckets).After(r.At) {
		b = (b + hoursPerDay - 1) / hoursPerDay * hoursPerDay
	}
	return b
}

// Stencil encodes revocations that differ in nothing but their value, for one that is not empty:
// many times as fast as Encode, and to the same bytes.
type Stencil struct{ before, after []byte }

// valueKey is the number of Name.Value in the byte form.
const valueKey = 3

// NewStencil makes one of a revocation, whose value does not matter.
func NewStencil(r Revocation) (Stencil, error) {
	r.Value = ""
	whole, err := Encode(&r)
	if err != nil {
		return Stencil{}, err
	}
	head, err := Encode(Name{Target: r.Target, Issuer: r.Issuer})
	if err != nil {
		return Stencil{}, err
	}
	// A map of fewer than 24 members has its count in the first byte; members are in the order
	// of their numbers.
	before := append([]byte{whole[0] + 1}, whole[1:len(head)]...)
	return Stencil{append(before, valueKey), whole[len(head):]}, nil
}

// Append appends the byte form with the value.
func (s *Stencil) Append(to []byte, value string) []byte {
	const textOf = 3 << 5 // the major type of a text (RFC 8949 section 3.1)
	to = append(to, s.before...)
	switch n := len(value); {
	case n < 24:
		to = append(to, textOf|byte(n))
	case n < 1<<8:
		to = append(to, textOf|24, byte(n))
	case n < 1<<16:
		to = append(to, textOf|25, byte(n>>8), byte(n))
	default:
		to = append(to, textOf|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	to = append(to, value...)
	return append(to, s.after...)
}

// Alike stands, in the state, for what many revocations of one command have in common: it is kept once, and the value of
// each follows Alike, which is a fraction of what the whole would take.
type Alike []byte

// alikeForm is the first byte of Alike; no whole revocation begins with it.
const alikeForm = 0

// NewAlike is that of what was made at the revision, of which there may be several kinds.
func NewAlike(r Revision, kind int) Alike {
	return binary.AppendUvarint(binary.AppendUvarint([]byte{alikeForm}, uint64(r)), uint64(kind))
}

// Key is the store key of what they have in common; it goes with their bucket.
func (a Alike) Key(b Bucket) []byte { return TableAlike.Key(b.Bytes(), a) }

// alikeOf is what a stored value begins with; false if it is a whole revocation.
func alikeOf(value []byte) (Alike, bool) {
	if len(value) == 0 || value[0] != alikeForm {
		return nil, false
	}
	end := 1
	for range 2 {
		_, n := binary.Uvarint(value[end:])
		end += max(n, 0)
	}
	return value[:end], true
}

// StoredRevocation reads a revocation as the state has it under the key. Get reads another value of the state; if
// that is not there the revocation is gone as well, as they expire together.
func StoredRevocation(key, value []byte, get func(key []byte) ([]byte, bool, error)) (r Revocation, ok bool, err error) {
	alike, short := alikeOf(value)
	if !short {
		return r, true, Decode(value, &r)
	}
	b, _, _, ok := ParseRevocationKey(key)
	if !ok {
		return r, false, Invalid("the key is not a revocation's")
	}
	common, ok, err := get(alike.Key(b))
	if err != nil || !ok {
		return r, false, err
	}
	err = Decode(common, &r)
	r.Value = string(value[len(alike):])
	return r, true, err
}

// Revoke adds revocations: all of them, or none if one is refused. At most MaxRevocations.
type Revoke struct {
	Revocations []Revocation `cbor:"1,keyasint"`
}

// Import adds many revocations that are much alike: part of a stream, whose items are numbered
// from First on. The command's Request names the stream: what was imported of it before is passed
// over, and what was refused is tried again. One item that is refused keeps none of the others back. At
// most MaxImport, or what MaxImportAt says.
type Import struct {
	First uint64 `cbor:"1,keyasint"`
	// Alike are what the items have in common: revocations without a value.
	Alike []Revocation `cbor:"2,keyasint"`
	Items []ImportItem `cbor:"3,keyasint"`
	// Sums tell this stream from another of the same name: before the first item and after each,
	// SumLength bytes of the sum of all lines until there, whatever sum the node takes. They are empty
	// in logs of old.
	Sums []byte `cbor:"4,keyasint,omitempty" since:"2"`
}

// MaxImportAt bounds the items of one Import at a level.
func MaxImportAt(at Level) int {
	if at < LevelTrail {
		return 4096
	}
	return MaxImport
}

// SumLength is that of one of Import.Sums.
const SumLength = 4

// Sum is the sum of all lines through the one with the number; false if there is none.
func (b *Import) Sum(through uint64) ([]byte, bool) {
	if len(b.Sums) == 0 || through+1 < b.First || through >= b.First+uint64(len(b.Items)) {
		return nil, false
	}
	at := (through + 1 - b.First) * SumLength
	return b.Sums[at : at+SumLength], true
}

// ImportItem is one of Import.Alike, with the value that it names.
type ImportItem struct {
	_     struct{} `cbor:",toarray"`
	Alike int
	Value string
}

// Lift takes back all revocations with the digest of one name.
type Lift struct {
	Digest Digest `cbor:"1,keyasint"`
	Reason string `cbor:"2,keyasint"`
}

// Expire drops the revocations and remembered requests whose bucket lies below Before.
type Expire struct {
	Before Bucket `cbor:"1,keyasint"`
}

// Expiry stands for all revocations kept in buckets below Before. As a change it is always
// Gone.
type Expiry struct{ Before Bucket }

func (Revoke) Kind() Kind { return KindRevoke }
func (Lift) Kind() Kind   { return KindLift }
func (Expire) Kind() Kind { return KindExpire }
func (Import) Kind() Kind { return KindImport }

// Leak is what is known of a leak.
type Leak struct {
	// Revision at which it was marked.
	Revision Revision `json:"revision" cbor:"1,keyasint"`
	// By is who told: the id of an operator's key, or LeakGitHub.
	By string `json:"by" cbor:"2,keyasint,omitempty"`
	// Where it was found, an address; empty if that was not told. At most MaxLeakWhere bytes.
	Where string `json:"where,omitempty" cbor:"3,keyasint,omitempty"`
}

// LeakGitHub stands for who asked when GitHub's secret scanning told of a leak.
const LeakGitHub = "github"

// MaxLeakWhere bounds the address of a leak, in bytes.
const MaxLeakWhere = 300

// HasLeaked tells whether a secret of the key that is good now was told to have leaked.
func (k *APIKey) HasLeaked(now time.Time) bool {
	return k.Leak != nil && (k.Rolled <= k.Leak.Revision || k.IsRotating(now))
}

// MarkLeaked marks API keys of which secrets were found. At most MaxRevocations.
type MarkLeaked struct {
	Keys []LeakedKey `cbor:"1,keyasint"`
}

// LeakedKey is one key of a MarkLeaked.
type LeakedKey struct {
	ID    string `cbor:"1,keyasint"`
	Where string `cbor:"2,keyasint,omitempty"`
}

func (MarkLeaked) Kind() Kind { return KindMarkLeaked }
