package control_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"veto/record"
)

// wired serves the plane on a connection as it comes from the network.
func (p *plane) wired() (send func(text string) net.Conn, end func()) {
	p.Helper()
	server := httptest.NewServer(p.handler)
	p.Cleanup(server.Close)
	return func(text string) net.Conn {
		p.Helper()
		c, err := new(net.Dialer).DialContext(p.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			p.Fatal(err)
		}
		p.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			p.Fatal(err)
		}
		return c
	}, server.Close
}

// posted is the beginning of a request with a body in chunks.
func (p *plane) posted(path, kind, more string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n%s\r\n",
		path, p.secrets[record.RoleRevoker], kind, more)
}

// A client that hangs up is nobody's failure but its own, however far it had come.
func TestHangUpIsNoError(t *testing.T) {
	line := `{"target":"jti","issuer":"i","value":"a"}` + "\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(line), line)
	for _, body := range []string{"", "5\r\n", chunk[:20], chunk, chunk + "5\r\nabc", chunk + "zz\r\n"} {
		p := open(t)
		send, end := p.wired()
		_ = send(p.posted("/v1/revocations/bulk", ndjson, "") + body).Close()
		end()
		if strings.Contains(p.log.String(), "level=ERROR") {
			t.Errorf("%q: %s", body, p.log.String())
		}
	}
}

// A body that cannot be read is the client's doing, and nothing is done by it.
func TestBodiesThatCannotBeRead(t *testing.T) {
	body := `{"target":"jti","issuer":"i","value":"a"}`
	whole := fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
	for _, sent := range []string{
		"5;" + strings.Repeat("a", 100000) + "\r\nabcde\r\n0\r\n\r\n", // a chunk extension
		"xyz\r\n" + body, "-1\r\n\r\n", whole + "zz\r\n\r\n", whole + "0000000000000000000000001\r\n\r\n",
	} {
		p := open(t)
		send, end := p.wired()
		r := p.answered(send(p.posted("/v1/revocations", "application/json", "") + sent))
		if len(r) != 1 || r[0].StatusCode != 400 {
			t.Errorf("%.30q: %+v", sent, r)
		}
		end()
		if p.cluster.changes() != 0 || strings.Contains(p.log.String(), "level=ERROR") {
			t.Errorf("%.30q: %d changes; %s", sent, p.cluster.changes(), p.log.String())
		}
	}
}

// Nothing is answered behind a request in chunks: there may have been a length too, by which others saw it end elsewhere.
func TestNothingFollowsChunks(t *testing.T) {
	p := open(t)
	send, _ := p.wired()
	chunks := "3\r\n{}\n\r\n0\r\n\r\n"
	second := "GET /v1/cluster HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, more := range []string{"", "Content-Length: 4\r\n", fmt.Sprintf("Content-Length: %d\r\n", len(chunks)+len(second))} {
		r := p.answered(send(p.posted("/v1/revocations", "application/json", more) + chunks + second))
		if len(r) != 1 || r[0].StatusCode != 422 || !r[0].Close {
			t.Errorf("%q: %d answers, %+v", more, len(r), r)
		}
	}
	if r := p.answered(send(strings.Replace(second, "close", "keep-alive", 1) + second)); len(r) != 2 {
		t.Errorf("without chunks: %d answers", len(r))
	}
}

// answered are the answers until the node closes the connection.
func (p *plane) answered(c net.Conn) (all []*http.Response) {
	p.Helper()
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
				p.Error(err)
			}
			return all
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		all = append(all, r)
	}
}
