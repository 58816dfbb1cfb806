package broadcast_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"veto/record"
	"veto/record/event"
	"veto/replication/broadcast"
)

// authority gives TLS for routes of one cluster.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := x509.ParseCertificate(der)
	return authority{c, key}
}

func (a authority) routes(t *testing.T) *tls.Config {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"node"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}
}

type node struct {
	*broadcast.Broadcast
	notices chan record.Notice
	beacons chan record.Beacon
}

const goodToken = "good"

func start(t *testing.T, id string, routes *tls.Config) *node {
	t.Helper()
	return startWith(t, id, routes, slog.New(slog.DiscardHandler))
}

func startWith(t *testing.T, id string, routes *tls.Config, log *slog.Logger) *node {
	t.Helper()
	n := &node{notices: make(chan record.Notice, 100), beacons: make(chan record.Beacon, 100)}
	var err error
	n.Broadcast, err = broadcast.Start(broadcast.Config{
		NodeID: id, ClientAddr: "127.0.0.1:0", RouteAddr: "127.0.0.1:0", RouteTLS: routes, Random: rand.Reader,
		Authorize: func(token string) (broadcast.Grant, bool) {
			return broadcast.Grant{Name: "reader", Subscribe: []string{"veto.revoked.>"}}, token == goodToken
		},
		Handlers: broadcast.Handlers{
			Notice: func(x record.Notice) { n.notices <- x },
			Beacon: func(x record.Beacon) { n.beacons <- x },
		},
		Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// together starts nodes that know each other's routes, and waits until each hears each.
func together(t *testing.T, ids ...string) []*node {
	t.Helper()
	a := newAuthority(t)
	var nodes []*node
	for _, id := range ids {
		nodes = append(nodes, start(t, id, a.routes(t)))
	}
	meet(t, nodes...)
	return nodes
}

// join tells each node the routes of the others.
func join(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		var others []string
		for _, o := range nodes {
			if o != n {
				others = append(others, o.RouteAddr())
			}
		}
		if err := n.SetRoutes(others); err != nil {
			t.Fatal(err)
		}
	}
}

// meet joins the nodes, and waits until each hears each.
func meet(t *testing.T, nodes ...*node) {
	t.Helper()
	join(t, nodes...)
	for _, from := range nodes {
		for _, to := range nodes {
			if from != to {
				hears(t, from, to)
			}
		}
	}
}

// hears sends beacons until one arrives.
func hears(t *testing.T, from, to *node) {
	t.Helper()
	hearsMark(t, from, to, from.RouteAddr())
}

// hearsMark sends beacons with a mark until one arrives. If nothing else has it, what was sent before has arrived, too.
func hearsMark(t *testing.T, from, to *node, text string) {
	t.Helper()
	mark := record.Beacon{Cluster: "probe", Leader: text}
	limit := time.After(20 * time.Second)
	for {
		from.Beacon(mark)
		again := time.After(50 * time.Millisecond)
	wait:
		for {
			select {
			case got := <-to.beacons:
				if got.Leader == mark.Leader {
					return
				}
			case <-again:
				break wait
			case <-limit:
				t.Fatal("a beacon did not arrive")
			}
		}
	}
}

func notice(rev record.Revision) record.Notice {
	return record.Notice{Cluster: "c", Revision: rev, Revocations: []record.Revocation{{Name: record.Name{Target: record.TargetJTI, Issuer: "i", Value: "v"}}}}
}

// P2
func TestNoticeReachesTheOthers(t *testing.T) {
	nodes := together(t, "a", "b", "c")
	nodes[1].Notice(notice(7))
	for i, n := range nodes {
		if i == 1 {
			continue
		}
		select {
		case got := <-n.notices:
			if got.Revision != 7 || got.Revocations[0].Value != "v" {
				t.Errorf("%+v", got)
			}
		case <-time.After(10 * time.Second):
			t.Error("no notice")
		}
	}
	if len(nodes[1].notices) != 0 {
		t.Error("a node hears itself")
	}
}

// P9
func TestStrangerIsNoRoute(t *testing.T) {
	nodes := together(t, "a", "b")
	stranger := start(t, "x", newAuthority(t).routes(t))
	if err := stranger.SetRoutes([]string{nodes[0].RouteAddr(), nodes[1].RouteAddr()}); err != nil {
		t.Fatal(err)
	}
	stranger.Notice(notice(666))
	// Messages of one sender arrive in order, so when these are there a forged one would be.
	for range 20 {
		stranger.Notice(notice(666))
		hears(t, nodes[1], nodes[0])
	}
	if stranger.Stats().Routes != 0 || len(nodes[0].notices) != 0 || len(nodes[1].notices) != 0 {
		t.Errorf("%+v, %d notices", stranger.Stats(), len(nodes[0].notices))
	}
}

func connect(n *node, token string, bad chan<- error) (*nats.Conn, error) {
	return nats.Connect("nats://"+n.ClientAddr(), nats.Token(token), nats.CustomInboxPrefix(broadcast.InboxOf("key_"+token)), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case bad <- err:
		default:
		}
	}))
}

// P9
func TestClientsStayOutside(t *testing.T) {
	n := start(t, "a", newAuthority(t).routes(t))
	for _, token := range []string{"", "bad", "veto-nodes"} {
		if c, err := connect(n, token, nil); err == nil {
			c.Close()
			t.Errorf("let in with token %q", token)
		}
	}
	if c, err := nats.Connect("nats://"+n.ClientAddr(), nats.UserInfo("veto-nodes", goodToken)); err == nil {
		c.Close()
		t.Error("let in as the node itself")
	}
	bad := make(chan error, 10)
	c, err := connect(n, goodToken, bad)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data, _ := record.Encode(notice(666))
	for _, attempt := range []func() error{
		func() error { return c.Publish("veto.internal.notice", data) },
		func() error { return c.Publish("veto.revoked.jti", data) },
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
	if len(n.notices) != 0 {
		t.Error("a client forged a notice")
	}
}

// P9
func TestClientsAreCutOffWithTheirGrant(t *testing.T) {
	n := start(t, "a", newAuthority(t).routes(t))
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
	one := notice(r).Revocations[0]
	all := factsOf(r, item(one.Name, false))
	all[0].Record = &one
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
	nodes := together(t, "a", "b")
	c, err := connect(nodes[0], goodToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	feed, err := c.SubscribeSync("veto.revoked.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		// Until the other node knows of the subscription.
		nodes[1].Tell("cluster-1", facts(8))
		wait, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		m, err := feed.NextMsgWithContext(wait)
		stop()
		if err != nil {
			if ctx.Err() != nil {
				t.Fatal("nothing on the feed")
			}
			continue
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
		return
	}
}

// What is heard is told, whatever came before it that nobody hears: of another target, or of another type.
func TestFeedTellsWhatIsHeard(t *testing.T) {
	n := together(t, "a")[0]
	c, err := connect(n, goodToken, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	feed, err := c.SubscribeSync("veto.revoked.jti")
	if err = errors.Join(err, c.Flush()); err != nil {
		t.Fatal(err)
	}
	jti := notice(8).Revocations[0].Name
	subject := record.Name{Target: record.TargetSubject, Issuer: "i", Value: "v"}
	n.Tell("cluster-1", factsOf(8, item(subject, false), item(jti, false), item(subject, true), item(jti, true), item(jti, false)))
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

// P2
func TestWhatCannotBeReadIsCounted(t *testing.T) {
	nodes := together(t, "one", "two")
	if err := nodes[0].Mumble(); err != nil {
		t.Fatal(err)
	}
	nodes[0].Notice(record.Notice{First: 7})
	select {
	case n := <-nodes[1].notices:
		if s := nodes[1].Stats(); s.Refused != 1 || s.Received == 0 || n.First != 7 {
			t.Errorf("%+v, then %+v", s, n)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the notice behind it does not come")
	}
}
