package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// ContentType of a problem document.
const ContentType = "application/problem+json"

// Problem is an error as users see it (RFC 9457). A deny is none: it is an answer. Its type
// is always about:blank: Code is what programs should look at.
type Problem struct {
	Type   string `json:"type" doc:"Always about:blank; see code"`
	Title  string `json:"title" doc:"The status in words"`
	Status int    `json:"status" doc:"The HTTP status"`
	Detail string `json:"detail,omitempty" doc:"What is wrong and what to do"`
	Code   string `json:"code,omitempty" doc:"A stable word for programs"`
	// RequestID is also in the node's log, if the problem is there.
	RequestID string       `json:"request_id,omitempty" doc:"Names this request in the node's log"`
	Errors    []FieldError `json:"errors,omitempty" doc:"The parts of the request that are wrong"`
	// ETag is that of the record that is not as a change wanted it; empty if there is no record.
	ETag string `json:"etag,omitempty" doc:"With precondition_failed, the present ETag of the record, if it is there; also as a header"`

	retryAfter time.Duration
}

// FieldError says what is wrong with one part of a request. It never holds the part's value:
// that may be a secret in the wrong place.
type FieldError struct {
	Location string `json:"location" doc:"Such as body.scopes[0] or query.limit"`
	Message  string `json:"message"`
}

func (e *FieldError) Error() string {
	if e.Location == "" {
		return e.Message
	}
	return e.Location + ": " + e.Message
}

// maxFieldName is how long the name of a field may be to be repeated: shorter than any of Veto's credentials.
const maxFieldName = 32

// IsFieldName tells whether what came as the name of a field may be repeated: other things may be secrets in the
// wrong place.
func IsFieldName(name string) bool {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.[]", r)
	}
	return name != "" && len(name) <= maxFieldName && !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) })
}

// New makes a problem with a text that is safe to show.
func New(status int, code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// ForRequest is a copy of the problem that names the request.
func (p *Problem) ForRequest(id string) *Problem {
	named := *p
	named.RequestID = id
	return &named
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
	if p.ETag != "" {
		h.Set("ETag", p.ETag)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return h
}

// RequestIDHeader tells the id of a request.
const RequestIDHeader = "X-Request-Id"

// NewRequestID names a request. An id that a client sends is not used: it would put what the
// client likes into the log.
func NewRequestID() string { return "req_" + strings.ToLower(ulid.Make().String()) }
