package data_test

import (
	"strings"
	"testing"
	"time"

	"veto/node/httpapi/data"
	"veto/test/smuggled"
	"veto/validate"
)

const unclearBody = `{"credential": "x"}`

func unseen(c *data.Config) { c.Observe = func(validate.Verdict, time.Duration) {} }

// Q9: whatever is unclear is refused, or at least nothing behind it is answered.
func TestNothingIsHiddenBehindARequest(t *testing.T) {
	p := start(t, unseen)
	// Where everybody agrees where they end.
	answered := map[string]bool{"HTTP/1.2": true, "HTTP/2.0": true, "a huge extension": true}
	for name, text := range smuggled.Requests("/v1/validate", unclearBody) {
		statuses, all, closed := smuggled.Answers(t, p.addr, text)
		if len(statuses) > 1 || strings.Contains(all, smuggled.Hidden) || !closed {
			t.Errorf("%s: %v, closed: %t", name, statuses, closed)
		}
		if len(statuses) == 0 || answered[name] != (statuses[0] == "200") || !answered[name] && statuses[0] != "400" {
			t.Errorf("%s: %v", name, statuses)
		}
	}
}

// What is clear is answered, and so is what follows it; but not behind chunks, or HTTP/1.0.
func TestWhatIsClearIsAnswered(t *testing.T) {
	p := start(t, unseen)
	const behind = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for text, want := range map[string]int{
		"POST /v1/validate HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n" + unclearBody:                                 2,
		"POST /v1/validate HTTP/1.1\r\nhost:x\r\ncontent-length:\t19 \r\n\r\n" + unclearBody:                                2,
		"POST http://y/v1/validate HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n" + unclearBody:                         2,
		"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n":                                                                            2,
		"POST /v1/validate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n13\r\n" + unclearBody + "\r\n0\r\n\r\n": 1,
		"POST /v1/validate HTTP/1.0\r\nHost: x\r\nContent-Length: 19\r\n\r\n" + unclearBody:                                 1,
		"GET /livez HTTP/1.0\r\n\r\n": 1,
	} {
		statuses, _, closed := smuggled.Answers(t, p.addr, text+behind)
		if len(statuses) != want || statuses[0] != "200" || !closed {
			t.Errorf("%q: %v, closed: %t", text, statuses, closed)
		}
	}
}

// Q9: nginx and the data plane, over one connection, never come out of step: who asks behind any of these gets the
// answer to what was asked.
func TestInStepWithNginx(t *testing.T) {
	p := start(t, unseen)
	front := smuggled.Nginx(t, p.addr)
	for name, text := range smuggled.Requests("/v1/validate", unclearBody) {
		smuggled.Send(t, front, text)
		for range 2 {
			_, all, _ := smuggled.Answers(t, front, "POST /v1/validate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 19\r\n\r\n"+unclearBody)
			if !strings.Contains(all, `"outcome"`) || strings.Contains(all, smuggled.Hidden) {
				t.Errorf("behind %s another is answered: %q", name, all)
			}
		}
	}
}
