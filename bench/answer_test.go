package bench

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// L3
func TestAnswersAreReadToTheirEnd(t *testing.T) {
	var a answer
	r := bufio.NewReader(strings.NewReader(
		"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst" +
			"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nseco\r\n2\r\nnd\r\n0\r\nTrailer: a\r\n\r\n" +
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" +
			"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"))
	for _, want := range []answer{{200, []byte("first"), false}, {404, []byte("second"), false}, {204, []byte{}, true}, {200, []byte{}, false}} {
		require.NoError(t, a.read(r))
		require.Equal(t, want, a)
	}
	require.Error(t, a.read(r))
	for name, text := range map[string]string{
		"no HTTP":         "SSH-2.0-OpenSSH\r\n\r\n",
		"no end":          "HTTP/1.1 200 OK\r\n\r\n",
		"going on":        "HTTP/1.1 100 Continue\r\n\r\n",
		"below zero":      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"cut off":         "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno",
		"too long":        "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
		"no header":       "HTTP/1.1 200 OK\r\nwhat\r\n\r\n",
		"no chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
		"chunk too long":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
		"an endless line": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20),
	} {
		require.Error(t, a.read(bufio.NewReader(strings.NewReader(text))), name)
	}
}

// FuzzReadAnswer holds what is read against the standard library, where that reads the same kind of answer.
func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nseco\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a answer
		if a.read(bufio.NewReader(bytes.NewReader(b))) != nil {
			return
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil {
			return // they are stricter about headers
		}
		defer theirs.Body.Close()
		require.Equal(t, theirs.StatusCode, a.status)
		require.LessOrEqual(t, len(a.body), len(b))
	})
}
