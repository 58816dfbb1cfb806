package data_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// D1: what stands behind a chunked body is not taken for a header.
func TestTrailersAreNoHeaders(t *testing.T) {
	s := start(t)
	for name, c := range map[string]struct {
		raw    string
		status int
	}{
		"credential in the trailer": {"POST /v1/validate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Api-Key: a.b.c\r\n\r\n", 400},
		"revision in the trailer":   {"POST /v1/validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n16\r\n{\"credential\":\"a.b.c\"}\r\n0\r\nVeto-Min-Revision: 9\r\n\r\n", 400},
		"credential in the body":    {"POST /v1/validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n16\r\n{\"credential\":\"a.b.c\"}\r\n0\r\n\r\n", 200},
		"too long to go on":         {fmt.Sprintf("POST /v1/validate HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", 10<<20), 417},
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, c.raw); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, _ := io.ReadAll(answer.Body)
		if answer.StatusCode != c.status {
			t.Errorf("%s: %s %s", name, answer.Status, strings.TrimSpace(string(text)))
		}
		_ = conn.Close()
	}
}
