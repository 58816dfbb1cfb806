package smuggled

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// Hidden is part of what answers the request that is hidden, and of no other answer.
const Hidden = `"alive":true`

// hidden is a request that nobody but who hid it knows of. Where it is answered, the connection is closed, too.
const hidden = "GET /livez HTTP/1.1\r\nHost: hidden\r\nConnection: close\r\n\r\n"

func ask(line string, headers ...string) string {
	return line + "\r\n" + strings.Join(append(headers, "Content-Type: application/json"), "\r\n") + "\r\n\r\n"
}

// Requests are such requests, each with another behind it, by what is unclear in them. They go to the path, with a body of
// 19 bytes; fields are added to each.
func Requests(path, body string, fields ...string) map[string]string {
	post, host := "POST "+path+" HTTP/1.1", strings.Join(append([]string{"Host: x"}, fields...), "\r\n")
	chunked := "13\r\n" + body + "\r\n0\r\n\r\n"
	return map[string]string{
		"two lengths that differ":        ask(post, host, "Content-Length: 19", "Content-Length: 5") + body + hidden,
		"two lengths in one":             ask(post, host, "Content-Length: 19, 5") + body + hidden,
		"the same length twice in one":   ask(post, host, "Content-Length: 19, 19") + body + hidden,
		"a length with a sign":           ask(post, host, "Content-Length: +19") + body + hidden,
		"a length below zero":            ask(post, host, "Content-Length: -1") + hidden,
		"a hexadecimal length":           ask(post, host, "Content-Length: 0x13") + body + hidden,
		"a length with text":             ask(post, host, "Content-Length: 19a") + body + hidden,
		"a length with a space within":   ask(post, host, "Content-Length: 1 9") + body + hidden,
		"an empty length":                ask(post, host, "Content-Length:") + body + hidden,
		"a length beyond counting":       ask(post, host, "Content-Length: 99999999999999999999999") + body + hidden,
		"a space before the colon":       ask(post, host, "Content-Length : 19") + body + hidden,
		"a tab before the colon":         ask(post, host, "Content-Length\t: 19") + body + hidden,
		"length and chunks":              ask(post, host, "Content-Length: 5", "Transfer-Encoding: chunked") + chunked + hidden,
		"chunks and length":              ask(post, host, "Transfer-Encoding: chunked", "Content-Length: 5") + chunked + hidden,
		"chunks, not quite":              ask(post, host, "Transfer-Encoding: xchunked") + chunked + hidden,
		"chunks in a list":               ask(post, host, "Transfer-Encoding: identity, chunked") + chunked + hidden,
		"chunks twice":                   ask(post, host, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + chunked + hidden,
		"chunks and no chunks":           ask(post, host, "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + chunked + hidden,
		"chunks, not last":               ask(post, host, "Transfer-Encoding: chunked, gzip") + chunked + hidden,
		"chunks in quotes":               ask(post, host, `Transfer-Encoding: "chunked"`) + chunked + hidden,
		"chunks behind a vertical tab":   ask(post, host, "Transfer-Encoding: \vchunked") + chunked + hidden,
		"chunks with a space before":     ask(post, host, "Transfer-Encoding : chunked") + chunked + hidden,
		"chunks with a fold":             ask(post, host, "Transfer-Encoding:\r\n chunked") + chunked + hidden,
		"identity":                       ask(post, host, "Transfer-Encoding: identity", "Content-Length: 19") + body + hidden,
		"chunks in HTTP/1.0":             ask("POST "+path+" HTTP/1.0", host, "Transfer-Encoding: chunked") + chunked + hidden,
		"a fold":                         ask(post, host, "X-A: a\r\n b", "Content-Length: 19") + body + hidden,
		"a fold first":                   "POST " + path + " HTTP/1.1\r\n Host: x\r\nContent-Length: 19\r\nContent-Type: application/json\r\n\r\n" + body + hidden,
		"NUL in a name":                  ask(post, host, "X-\x00A: a", "Content-Length: 19") + body + hidden,
		"NUL in a value":                 ask(post, host, "X-A: a\x00b", "Content-Length: 19") + body + hidden,
		"a CR in a value":                ask(post, host, "X-A: a\rContent-Length: 5", "Content-Length: 19") + body + hidden,
		"a name with a space":            ask(post, host, "X A: a", "Content-Length: 19") + body + hidden,
		"an empty name":                  ask(post, host, ": a", "Content-Length: 19") + body + hidden,
		"a line without a colon":         ask(post, host, "what is this", "Content-Length: 19") + body + hidden,
		"a name that is not ASCII":       ask(post, host, "X-\xc3\xa4: a", "Content-Length: 19") + body + hidden,
		"no host":                        ask(post, append(slices.Clone(fields), "Content-Length: 19")...) + body + hidden,
		"two hosts":                      ask(post, host, "Host: y", "Content-Length: 19") + body + hidden,
		"a host with a space":            ask(post, "Host: x y", strings.Join(append(slices.Clone(fields), "X-C: c"), "\r\n"), "Content-Length: 19") + body + hidden,
		"three spaces in the first line": ask("POST  "+path+" HTTP/1.1", host, "Content-Length: 19") + body + hidden,
		"a tab in the first line":        ask("POST\t"+path+"\tHTTP/1.1", host, "Content-Length: 19") + body + hidden,
		"HTTP/1.2":                       ask("POST "+path+" HTTP/1.2", host, "Content-Length: 19") + body + hidden,
		"HTTP/2.0":                       ask("POST "+path+" HTTP/2.0", host, "Content-Length: 19") + body + hidden,
		"HTTP/0.9":                       "GET /livez\r\n\r\n" + hidden,
		"HTTP in small":                  ask("POST "+path+" http/1.1", host, "Content-Length: 19") + body + hidden,
		"a size with a sign":             ask(post, host, "Transfer-Encoding: chunked") + "+13\r\n" + body + "\r\n0\r\n\r\n" + hidden,
		"a size with 0x":                 ask(post, host, "Transfer-Encoding: chunked") + "0x13\r\n" + body + "\r\n0\r\n\r\n" + hidden,
		"a size beyond counting":         ask(post, host, "Transfer-Encoding: chunked") + "10000000000000013\r\n" + body + "\r\n0\r\n\r\n" + hidden,
		"a chunk that is longer":         ask(post, host, "Transfer-Encoding: chunked") + "13\r\n" + body + "xx\r\n0\r\n\r\n" + hidden,
		"a huge extension":               ask(post, host, "Transfer-Encoding: chunked") + "13;" + strings.Repeat("a", 100_000) + "\r\n" + body + "\r\n0\r\n\r\n" + hidden,
		"a size that ends in LF":         ask(post, host, "Transfer-Encoding: chunked") + "13\n" + body + "\r\n0\r\n\r\n" + hidden,
		"an extension with LF":           ask(post, host, "Transfer-Encoding: chunked") + "13;a\n" + body + "\r\n0\r\n\r\n" + hidden,
		"a chunk that ends in LF":        ask(post, host, "Transfer-Encoding: chunked") + "13\r\n" + body + "\n0\r\n\r\n" + hidden,
		"lines that end in LF":           strings.ReplaceAll(ask(post, host, "Content-Length: 19"), "\r\n", "\n") + body + hidden,
		"one line that ends in LF":       ask(post, host+"\nX-B: b", "Content-Length: 19") + body + hidden,
		"a header that ends in LF":       ask(post, host, "Content-Length: 19")[:len(ask(post, host, "Content-Length: 19"))-4] + "\n\n" + body + hidden,
		"CR alone between lines":         ask(post, host+"\rX-B: b", "Content-Length: 19") + body + hidden,
	}
}

// patience is how long a connection on which nothing more comes is taken for one that stays open, where it is to be closed.
const patience = 20 * time.Second

// Answers sends the text on a connection of its own, which is to be closed then. It gives the statuses of what is answered, all
// of it as it came, and whether the connection was closed.
func Answers(t testing.TB, addr, text string) (statuses []string, all string, closed bool) {
	t.Helper()
	return answers(t, addr, text, patience)
}

// Send sends the text, and reads for a moment what is answered, as the connection may stay open.
func Send(t testing.TB, addr, text string) {
	t.Helper()
	_, _, _ = answers(t, addr, text, 300*time.Millisecond)
}

func answers(t testing.TB, addr, text string, patience time.Duration) (statuses []string, all string, closed bool) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c, text) // it may be closed before it has all
	}()
	defer func() {
		_ = c.Close()
		<-sent
	}()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c)
	for _, part := range strings.Split(string(b), "HTTP/1.")[1:] {
		if len(part) > 5 {
			statuses = append(statuses, part[2:5])
		}
	}
	timeout, is := err.(net.Error) //nolint:errorlint // a connection's own
	return statuses, string(b), !is || !timeout.Timeout()
}
