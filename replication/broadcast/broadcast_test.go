package broadcast_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"veto/record"
	"veto/record/event"
	"veto/replication/broadcast"
)

const goodToken = "good"

func start(t *testing.T, log *slog.Logger) *broadcast.Broadcast {
	t.Helper()
	return startWith(t, log, func(token string) (broadcast.Grant, bool) {
		return broadcast.Grant{Name: "reader", Subscribe: []string{"veto.revoked.>"}}, token == goodToken
	})
}

func startWith(t *testing.T, log *slog.Logger, authorize func(token string) (broadcast.Grant, bool)) *broadcast.Broadcast {
	t.Helper()
	b, err := broadcast.Start(broadcast.Config{NodeID: "one", ClientAddr: "127.0.0.1:0", Random: rand.Reader, Authorize: authorize, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

var jti = record.Name{Target: record.TargetJTI, Issuer: "i", Value: "v"}

func connect(n *broadcast.Broadcast, token string, bad chan<- error) (*nats.Conn, error) {
	return nats.Connect("nats://"+n.ClientAddr(), nats.Token(token), nats.CustomInboxPrefix(broadcast.InboxOf("key_"+token)), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case bad <- err:
		default:
		}
	}))
}

// P9
func TestClientsStayOutside(t *testing.T) {
	n := start(t, slog.New(slog.DiscardHandler))
	for _, token := range []string{"", "bad", "veto-node"} {
		if c, err := connect(n, token, nil); err == nil {
			c.Close()
			t.Errorf("let in with token %q", token)
		}
	}
	if c, err := nats.Connect("nats://"+n.ClientAddr(), nats.UserInfo("veto-node", goodToken)); err == nil {
		c.Close()
		t.Error("let in as the node itself")
	}
	bad := make(chan error, 10)
	c, err := connect(n, goodToken, bad)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, attempt := range []func() error{
		func() error { return c.Publish("veto.internal.revoke", nil) },
		func() error { return c.Publish("veto.revoked.jti", nil) },
		func() error { _, err := c.SubscribeSync("veto.internal.>"); return err },
		func() error { _, err := c.SubscribeSync(">"); return err },
	} {
		if err := errors.Join(attempt(), c.Flush()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-bad:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("allowed")
		}
	}
}

// P9
func TestClientsAreCutOffWithTheirGrant(t *testing.T) {
	n := start(t, slog.New(slog.DiscardHandler))
	closed := make(chan struct{})
	c, err := nats.Connect("nats://"+n.ClientAddr(), nats.Token(goodToken), nats.NoReconnect(),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n.Disconnect("another")
	if err := c.Flush(); err != nil {
		t.Fatalf("cut off with another's grant: %v", err)
	}
	n.Disconnect("reader")
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("still connected")
	}
}

func facts(r record.Revision) []event.Fact {
	all := factsOf(r, item(jti, false))
	all[0].Record = &record.Revocation{Name: jti}
	return all
}

// factsOf are of a revision at which the items happened.
func factsOf(r record.Revision, items ...event.Item) []event.Fact {
	e := event.Entry{Revision: r, At: time.Now(), Revocations: event.Position{Sequence: 3, Revision: 5}, Items: items}
	return slices.Collect(e.Facts())
}

func item(n record.Name, lifted bool) event.Item {
	return event.RevocationItem(&record.Revocation{Name: n}, record.DigestKey{}.Digest(n), lifted, "")
}

func TestFeed(t *testing.T) {
	n := start(t, slog.New(slog.DiscardHandler))
	c, err := connect(n, goodToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	feed, err := c.SubscribeSync("veto.revoked.>")
	if err = errors.Join(err, c.Flush()); err != nil {
		t.Fatal(err)
	}
	n.Tell("cluster-1", slices.Values(facts(8)))
	m, err := feed.NextMsg(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var got event.Event
	var data event.RevocationData
	err = errors.Join(json.Unmarshal(m.Data, &got), json.Unmarshal(got.Data, &data))
	if err != nil || m.Subject != "veto.revoked.jti" || got.ID != "8.1" || data.Sequence != 4 || data.Previous != 5 || data.Value != "v" {
		t.Errorf("%s %s %v", m.Subject, m.Data, err)
	}
	if m.Header.Get(nats.MsgIdHdr) != got.Source+"/8.1" || m.Header.Get("Content-Type") != event.ContentType {
		t.Errorf("%v", m.Header)
	}
}

// What is heard is told, whatever came before it that nobody hears: of another target, or of another type.
func TestFeedTellsWhatIsHeard(t *testing.T) {
	n := start(t, slog.New(slog.DiscardHandler))
	c, err := connect(n, goodToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	feed, err := c.SubscribeSync("veto.revoked.jti")
	if err = errors.Join(err, c.Flush()); err != nil {
		t.Fatal(err)
	}
	subject := record.Name{Target: record.TargetSubject, Issuer: "i", Value: "v"}
	n.Tell("cluster-1", slices.Values(factsOf(8, item(subject, false), item(jti, false), item(subject, true), item(jti, true), item(jti, false))))
	for _, want := range []string{"8.2", "8.5"} {
		m, err := feed.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if id := m.Header.Get(nats.MsgIdHdr); !strings.HasSuffix(id, "/"+want) {
			t.Errorf("%s, want %s", id, want)
		}
	}
}
