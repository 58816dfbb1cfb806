package node_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"veto/client"
)

// N13
func TestStreamIsKnownByItsLines(t *testing.T) {
	s := tellOf(t, 2, nil)
	s.trustDemoIssuer(0)
	iss := s.cluster.Issuer().URL()
	lines := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "{\"target\":\"jti\",\"issuer\":%q,\"value\":\"v%d\"}\n", iss, i)
		}
		return b.String()
	}
	send := func(node int, text string) (client.Progress, int) {
		t.Helper()
		last, err := s.at(node).RevokeAll(s.ctx, "one-name", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }, func(client.Progress) {})
		var problem *client.Error
		if err != nil && !errors.As(err, &problem) {
			t.Fatal(err)
		}
		if err != nil {
			return last, problem.Status
		}
		return last, http.StatusOK
	}
	if last, status := send(0, lines(0, 5000)); status != http.StatusOK || last.Through != 5000 {
		t.Fatalf("%d, %+v", status, last)
	}
	for _, c := range []struct {
		what, text string
		status     int
		resumed    uint64
	}{
		{"the same", lines(0, 5000), http.StatusOK, 5000},
		{"other lines", lines(10, 5010), http.StatusConflict, 0},
		{"fewer lines", lines(0, 10), http.StatusConflict, 0},
		{"fewer and other lines", lines(7000, 7001), http.StatusConflict, 0},
		{"the same and more", lines(0, 5010), http.StatusOK, 5000},
	} {
		if last, status := send(1, c.text); status != c.status || last.Resumed != c.resumed {
			t.Errorf("%s: %d, %+v", c.what, status, last)
		}
	}
}
