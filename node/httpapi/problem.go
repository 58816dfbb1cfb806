package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"veto/record"
)

// ContentType of a problem document.
const ContentType = "application/problem+json"

// Problem is an error as users see it (RFC 9457). A deny is none: it is an answer.
type Problem struct {
	Title  string `json:"title" doc:"The status in words"`
	Status int    `json:"status" doc:"The HTTP status"`
	Detail string `json:"detail,omitempty" doc:"What is wrong and what to do"`
	Code   string `json:"code,omitempty" doc:"A stable word for programs"`

	retryAfter time.Duration
}

// New makes a problem with a text that is safe to show.
func New(status int, code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problem documents, whatever was asked for.
func (p *Problem) ContentType(string) string { return ContentType }

// GetHeaders are the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="veto"`)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(max(p.retryAfter, time.Second).Seconds())))
	}
	return h
}

// ProblemOf is the one place that turns an error into a status. Known tells whether the
// error was meant for users; if it was not, its text is not in the problem and belongs in
// the log.
func ProblemOf(err error) (p *Problem, known bool) {
	var problem *Problem
	var rejection *record.Rejection
	var unavailable *record.Unavailable
	switch {
	case errors.As(err, &problem):
		return problem, true
	case errors.As(err, &rejection):
		return New(rejectionStatus[rejection.Reason], string(rejection.Reason), rejection.Detail), true
	case errors.As(err, &unavailable):
		p := New(http.StatusServiceUnavailable, "unavailable", unavailable.Detail)
		p.retryAfter = unavailable.RetryAfter
		return p, true
	case errors.Is(err, record.ErrOutcomeUnknown):
		return New(http.StatusGatewayTimeout, "outcome_unknown", record.ErrOutcomeUnknown.Error()), true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return New(http.StatusGatewayTimeout, "timeout", "it took too long; try again"), true
	}
	return New(http.StatusInternalServerError, "internal", "something went wrong inside; the node's log says what"), false
}

var rejectionStatus = map[record.Reason]int{
	record.ReasonInvalid:  http.StatusUnprocessableEntity,
	record.ReasonNotFound: http.StatusNotFound,
	record.ReasonConflict: http.StatusConflict,
}

// Check is one of the things that must hold for a node to be ready.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}
