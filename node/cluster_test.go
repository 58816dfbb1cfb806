package node_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"veto/client"
	"veto/node"
	"veto/node/dev"
	"veto/record"
	"veto/test/patient"
	"veto/test/ports"
	"veto/validate"
)

// longWait is how long a cluster that is whole is waited for, at most, until it has done what it was asked.
const longWait = 10 * time.Second

// story is a cluster and what its test does with it, step by step.
type story struct {
	*testing.T
	ctx     context.Context
	cluster *dev.Cluster
	nodes   int
	adjust  func(*node.Config) // nil for none
	ahead   atomic.Int64       // of the time, in nanoseconds, are the nodes' clocks
}

// tell starts a cluster of real nodes on loopback.
func tell(t *testing.T, nodes int) *story {
	t.Helper()
	return tellOf(t, nodes, nil)
}

// tellOf changes the nodes' configurations before they start.
func tellOf(t *testing.T, nodes int, adjust func(*node.Config)) *story {
	t.Helper()
	return tellWith(t, nodes, 2*time.Minute, adjust)
}

// tellWith is tell with nodes that are configured in another way.
func tellWith(t *testing.T, nodes int, limit time.Duration, adjust func(*node.Config)) *story {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	s := &story{T: t, ctx: ctx, nodes: nodes, adjust: adjust}
	s.start(t.TempDir(), ports.Take(t))
	return s
}

func (s *story) start(dir string, port int) {
	s.Helper()
	c, err := dev.Start(s.ctx, dev.Config{
		Dir: dir, Nodes: s.nodes, Port: port, Version: "test", Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }, Log: logger(s.T), Ready: func(string) {}, Adjust: s.adjust,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.cluster = c
	s.Cleanup(func() {
		if err := c.Close(); err != nil {
			s.Error(err)
		}
	})
}

func logger(t *testing.T) *slog.Logger {
	t.Helper()
	w := io.Discard
	if os.Getenv("VETO_TEST_LOG") != "" {
		w = t.Output()
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// at is a client of one node only.
func (s *story) at(i int) *client.Client {
	return client.New(client.Options{
		Control: []string{s.cluster.Control(i)}, Data: []string{s.cluster.Data(i)}, Token: s.cluster.AdminToken(), HTTP: patient.Client(),
	})
}

// trustDemoIssuer has all nodes trust it: one that lags would refuse its revocations, or ask the leader.
func (s *story) trustDemoIssuer(i int) {
	s.Helper()
	put, err := s.at(i).PutIssuer(s.ctx, "demo", client.Rules{
		Issuer: s.cluster.Issuer().URL(), Discovery: s.cluster.Issuer().Discovery(), Audiences: []string{s.cluster.Demo().Audience},
	})
	if err != nil {
		s.Fatal(err)
	}
	for at := range s.nodes {
		if s.cluster.Node(at) != nil {
			s.reach(at, put.Revision)
		}
	}
}

// token gets a token as a client would.
func (s *story) token() string {
	s.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.cluster.Issuer().TokenURL(), strings.NewReader(form.Encode()))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(s.cluster.Demo().ClientID, s.cluster.Demo().ClientSecret)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Token == "" {
		s.Fatalf("no token: %v", err)
	}
	return answer.Token
}

func (s *story) ask(i int, token string, min record.Revision) validate.Verdict {
	s.Helper()
	return s.verdict(i, client.Question{Credential: token, MinRevision: min})
}

// verdict asks again while the node is behind, as on a busy machine it may be for longer than it has a question wait.
func (s *story) verdict(i int, q client.Question) validate.Verdict {
	s.Helper()
	for {
		v, err := s.at(i).Validate(s.ctx, q)
		if err != nil {
			s.Fatal(err)
		}
		if v.Code != validate.BehindMinRevision {
			return v
		}
	}
}

// eventually asks until the node answers with the code.
func (s *story) eventually(i int, token string, want validate.Code) validate.Verdict {
	s.Helper()
	for {
		v := s.ask(i, token, 0)
		if v.Code == want {
			return v
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("node %s answers %s, not %s", dev.ID(i), v.Code, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *story) revoke(i int, r client.RevokeRequest) record.Receipt {
	s.Helper()
	receipt, err := s.at(i).Revoke(s.ctx, r, false, longWait)
	if err != nil {
		s.Fatal(err)
	}
	return receipt
}

// leader is the node that leads.
func (s *story) leader() int {
	s.Helper()
	for {
		for i := range s.nodes {
			if n := s.cluster.Node(i); n != nil && n.Leads() {
				return i
			}
		}
		select {
		case <-s.ctx.Done():
			s.Fatal("nobody leads")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestRevokedOnOneDeniedOnAll(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	token := s.token()
	for i := range 3 {
		if v := s.eventually(i, token, validate.OK); v.Outcome != validate.Allow || v.Client != "demo-client" {
			t.Errorf("node %s: %+v", dev.ID(i), v)
		}
	}
	receipt := s.revoke(1, client.RevokeRequest{Token: token, Reason: "leaked"})
	for i := range 3 {
		v := s.eventually(i, token, validate.Revoked)
		if v.Revocation == nil || v.Revocation.ID != receipt.ID || v.Revocation.Reason != "leaked" {
			t.Errorf("node %s: %+v", dev.ID(i), v.Revocation)
		}
	}
	other := s.token()
	if v := s.ask(2, other, 0); v.Outcome != validate.Allow {
		t.Errorf("another token: %+v", v)
	}

	dead := s.leader()
	if err := s.cluster.StopNode(dead); err != nil {
		t.Fatal(err)
	}
	alive := (dead + 1) % 3
	s.revoke(alive, client.RevokeRequest{Target: "subject", Issuer: s.cluster.Issuer().URL(), Value: "demo-client"})
	for i := range 3 {
		if i != dead {
			s.eventually(i, other, validate.Revoked)
		}
	}

	if err := s.cluster.StartNode(dead); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.AwaitReady(s.ctx, dead); err != nil {
		t.Fatal(err)
	}
	s.eventually(dead, other, validate.Revoked)
	s.eventually(dead, token, validate.Revoked)
}
