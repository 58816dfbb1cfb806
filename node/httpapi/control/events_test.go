package control_test

import (
	"strings"
	"testing"

	"veto/record"
)

func TestEvents(t *testing.T) {
	p := open(t)
	gone := p.problem(p.as(record.RoleAuditor, "GET", "/v1/events?after=3.1", ""), 410, "gone")
	if !strings.Contains(gone.Detail, "/v1/revocations") {
		t.Error(gone.Detail)
	}
	p.problem(p.as(record.RoleAuditor, "GET", "/v1/events?after=yesterday", ""), 422, "invalid")
	p.problem(p.as("", "GET", "/v1/events?after=5.1", ""), 401, "unauthorized")
	w := p.as(record.RoleValidator, "GET", "/v1/events", "", "Last-Event-ID", "5.1")
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(w.Body.String(), "id: 5.1\n\n") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}
