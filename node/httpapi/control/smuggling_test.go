package control_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"veto/record"
	"veto/test/smuggled"
)

// L4: behind what is unclear nothing is answered. What net/http takes all the same is what everybody takes in one way.
func TestNothingIsHiddenBehindARequest(t *testing.T) {
	p := open(t)
	server := httptest.NewServer(p.handler)
	t.Cleanup(server.Close)
	inStep := map[string]bool{
		"HTTP/1.2": true, "a fold": true, "a header that ends in LF": true, "lines that end in LF": true, "one line that ends in LF": true,
	}
	for name, text := range p.unclear() {
		statuses, all, closed := smuggled.Answers(t, server.Listener.Addr().String(), text)
		if hidden := len(statuses) > 1 || strings.Contains(all, smuggled.Hidden) || !closed; hidden != inStep[name] {
			t.Errorf("%s: %v, closed: %t", name, statuses, closed)
		}
	}
}

func (p *plane) unclear() map[string]string {
	return smuggled.Requests("/v1/revocations", `{"target": "token"}`, "Authorization: Bearer "+p.secrets[record.RoleRevoker])
}

// L4: nginx and the control plane, over one connection, never come out of step.
func TestInStepWithNginx(t *testing.T) {
	p := open(t)
	server := httptest.NewServer(p.handler)
	t.Cleanup(server.Close)
	front := smuggled.Nginx(t, server.Listener.Addr().String())
	for name, text := range p.unclear() {
		smuggled.Send(t, front, text)
		for range 2 {
			_, all, _ := smuggled.Answers(t, front, "GET /v1/cluster HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "+p.secrets[record.RoleAuditor]+"\r\n\r\n")
			if !strings.Contains(all, `"leader"`) || strings.Contains(all, smuggled.Hidden) {
				t.Errorf("behind %s another is answered: %q", name, all)
			}
		}
	}
}
