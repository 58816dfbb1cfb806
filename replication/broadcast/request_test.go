package broadcast_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"veto/replication/broadcast"
	"veto/test/said"
)

// asking are grants of clients that may ask, by their tokens.
var asking = map[string]broadcast.Grant{
	"alice":  {Name: "key_alice", Publish: []string{broadcast.SubjectRevoke}, Subscribe: []string{"veto.revoked.>", broadcast.InboxOf("key_alice") + ".>"}},
	"bob":    {Name: "key_bob", Publish: []string{broadcast.SubjectRevoke}, Subscribe: []string{broadcast.InboxOf("key_bob") + ".>"}},
	"carol":  {Name: "key_carol", Publish: []string{broadcast.SubjectRevoke}, Subscribe: []string{"veto.revoked.>", broadcast.InboxOf("key_carol") + ".>"}},
	"reader": {Name: "key_reader", Subscribe: []string{"veto.>"}},
}

// asked is a node that answers requests by the handler, if there is one.
func asked(t *testing.T, handle func(context.Context, broadcast.Request) []byte) *broadcast.Broadcast {
	t.Helper()
	n := startWith(t, slog.New(slog.DiscardHandler), func(token string) (broadcast.Grant, bool) { g, ok := asking[token]; return g, ok })
	if handle != nil {
		stop, err := n.Answer(handle)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
	}
	return n
}

// echo answers who asked, and what.
func echo(_ context.Context, r broadcast.Request) []byte {
	return fmt.Appendf(nil, "%s %s %s", r.By, r.ID, r.Body)
}

func ask(t *testing.T, n *broadcast.Broadcast, token string, m *nats.Msg) string {
	t.Helper()
	c, err := connect(n, token, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.RequestMsg(m, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return string(got.Data)
}

// P13
func TestRequestsAreAnswered(t *testing.T) {
	n := asked(t, echo)
	m := nats.NewMsg(broadcast.SubjectRevoke)
	m.Data = []byte("please")
	m.Header.Set(nats.MsgIdHdr, "r1")
	if got := ask(t, n, "alice", m); got != "key_alice r1 please" {
		t.Error(got)
	}
}

// P13
func TestNobodyAsksInTheNameOfAnother(t *testing.T) {
	n := asked(t, echo)
	m := nats.NewMsg(broadcast.SubjectRevoke)
	m.Header["Nats-Request-Info"] = []string{`{"acc":"CLIENT/key_alice","user":"key_alice"}`}
	if got := ask(t, n, "bob", m); !strings.HasPrefix(got, "key_bob ") {
		t.Errorf("with a header: %s", got)
	}
	for name, connect := range map[string]string{
		"with a user's name": `{"user":"key_alice","pass":"bob","headers":true,"verbose":true}`,
		"with a key":         `{"auth_token":"bob","nkey":"key_alice","headers":true,"verbose":true}`,
		"with a token":       `{"auth_token":"bob","jwt":"key_alice","headers":true,"verbose":true}`,
	} {
		if got := raw(t, n, connect); got != "" && !strings.HasPrefix(got, "key_bob ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	// Past the one way in there is none.
	bad := make(chan error, 10)
	c, err := connectWith(n, "bob", bad)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, subject := range []string{"veto.internal.revoke", "veto.revoke.x", "veto.revoked.jti", "_INBOX.x", "$SYS.REQ.SERVER.PING", "$JS.API.INFO"} {
		if err := errors.Join(c.Publish(subject, nil), c.Flush()); err != nil {
			t.Fatal(err)
		}
		if err := <-bad; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", subject, err)
		}
	}
	for _, subject := range []string{"_INBOX.>", "_INBOX.*.*", broadcast.InboxOf("key_alice") + ".>", ">"} {
		if _, err := c.SubscribeSync(subject); err != nil || c.Flush() != nil {
			t.Fatal(err)
		}
		if err := <-bad; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("to hear %s: %v", subject, err)
		}
	}
	reader, err := connectWith(n, "reader", bad)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := errors.Join(reader.Publish(broadcast.SubjectRevoke, nil), reader.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := <-bad; !errors.Is(err, nats.ErrPermissionViolation) {
		t.Error(err)
	}
}

func connectWith(b *broadcast.Broadcast, token string, bad chan<- error) (*nats.Conn, error) {
	return nats.Connect("nats://"+b.ClientAddr(), nats.Token(token), nats.CustomInboxPrefix(broadcast.InboxOf("key_"+token)), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { bad <- err }))
}

// raw speaks the protocol itself, to say what no client library would. It gives the answer, or
// nothing if it is not let in.
func raw(t *testing.T, n *broadcast.Broadcast, connect string) string {
	t.Helper()
	c, err := net.Dial("tcp", n.ClientAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(c)
	if _, err := fmt.Fprintf(c, "CONNECT %s\r\nSUB _INBOX.key_bob.r 1\r\nPUB veto.revoke _INBOX.key_bob.r 2\r\nhi\r\n", connect); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "-ERR") {
			return ""
		}
		if strings.HasPrefix(line, "MSG _INBOX.key_bob.r") {
			answer, _ := in.ReadString('\n')
			return strings.TrimSpace(answer)
		}
	}
}

// Requests that are more than can be done are told so, and the others are done.
func TestTooManyRequests(t *testing.T) {
	held, begun := make(chan struct{}), make(chan struct{}, 1000)
	n := asked(t, func(ctx context.Context, _ broadcast.Request) []byte {
		begun <- struct{}{}
		select {
		case <-held:
		case <-ctx.Done():
		}
		return []byte("done")
	})
	c, err := connect(n, "alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	inbox := c.NewInbox()
	answers, err := c.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	const most = 256
	for range most + 5 {
		if err := c.PublishRequest(broadcast.SubjectRevoke, inbox, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		m, err := answers.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var problem struct{ Status int }
		if err := json.Unmarshal(m.Data, &problem); err != nil || problem.Status != 503 {
			t.Errorf("%s", m.Data)
		}
	}
	for range most {
		<-begun
	}
	if s := n.Stats(); s.Busy != 5 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	close(held)
	for range most {
		if m, err := answers.NextMsg(10 * time.Second); err != nil || string(m.Data) != "done" {
			t.Fatalf("%v", err)
		}
	}
}

// P17
func TestWhatClientsSayIsNotLogged(t *testing.T) {
	var log said.Output
	n := start(t, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	refused := make(chan error, 10)
	c, err := nats.Connect("nats://"+n.ClientAddr(), nats.Token(goodToken), nats.Name(`my "secret" name`), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Publish(`a."secret"`, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SubscribeSync(`b."secret"`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case <-refused:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was refused")
		}
	}
	if text := log.String(); strings.Contains(text, "secret") || strings.Count(text, "Violation") != 2 {
		t.Error(text)
	}
}
