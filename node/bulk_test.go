package node_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"veto/client"
	"veto/record"
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

// N13
func TestStreamOfRevocationsEndsWithItsKey(t *testing.T) {
	s := tellOf(t, 2, nil)
	s.trustDemoIssuer(0)
	iss := s.cluster.Issuer().URL()
	for what, end := range map[string]func(id string) error{
		"revoked": func(id string) error {
			_, err := s.at(1).Revoke(s.ctx, client.RevokeRequest{Target: "key", Value: id}, true, 0)
			return err
		},
		"disabled": func(id string) error {
			off := true
			_, err := s.at(0).UpdateKey(s.ctx, id, client.KeyChange{Disabled: &off})
			return err
		},
	} {
		k := s.key(client.KeyFields{Roles: []record.Role{record.RoleRevoker}})
		in, out := io.Pipe()
		r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.cluster.Control(0)+"/v1/revocations/bulk", in)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+k.Secret)
		r.Header.Set("Content-Type", "application/x-ndjson")
		send := func(value string) {
			if _, err := fmt.Fprintf(out, "{\"target\":\"subject\",\"issuer\":%q,\"value\":%q}\n", iss, value); err != nil {
				t.Error(err)
			}
		}
		go send(what + " before")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		lines := json.NewDecoder(bufio.NewReader(response.Body))
		var first, then client.Progress
		if err := errors.Join(lines.Decode(&first), end(k.ID)); err != nil || first.Through != 1 {
			t.Fatalf("%s: %+v, %v", what, first, err)
		}
		send(what + " after")
		if err := lines.Decode(&then); err != nil || then.Error == nil || then.Through > 1 {
			t.Errorf("%s: %+v, %v", what, then, err)
		}
		_ = out.Close()
		_ = response.Body.Close()
		page, err := s.at(0).Revocations(s.ctx, client.List{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.Items {
			if one.Value == what+" after" {
				t.Errorf("%s: what came after it is revoked", what)
			}
		}
	}
}
