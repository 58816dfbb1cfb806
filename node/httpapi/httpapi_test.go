package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/record"
)

func TestProblemOf(t *testing.T) {
	const inner = "open /data/secret: permission denied"
	for _, c := range []struct {
		err    error
		status int
		code   string
		known  bool
	}{
		{record.Invalid("x"), 422, "invalid", true},
		{record.NotFound("x"), 404, "not_found", true},
		{record.Conflict("x"), 409, "conflict", true},
		{&record.Rejection{Reason: "of_a_newer_version", Detail: "x"}, 422, "of_a_newer_version", true},
		{&record.Unavailable{Detail: "x", RetryAfter: 1500 * time.Millisecond}, 503, "unavailable", true},
		{&record.Unavailable{Detail: "x"}, 503, "unavailable", true},
		{fmt.Errorf("propose: %w", record.ErrOutcomeUnknown), 504, "outcome_unknown", true},
		{fmt.Errorf("propose: %w", context.DeadlineExceeded), 504, "timeout", true},
		{context.Canceled, 504, "timeout", true},
		{&httpapi.Unread{Err: errors.New(inner)}, 400, "bad_request", true},
		{fmt.Errorf("read: %w", &httpapi.Unread{Err: fmt.Errorf("tcp: %w", os.ErrDeadlineExceeded)}), 408, "timeout", true},
		{fmt.Errorf("propose: %w", record.Conflict("x")), 409, "conflict", true},
		{httpapi.New(403, "forbidden", "x"), 403, "forbidden", true},
		{errors.New(inner), 500, "internal", false},
	} {
		p, known := httpapi.ProblemOf(c.err)
		if p.Status != c.status || p.Code != c.code || known != c.known {
			t.Errorf("%v: %d %s known=%v, want %d %s known=%v", c.err, p.Status, p.Code, known, c.status, c.code, c.known)
		}
		if p.Type != "about:blank" || p.Title != http.StatusText(p.Status) || p.Title == "" {
			t.Errorf("%v: type %q, title %q", c.err, p.Type, p.Title)
		}
		if strings.Contains(p.Detail, "/data") {
			t.Errorf("an inner error got out: %s", p.Detail)
		}
	}
}

func TestProblemHeaders(t *testing.T) {
	p, _ := httpapi.ProblemOf(&record.Unavailable{RetryAfter: 1500 * time.Millisecond})
	if got := p.GetHeaders().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want 2: sooner than asked for is too soon", got)
	}
	p, _ = httpapi.ProblemOf(&record.Unavailable{})
	if got := p.GetHeaders().Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q, want 1", got)
	}
	if got := httpapi.New(401, "", "").GetHeaders().Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
		t.Errorf("WWW-Authenticate %q", got)
	}
}

// A problem may be shared; naming the request must not write to it.
func TestForRequestCopies(t *testing.T) {
	p := httpapi.New(400, "bad_request", "x")
	if named := p.ForRequest("req_1"); named.RequestID != "req_1" || p.RequestID != "" {
		t.Errorf("named %q, shared %q", named.RequestID, p.RequestID)
	}
}

func TestPanicText(t *testing.T) {
	const secret = "veto_op_secret"
	for _, v := range []any{secret, errors.New(secret), fmt.Sprintf("x %s", secret)} {
		if got := httpapi.PanicText(v); strings.Contains(got, secret) {
			t.Errorf("a panic's value got out: %s", got)
		}
	}
	defer func() {
		if got := httpapi.PanicText(recover()); !strings.Contains(got, "out of range") {
			t.Errorf("a runtime error is told as %q", got)
		}
	}()
	var none []int
	_ = none[len(secret)]
}

func TestReadinessOf(t *testing.T) {
	good, bad := httpapi.Check{Name: "a", OK: true}, httpapi.Check{Name: "b"}
	if r, status := httpapi.ReadinessOf([]httpapi.Check{good, good}, false); !r.Ready || status != 200 || r.Checks != nil {
		t.Errorf("all good: %+v %d", r, status)
	}
	if r, status := httpapi.ReadinessOf([]httpapi.Check{good, bad}, true); r.Ready || status != 503 || len(r.Checks) != 2 {
		t.Errorf("one bad: %+v %d", r, status)
	}
}
