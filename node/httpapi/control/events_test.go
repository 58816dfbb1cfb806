package control_test

import (
	"strings"
	"testing"

	"veto/node/httpapi/control"
	"veto/node/httpapi/gate"
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

// L14: of streams of events each operator has so many, and the others theirs.
func TestStreamsOfOneAreBounded(t *testing.T) {
	watchers := gate.NewShares(1)
	p := open(t, func(c *control.Config) { c.Watchers = watchers })
	watchers.Take("key_" + string(record.RoleAuditor))
	w := p.as(record.RoleAuditor, "GET", "/v1/events?after=5.1", "")
	refused := p.problem(w, 429, "too_many_streams")
	if w.Header().Get("Retry-After") == "" || !strings.Contains(refused.Detail, "close one") {
		t.Errorf("%v %s: it says not what to do", w.Header(), refused.Detail)
	}
	for range 2 { // and each leaves its place
		if w := p.as(record.RoleValidator, "GET", "/v1/events", "", "Last-Event-ID", "5.1"); w.Code != 200 {
			t.Errorf("another operator: %d %s", w.Code, w.Body)
		}
	}
}
