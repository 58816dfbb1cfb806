package node_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"veto/client"
	"veto/node"
	"veto/node/dev"
	"veto/record"
	"veto/validate"
)

// propagation waits until what the node says of the other is as it is to be.
func (s *story) propagation(at, of int, what string, ok func(*record.Propagation) bool) {
	s.Helper()
	var last *record.Propagation
	for {
		status, err := s.at(at).Cluster(s.ctx)
		for _, n := range status.Nodes {
			if n.ID == dev.ID(of) {
				last = n.Propagation
			}
		}
		if err == nil && last != nil && ok(last) {
			return
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("%s of %s: %s: %+v, %v", dev.ID(at), dev.ID(of), what, last, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *story) metrics(i int) string {
	s.Helper()
	r, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.cluster.Control(i)+"/metrics", nil)
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.cluster.AdminToken())
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

// N3: every node measures every other, and one that is stopped is not shown as fast.
func TestCanaryOnThreeNodes(t *testing.T) {
	s := tellOf(t, 3, func(c *node.Config) { c.CanaryInterval = 200 * time.Millisecond })
	measured := func(p *record.Propagation) bool {
		return p.Samples >= 10 && p.P50Millis > 0 && p.P50Millis <= p.P99Millis
	}
	for at := range 3 {
		for of := range 3 {
			if at != of {
				s.propagation(at, of, "measured", measured)
			}
		}
	}
	dead := (s.leader() + 1) % 3
	if err := s.cluster.StopNode(dead); err != nil {
		t.Fatal(err)
	}
	for at := range 3 {
		if at == dead {
			continue
		}
		s.propagation(at, dead, "stopped", func(p *record.Propagation) bool { return p.Failed > 0 })
		s.propagation(at, dead, "not fast", func(p *record.Propagation) bool { return p.P50Millis == -1 && p.P99Millis == -1 })
		s.propagation(at, 3-at-dead, "goes on", measured)
		for _, line := range strings.Split(s.metrics(at), "\n") {
			if strings.HasPrefix(line, "veto_propagation_failures_total") && strings.HasSuffix(line, " 0") == strings.Contains(line, `node="`+dev.ID(dead)+`"`) {
				t.Errorf("with %s stopped: %s", dev.ID(dead), line)
			}
		}
	}
	if err := s.cluster.StartNode(dead); err != nil {
		t.Fatal(err)
	}
	s.propagation(3-dead-s.leader(), dead, "back", func(p *record.Propagation) bool { return p.P50Millis > 0 })
}

// N3: what the canary does is in no list, audit trail or feed, and nobody else does it.
func TestCanaryLeavesNoTrace(t *testing.T) {
	s := tellOf(t, 2, func(c *node.Config) { c.CanaryInterval = 100 * time.Millisecond })
	s.trustDemoIssuer(0)
	token := s.token()
	for i := range 2 {
		s.eventually(i, token, validate.OK)
	}
	feeds := make(chan *nats.Msg, 100)
	for i := range 2 {
		c, err := nats.Connect(s.cluster.NATS(i), nats.Token(s.cluster.AdminToken()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.ChanSubscribe("veto.revoked.>", feeds); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	s.propagation(0, 1, "measured", func(p *record.Propagation) bool { return p.Samples >= 10 })
	s.propagation(1, 0, "measured", func(p *record.Propagation) bool { return p.Samples >= 10 })
	iss := s.cluster.Issuer().URL()
	receipt := s.revoke(0, client.RevokeRequest{Target: "subject", Issuer: iss, Value: "demo-client"})
	select {
	case m := <-feeds:
		var got struct {
			Data struct {
				Issuer   string          `json:"issuer"`
				Previous record.Revision `json:"previous_revision"`
				Sequence uint64          `json:"sequence"`
			} `json:"data"`
		}
		if err := json.Unmarshal(m.Data, &got); err != nil || got.Data.Issuer != iss || got.Data.Previous != 0 || got.Data.Sequence != 1 {
			t.Errorf("the first message is %s %s", m.Subject, m.Data)
		}
	case <-s.ctx.Done():
		t.Fatal("no message came")
	}
	for i := range 2 {
		s.eventually(i, token, validate.Revoked)
		s.committed(i, receipt.ID)
		list, err := s.at(i).Revocations(s.ctx, client.List{})
		if err != nil || len(list.Items) != 1 || list.Items[0].ID != receipt.ID || list.NextCursor != "" {
			t.Errorf("%s lists %+v, %v", dev.ID(i), list, err)
		}
		trail, err := s.at(i).Audit(s.ctx, client.List{})
		if err != nil {
			t.Fatal(err)
		}
		actions := []string{}
		for _, a := range trail.Items {
			if a.Action != record.KindPutPepper.String() { // it comes when all nodes have said that they have its key
				actions = append(actions, a.Action)
			}
		}
		if want := []string{"found", "put_issuer", "put_signing_keys", "revoke"}; !slices.Equal(actions, want) {
			t.Errorf("%s: the audit trail has %q, want %q", dev.ID(i), actions, want)
		}
	}
	_, err := s.at(0).Revoke(s.ctx, client.RevokeRequest{Target: "jti", Issuer: record.CanaryIssuer, Value: "x"}, false, 0)
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusUnprocessableEntity {
		t.Errorf("revoked in the canary's name: %v", err)
	}
	if _, err := s.at(0).PutIssuer(s.ctx, "canary", client.Rules{Issuer: record.CanaryIssuer, JWKSURI: "https://x/"}); err == nil {
		t.Error("the canary's issuer was trusted")
	}
}

// N3: with an interval of 0 there is none.
func TestCanaryIsOff(t *testing.T) {
	s := tellOf(t, 2, func(c *node.Config) { c.CanaryInterval = 0 })
	s.trustDemoIssuer(0)
	token := s.token()
	for i := range 2 {
		s.eventually(i, token, validate.OK)
	}
	before := s.revoke(0, client.RevokeRequest{Token: token})
	s.eventually(1, token, validate.Revoked)
	// A pepper and when keys were used come into the log as well, and not each time.
	for tries := 1; ; tries++ {
		after := s.revoke(1, client.RevokeRequest{Token: s.token()})
		if after.Revision == before.Revision+1 {
			break
		}
		if tries == 10 {
			t.Fatalf("revision %d, then %d: something else is logged each time", before.Revision, after.Revision)
		}
		before = after
	}
	for i := range 2 {
		status, err := s.at(i).Cluster(s.ctx)
		if err != nil || len(status.Nodes) != 2 || status.Nodes[0].Propagation != nil || status.Nodes[1].Propagation != nil {
			t.Errorf("%+v, %v", status, err)
		}
		if strings.Contains(s.metrics(i), "veto_propagation") {
			t.Error("the metrics show a canary")
		}
	}
}
