package record

import (
	"errors"
	"fmt"
	"time"
)

// Reason tells why a command was not done. The strings cross the wire and never change.
type Reason string

// The reasons.
const (
	ReasonInvalid  Reason = "invalid"   // what was asked for makes no sense
	ReasonNotFound Reason = "not_found" // it names something that is not there
	ReasonConflict Reason = "conflict"  // it contradicts what is there
	ReasonGap      Reason = "gap"       // it is part of a stream, and what comes before it is not there yet

	// ReasonDuplicateKey is a conflict: the secret is that of an API key that is there.
	ReasonDuplicateKey Reason = "duplicate_key"

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
