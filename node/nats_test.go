package node_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"veto/client"
	"veto/node/dev"
	"veto/record"
	"veto/record/event"
	"veto/replication/broadcast"
	"veto/validate"
)

// nats connects to a node's NATS server; what goes wrong later comes on the channel.
func (s *story) nats(i int, key client.NewKey) (*nats.Conn, chan error) {
	s.Helper()
	bad := make(chan error, 100)
	c, err := nats.Connect(s.cluster.NATS(i), nats.Token(key.Secret), nats.NoReconnect(),
		nats.CustomInboxPrefix(broadcast.InboxOf(key.ID)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { bad <- err }))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	return c, bad
}

// key makes a key, and waits until every node knows it.
func (s *story) key(f client.KeyFields) client.NewKey {
	s.Helper()
	k, err := s.at(0).CreateKey(s.ctx, f)
	if err != nil {
		s.Fatal(err)
	}
	for i := range s.nodes {
		for _, err := s.at(i).Key(s.ctx, k.ID); err != nil; _, err = s.at(i).Key(s.ctx, k.ID) {
			select {
			case <-s.ctx.Done():
				s.Fatalf("node %s: %v", dev.ID(i), err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return k
}

// revokeBy asks over NATS.
func (s *story) revokeBy(c *nats.Conn, body, id string) (record.Receipt, client.Error) {
	s.Helper()
	m := nats.NewMsg("veto.revoke")
	m.Data = []byte(body)
	if id != "" {
		m.Header.Set(nats.MsgIdHdr, id)
	}
	answer, err := c.RequestMsgWithContext(s.ctx, m)
	if err != nil {
		s.Fatal(err)
	}
	var r record.Receipt
	var p client.Error
	if err := errors.Join(json.Unmarshal(answer.Data, &r), json.Unmarshal(answer.Data, &p)); err != nil {
		s.Fatalf("%s: %v", answer.Data, err)
	}
	return r, p
}

var revoker = []record.Role{record.RoleRevoker}

// N3
func TestRevokeOverNATS(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	iss := s.cluster.Issuer().URL()
	key := s.key(client.KeyFields{Roles: revoker})
	for i := range 3 {
		token := s.token()
		s.eventually(i, token, validate.OK)
		c, _ := s.nats(i, key)
		receipt, problem := s.revokeBy(c, fmt.Sprintf(`{"token":%q,"reason":"leaked"}`, token), "")
		if receipt.State != record.StateCommitted || receipt.Revision == 0 || len(receipt.EnforcedOn) == 0 {
			t.Fatalf("%+v %+v", receipt, problem)
		}
		for j := range 3 {
			if v := s.ask(j, token, receipt.Revision); v.Outcome == validate.Allow {
				t.Errorf("node %s: %+v", dev.ID(j), v)
			}
		}
		standing, err := s.at(0).Revocation(s.ctx, receipt.ID)
		if err != nil || standing.By != key.ID || standing.Reason != "leaked" {
			t.Errorf("%+v %v", standing, err)
		}
	}
	c, _ := s.nats(0, key)
	body := fmt.Sprintf(`{"target":"subject","issuer":%q,"value":"alice"}`, iss)
	first, _ := s.revokeBy(c, body, "event-1")
	if _, err := s.at(0).Lift(s.ctx, first.ID, "a mistake"); err != nil {
		t.Fatal(err)
	}
	s.liftedEverywhere(first.ID) // whichever node answers then
	again, p := s.revokeBy(c, body, "event-1")
	if _, err := s.at(0).Revocation(s.ctx, first.ID); err == nil || p.Status != 409 || again.State != "" {
		t.Errorf("asked twice, and lifted in between: %+v, then %+v %+v, %v", first, again, p, err)
	}
	if _, p := s.revokeBy(c, body[:len(body)-1]+`,"reason":"other"}`, "event-1"); p.Status != 409 {
		t.Errorf("the same id for another request: %+v", p)
	}
	for _, bad := range []string{"", "{", `{"target":"jti"}`, `{"target":"subject","issuer":"https://nobody.example","value":"x"}`} {
		if r, p := s.revokeBy(c, bad, ""); p.Status < 400 || p.Detail == "" || r.Revision != 0 {
			t.Errorf("%q: %+v %+v", bad, r, p)
		}
	}
	s.refusedOverNATS(iss)
}

// liftedEverywhere waits until no node has the revocation.
func (s *story) liftedEverywhere(id string) {
	s.Helper()
	for i := range s.nodes {
		for _, err := s.at(i).Revocation(s.ctx, id); err == nil; _, err = s.at(i).Revocation(s.ctx, id) {
			select {
			case <-s.ctx.Done():
				s.Fatalf("node %s has %s still", dev.ID(i), id)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

func (s *story) refusedOverNATS(iss string) {
	s.Helper()
	bound, denied := s.nats(1, s.key(client.KeyFields{Roles: revoker, Issuers: []string{iss}}))
	for _, others := range []string{"_INBOX.>", "_INBOX.*.*.*", "veto.revoked.>"} {
		if _, err := bound.SubscribeSync(others); err != nil {
			s.Fatal(err)
		}
		select {
		case err := <-denied:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				s.Errorf("%s: %v", others, err)
			}
		case <-s.ctx.Done():
			s.Fatalf("%s may be heard", others)
		}
	}
	if r, p := s.revokeBy(bound, fmt.Sprintf(`{"target":"subject","issuer":%q,"value":"bob"}`, iss), ""); r.Revision == 0 {
		s.Errorf("its own issuer: %+v", p)
	}
	if _, p := s.revokeBy(bound, `{"target":"subject","issuer":"https://other.example","value":"bob"}`, ""); p.Status != 403 {
		s.Errorf("another's issuer: %+v", p)
	}
	reader, bad := s.nats(1, s.key(client.KeyFields{Roles: []record.Role{record.RoleAuditor}}))
	if err := reader.Publish("veto.revoke", []byte(`{}`)); err != nil {
		s.Fatal(err)
	}
	select {
	case err := <-bad:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			s.Error(err)
		}
	case <-s.ctx.Done():
		s.Error("a key without the role may ask")
	}
	// A key that is bound is so on HTTP as well, for one and for many.
	key := s.key(client.KeyFields{Roles: revoker, Issuers: []string{"https://other.example"}})
	c := client.New(client.Options{Control: []string{s.cluster.Control(2)}, Token: key.Secret})
	_, err := c.Revoke(s.ctx, client.RevokeRequest{Target: "subject", Issuer: iss, Value: "carol"}, false, 0)
	if err == nil || !strings.Contains(err.Error(), "bound") {
		s.Error(err)
	}
	yes := true
	for what, take := range map[string]func(id string) error{
		"disabled": func(id string) error {
			_, err := s.at(0).UpdateKey(s.ctx, id, client.KeyChange{Disabled: &yes})
			return err
		},
		// It may come again with the old secret, and is then let in until that ends.
		"rolled": func(id string) error { _, err := s.at(0).RollKey(s.ctx, id, time.Hour, false); return err },
	} {
		key := s.key(client.KeyFields{Roles: revoker})
		gone, _ := s.nats(0, key)
		if err := take(key.ID); err != nil {
			s.Fatal(err)
		}
		for gone.IsConnected() {
			if err := gone.FlushTimeout(time.Second); err != nil {
				break
			}
			if s.ctx.Err() != nil {
				s.Fatal("still connected with a key that is " + what)
			}
		}
	}
}

// F1 of room replication: each node tells its own clients, and who hears of a change from a node finds it there.
func TestEachNodeTellsItsClients(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	key := s.key(client.KeyFields{Roles: []record.Role{record.RoleAuditor}})
	feeds := make([]*nats.Subscription, s.nodes)
	for i := range feeds {
		c, _ := s.nats(i, key)
		var err error
		if feeds[i], err = c.SubscribeSync("veto.revoked.>"); err == nil {
			err = c.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 30 {
		r := s.revoke(n%3, client.RevokeRequest{Target: "subject", Issuer: s.cluster.Issuer().URL(), Value: fmt.Sprint("user", n)})
		for i, feed := range feeds {
			m, err := feed.NextMsgWithContext(s.ctx)
			if err != nil {
				t.Fatal(err)
			}
			found, err := s.at(i).Revocation(s.ctx, r.ID)
			if err != nil || found.State != record.StateCommitted || !strings.Contains(string(m.Data), r.ID) {
				t.Errorf("node %s told %s, and has %+v: %v", dev.ID(i), m.Data, found, err)
			}
		}
	}
}

// N4: whom a node let in while it could not be sure who may read hears the feeds once it can.
func TestClientThatCameEarlyHearsTheFeeds(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	key := s.key(client.KeyFields{Roles: []record.Role{record.RoleAuditor, record.RoleRevoker}})
	for i := range 3 {
		if err := s.cluster.StopNode(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.cluster.StartNode(0); err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 100)
	c, err := nats.Connect(s.cluster.NATS(0), nats.Token(key.Secret), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	feed, err := c.SubscribeSync("veto.revoked.>")
	if err = errors.Join(err, c.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
		t.Fatalf("the node is sure who may read: %v", err)
	}
	for _, i := range []int{1, 2} {
		if err := s.cluster.StartNode(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.cluster.AwaitReady(s.ctx, 0); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		s.revoke(0, client.RevokeRequest{Target: "subject", Issuer: s.cluster.Issuer().URL(), Value: fmt.Sprint("user", n)})
		if _, err := feed.NextMsg(100 * time.Millisecond); err == nil {
			return
		} else if s.ctx.Err() != nil {
			t.Fatal("it hears nothing")
		}
	}
}

// N4: who misses messages of a feed sees it by the next one's sequence, and finds what was missed in
// GET /v1/events; then both have the same, in the same words.
func TestGapOfAFeedIsFilled(t *testing.T) {
	s := tell(t, 1)
	s.trustDemoIssuer(0)
	c, _ := s.nats(0, s.key(client.KeyFields{Roles: []record.Role{record.RoleAuditor}}))
	listen := func() *nats.Subscription {
		sub, err := c.SubscribeSync("veto.revoked.>")
		if err == nil {
			err = c.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		return sub
	}
	next := func(sub *nats.Subscription) (client.Event, event.RevocationData) {
		t.Helper()
		m, err := sub.NextMsgWithContext(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var e client.Event
		var data event.RevocationData
		if err := errors.Join(json.Unmarshal(m.Data, &e), json.Unmarshal(e.Data, &data)); err != nil {
			t.Fatalf("%s: %v", m.Data, err)
		}
		return e, data
	}
	revoke := func(value string) {
		t.Helper()
		s.revoke(0, client.RevokeRequest{Target: "subject", Issuer: s.cluster.Issuer().URL(), Value: value})
	}
	witness, sub := listen(), listen()
	revoke("a")
	last, seen := next(sub)
	if err := sub.Unsubscribe(); err != nil { // messages are lost
		t.Fatal(err)
	}
	revoke("b")
	revoke("c")
	for range 3 {
		next(witness) // now nothing of these is on its way any more
	}
	sub = listen()
	revoke("d")
	after, data := next(sub)
	if data.Sequence != seen.Sequence+3 || data.Previous == seen.Revision {
		t.Fatalf("no gap to be seen: %+v after %+v", data, seen)
	}
	r := s.follow(s.at(0), last.ID)
	for _, want := range []string{"b", "c", "d"} {
		e, filled := r.next(s)
		if filled.Value != want || filled.Sequence != seen.Sequence+1 || filled.Previous != seen.Revision {
			t.Errorf("%s, want %s", e.Data, want)
		}
		seen, last = filled, e
	}
	if a, b := string(after.Data), string(last.Data); a != b || after.ID != last.ID || after.Source != last.Source {
		t.Errorf("on NATS %s, and as it is kept %s", a, b)
	}
}
