package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"veto/record"
)

// NotReady is the problem of a node that cannot tell yet who may ask, with those of the checks that fail.
func NotReady(checks []Check) *Problem {
	why, sep := "this node is not ready", ": "
	for _, c := range checks {
		if !c.OK {
			why, sep = why+sep+c.Detail, "; "
		}
	}
	p := New(http.StatusServiceUnavailable, "not_ready", why+"; ask another, or wait until /readyz says that it is")
	p.retryAfter = time.Second
	return p
}

// Behind is the problem of a node that is short of the revision that a request asks for.
func Behind() *Problem {
	p := New(http.StatusServiceUnavailable, "behind_min_revision", "this node has not come to the revision that "+MinRevisionHeader+" names, and has done nothing; ask another, or come again")
	p.retryAfter = time.Second
	return p
}

// PepperLocked is the problem of a node that lacks the key of a pepper, and so finds no API key.
func PepperLocked() *Problem {
	p := New(http.StatusServiceUnavailable, "pepper_locked",
		"this node lacks the key that unwraps a pepper of the cluster, so it cannot tell whose API key this is; ask another node, and see this one's log for what to do")
	p.retryAfter = time.Second
	return p
}

// TooMany is the problem of who comes too often.
func TooMany(wait time.Duration) *Problem {
	p := New(http.StatusTooManyRequests, "too_many_requests", "you come more often than this node lets anybody come; come again after the time in Retry-After")
	p.retryAfter = wait
	return p
}

// TooManyStreams is the problem of who has as many streams open as anybody may at a node.
func TooManyStreams() *Problem {
	p := New(http.StatusTooManyRequests, "too_many_streams", "you have as many streams of events open at this node as it lets anybody have; close one, ask another node, or come again after the time in Retry-After")
	p.retryAfter = 5 * time.Second
	return p
}

// TooManyTransfers is the problem of who has as many imports, or exports, under way as anybody may at a node.
func TooManyTransfers() *Problem {
	p := New(http.StatusTooManyRequests, "too_many_transfers", "you have as many imports, or exports, under way at this node as it lets anybody have, and it has done nothing of this; wait for one, ask another node, or come again after the time in Retry-After")
	p.retryAfter = 5 * time.Second
	return p
}

// Busy is the problem of a node with more to do than it takes on at once.
func Busy() *Problem {
	p := New(http.StatusServiceUnavailable, "busy", "this node has as much to do as it takes on at once, and has done nothing of this; ask another, or come again")
	p.retryAfter = time.Second
	return p
}

// TooLarge is the problem of what is over its limit.
func TooLarge(what string, limit int) *Problem {
	return New(http.StatusRequestEntityTooLarge, CodeOf(http.StatusRequestEntityTooLarge), fmt.Sprintf("%s has at most %d bytes", what, limit))
}

// NotJSON is the problem of what two readers may understand differently.
func NotJSON() *Problem {
	return New(http.StatusBadRequest, CodeOf(http.StatusBadRequest), "this is not JSON, a member is there twice, or a number is too large")
}

// Internal is the problem of what should not have happened.
func Internal() *Problem {
	return New(http.StatusInternalServerError, "internal", "something went wrong inside; the node's log says what")
}

// Unread is that the body of a request could not be read to its end: the client is gone, is too slow, or
// sends what is no body.
type Unread struct{ Err error }

func (e *Unread) Error() string { return e.Err.Error() }
func (e *Unread) Unwrap() error { return e.Err }

// ProblemOf is the one place that turns an error into a status. Known tells whether the
// error was meant for users; if it was not, its text is not in the problem and belongs in
// the log.
func ProblemOf(err error) (p *Problem, known bool) {
	var problem *Problem
	var rejection *record.Rejection
	var unavailable *record.Unavailable
	var unread *Unread
	switch {
	case errors.As(err, &problem):
		return problem, true
	case errors.As(err, &rejection):
		p := New(statusOf(rejection.Reason), string(rejection.Reason), rejection.Detail)
		p.ETag = ETag(rejection.Present)
		return p, true
	case errors.As(err, &unavailable):
		p := New(http.StatusServiceUnavailable, "unavailable", unavailable.Detail)
		p.retryAfter = max(unavailable.RetryAfter, time.Second)
		return p, true
	case errors.As(err, &unread) && errors.Is(err, os.ErrDeadlineExceeded):
		return New(http.StatusRequestTimeout, CodeOf(http.StatusRequestTimeout), "the body did not come in time; send it again"), true
	case errors.As(err, &unread):
		return New(http.StatusBadRequest, CodeOf(http.StatusBadRequest), "the body breaks off, or its chunks are wrong; send it again"), true
	case errors.Is(err, record.ErrOutcomeUnknown):
		return New(http.StatusGatewayTimeout, "outcome_unknown", record.ErrOutcomeUnknown.Error()), true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return New(http.StatusGatewayTimeout, "timeout", "it took too long; try again"), true
	}
	return Internal(), false
}

// statusOf is total: while versions roll, the leader may give a reason that is not known here.
func statusOf(r record.Reason) int {
	switch r {
	case record.ReasonNotFound:
		return http.StatusNotFound
	case record.ReasonPrecondition:
		return http.StatusPreconditionFailed
	case record.ReasonConflict, record.ReasonDuplicateKey, record.ReasonPepperChanged, record.ReasonPeppersInUse, record.ReasonOlderNodes,
		record.ReasonKeyRevoked, record.ReasonKeyDisabled, record.ReasonKeyExpired, record.ReasonKeyRotating:
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

var codes = map[int]string{
	http.StatusBadRequest:            "bad_request",
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "not_found",
	http.StatusMethodNotAllowed:      "method_not_allowed",
	http.StatusNotAcceptable:         "not_acceptable",
	http.StatusRequestTimeout:        "timeout",
	http.StatusPreconditionFailed:    string(record.ReasonPrecondition),
	http.StatusRequestEntityTooLarge: "too_large",
	http.StatusUnsupportedMediaType:  "unsupported_media_type",
	http.StatusUnprocessableEntity:   string(record.ReasonInvalid),
}

// CodeOf is the word for a status whose problem has no word of its own.
func CodeOf(status int) string {
	if code, ok := codes[status]; ok {
		return code
	}
	return "internal"
}

// PanicText is what may be logged of a panic's value. The runtime's own errors hold numbers
// and types; any other value may hold a piece of the request, so only its type is told.
func PanicText(value any) string {
	if err, ok := value.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a %T", value)
}
