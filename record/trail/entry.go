package trail

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"veto/record"
)

// Entry is what the audit trail keeps of one command. It never holds a secret.
type Entry struct {
	Revision record.Revision `json:"revision" cbor:"1,keyasint"`
	// Number tells apart what was done at one revision.
	Number uint16    `json:"number,omitempty" cbor:"7,keyasint,omitempty"`
	At     time.Time `json:"at" cbor:"2,keyasint"`
	// By is the id of the API key that asked, or empty for the cluster itself; ByName its name
	// as it was then, or its hint if it had none.
	By     string `json:"by,omitempty" cbor:"3,keyasint,omitempty"`
	ByName string `json:"by_name,omitempty" cbor:"8,keyasint,omitempty"`
	// From is the way by which it came.
	From record.Origin `json:"from,omitzero" cbor:"9,keyasint,omitzero"`
	// Action is the kind of the command, or nodes when it is the nodes that changed.
	Action string `json:"action" cbor:"4,keyasint"`
	// Refs are the ids of the records that it changed, at most the first ten, and Kinds what
	// each of them is.
	Refs  []string `json:"refs" cbor:"5,keyasint"`
	Kinds []string `json:"kinds,omitempty" cbor:"10,keyasint,omitempty"`
	// More is how many others it changed, and Sum the SHA-256 over their ids in order; of a
	// revocation, over the bytes that its id stands for.
	More uint32 `json:"more,omitempty" cbor:"12,keyasint,omitempty"`
	Sum  Hash   `json:"sum,omitzero" cbor:"13,keyasint,omitzero"`
	// Changes are what was changed of the records.
	Changes []Change `json:"changes,omitempty" cbor:"11,keyasint,omitempty"`
	// Reason that was given for lifting a revocation.
	Reason string `json:"reason,omitempty" cbor:"6,keyasint,omitempty"`
	// Sequence counts the entries of the chain from 1; zero for an entry from before it.
	Sequence uint64 `json:"sequence,omitempty" cbor:"14,keyasint,omitempty"`
	// Hash is that of this entry and all of the chain before it.
	Hash Hash `json:"hash,omitzero" cbor:"15,keyasint,omitzero"`
}

// Change is one field of a record that was changed: what it was and what it is, a string as it is and
// all else in JSON; each empty if it was not there, or both if they are not for the audit trail.
type Change struct {
	Of    string `json:"of" cbor:"1,keyasint"`
	Field string `json:"field" cbor:"2,keyasint"`
	From  string `json:"from,omitempty" cbor:"3,keyasint,omitempty"`
	To    string `json:"to,omitempty" cbor:"4,keyasint,omitempty"`
}

// Place is the entry's, as people write it.
func (e *Entry) Place() string {
	if e.Number == 0 {
		return strconv.FormatUint(uint64(e.Revision), 10)
	}
	return fmt.Sprintf("%d.%d", e.Revision, e.Number)
}

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// MarshalText gives it in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText reads what MarshalText gave, and nothing else.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(h)) || strings.ToLower(string(b)) != string(b) {
		return fmt.Errorf("a hash is %d digits, 0 to 9 and a to f", hex.EncodedLen(len(h)))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// purpose keeps these hashes apart from any that is made of the same bytes for something else.
const purpose = "veto audit trail 1\x00"

// follow gives the entry the hash that it has behind the one with the hash before, which for the first
// is zero, and returns its byte form. That is made once: the hash is its last field, and is added to
// the others.
func (e *Entry) follow(before Hash) ([]byte, error) {
	e.Hash = Hash{}
	whole := make([]byte, len(purpose)+len(before), 512)
	copy(whole, purpose)
	copy(whole[len(purpose):], before[:])
	b, err := record.Encode(e)
	if err != nil {
		return nil, err
	}
	whole = append(whole, b...)
	e.Hash = sha256.Sum256(whole)
	b = append(whole[len(purpose)+len(before):], hashField...)
	b[0]++ // how many fields there are
	return append(b, e.Hash[:]...), nil
}

// hashField is the number of the field Hash, and that 32 bytes come.
const hashField = "\x0f\x58\x20"

// Head is the last entry of a chain: it stands for all of it.
type Head struct {
	Revision record.Revision `json:"revision" cbor:"1,keyasint"`
	Number   uint16          `json:"number,omitempty" cbor:"2,keyasint,omitempty"`
	Sequence uint64          `json:"sequence" cbor:"3,keyasint"`
	Hash     Hash            `json:"hash" cbor:"4,keyasint"`
	// Began is the revision of the chain's first entry.
	Began record.Revision `json:"began" cbor:"5,keyasint"`
}

// String is what an operator writes down: HASH@REVISION.
func (h Head) String() string {
	return hex.EncodeToString(h.Hash[:]) + "@" + strconv.FormatUint(uint64(h.Revision), 10)
}

// ParseHead reads what String gave.
func ParseHead(s string) (Head, error) {
	var h Head
	hash, revision, ok := strings.Cut(s, "@")
	if ok {
		n, err := strconv.ParseUint(revision, 10, 64)
		if h.Revision = record.Revision(n); err == nil && h.Hash.UnmarshalText([]byte(hash)) == nil {
			return h, nil
		}
	}
	return Head{}, record.Invalid("%q is no head of an audit trail: it is written HASH@REVISION, as `veto audit head` shows it", s)
}

// Next puts the entry behind the head, gives it its place in the chain, and returns its byte form.
func (h *Head) Next(e *Entry) ([]byte, error) {
	e.Sequence = h.Sequence + 1
	b, err := e.follow(h.Hash)
	if err != nil {
		return nil, err
	}
	if e.Sequence == 1 {
		h.Began = e.Revision
	}
	h.Revision, h.Number, h.Sequence, h.Hash = e.Revision, e.Number, e.Sequence, e.Hash
	return b, nil
}
