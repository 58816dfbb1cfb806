package node_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"veto/client"
	"veto/node/dev"
	"veto/record"
	"veto/validate"
)

// P7: a node without a quorum takes a revocation, enforces it, keeps it through a restart, and
// brings it into the log, once, when it can; nothing else is changed without a quorum.
func TestRevokeWithoutQuorum(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	token, other := s.token(), s.token()
	for i := range 3 {
		s.eventually(i, other, validate.OK)
	}
	for _, i := range []int{1, 2} {
		if err := s.cluster.StopNode(i); err != nil {
			t.Fatal(err)
		}
	}
	s.leaderless(0)
	receipt, err := s.at(0).Revoke(s.ctx, client.RevokeRequest{Token: token, Reason: "leaked"}, false, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.State != record.StatePending || len(receipt.DurableOn) != 1 || receipt.DurableOn[0] != dev.ID(0) ||
		len(receipt.EnforcedOn) != 1 || receipt.EnforcedOn[0] != dev.ID(0) || len(receipt.PendingOn) != 2 {
		t.Errorf("%+v", receipt)
	}
	if v := s.ask(0, token, 0); v.Code != validate.Revoked || v.Revocation.ID != receipt.ID {
		t.Errorf("%+v", v)
	}
	standing, err := s.at(0).Revocation(s.ctx, receipt.ID)
	if err != nil || standing.State != record.StatePending || standing.Reason != "leaked" {
		t.Errorf("%+v, %v", standing, err)
	}
	var refused *client.Error
	hasty := client.New(client.Options{Control: []string{s.cluster.Control(0)}, Token: s.cluster.AdminToken()})
	if _, err := hasty.PutConsumer(s.ctx, "shop", client.ConsumerFields{}); !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("a consumer was put without a quorum: %v", err)
	}

	s.restart(0)
	if v := s.ask(0, token, 0); v.Code != validate.Revoked {
		t.Errorf("after a restart, without a quorum: %+v", v)
	}
	// It does not know yet what it has missed, and takes a denial all the same.
	third := s.token()
	late, err := s.at(0).Revoke(s.ctx, client.RevokeRequest{Token: third}, false, 100*time.Millisecond)
	if err != nil || late.State != record.StatePending {
		t.Errorf("%+v, %v", late, err)
	}
	for _, i := range []int{1, 2} {
		if err := s.cluster.StartNode(i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if err := s.cluster.AwaitReady(s.ctx, i); err != nil {
			t.Fatal(err)
		}
		s.eventually(i, token, validate.Revoked)
		s.eventually(i, third, validate.Revoked)
	}
	if v := s.ask(1, other, 0); v.Outcome != validate.Allow {
		t.Errorf("another token: %+v", v)
	}
	s.committed(2, receipt.ID)
	if _, err := s.at(1).Lift(s.ctx, receipt.ID, "a mistake"); err != nil {
		t.Fatal(err)
	}
	s.eventually(0, token, validate.OK)
	s.staysLifted(0, token, other)
}

// staysLifted restarts the node: its outbox must not bring back what was lifted.
func (s *story) staysLifted(node int, token, other string) {
	s.Helper()
	s.restart(node)
	if err := s.cluster.AwaitReady(s.ctx, node); err != nil {
		s.Fatal(err)
	}
	marker := s.revoke(node, client.RevokeRequest{Token: other})
	for i := range s.nodes {
		if v := s.ask(i, token, marker.Revision); v.Code != validate.OK {
			s.Errorf("node %s: lifted, and %+v", dev.ID(i), v)
		}
	}
}

func (s *story) restart(i int) {
	s.Helper()
	if err := s.cluster.StopNode(i); err != nil {
		s.Fatal(err)
	}
	if err := s.cluster.StartNode(i); err != nil {
		s.Fatal(err)
	}
}

// leaderless waits until the node leads no more.
func (s *story) leaderless(i int) {
	s.Helper()
	for s.cluster.Node(i).Leads() {
		select {
		case <-s.ctx.Done():
			s.Fatal("the node leads without a quorum")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// committed waits until the node shows the revocation as committed.
func (s *story) committed(i int, id string) client.Standing {
	s.Helper()
	for {
		now, err := s.at(i).Revocation(s.ctx, id)
		if err == nil && now.State == record.StateCommitted {
			return now
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("node %s: %+v, %v", dev.ID(i), now, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// requestOnce revokes a token by a request that always has the same Idempotency-Key.
func (s *story) requestOnce(i int, token string) (status int, id string) {
	s.Helper()
	at := fmt.Sprintf("http://127.0.0.1:%d/v1/revocations?timeout=100ms", s.cluster.NodeConfig(i).Port+1)
	q, err := http.NewRequestWithContext(s.ctx, http.MethodPost, at, strings.NewReader(fmt.Sprintf(`{"token":%q}`, token)))
	if err != nil {
		s.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+s.cluster.AdminToken())
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Idempotency-Key", "made-twice")
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Body.Close()
	var receipt record.Receipt
	if err := json.NewDecoder(r.Body).Decode(&receipt); err != nil {
		s.Fatal(err)
	}
	return r.StatusCode, receipt.ID
}

// P7: a revocation that a node took without a quorum, and told another of, comes into the log though
// that node and its disk are gone; once, and it stays away when it was lifted.
func TestPendingOutlivesItsNode(t *testing.T) {
	s := tell(t, 5)
	s.trustDemoIssuer(0)
	token, other, retried := s.token(), s.token(), s.token()
	for i := range 5 {
		s.eventually(i, token, validate.OK)
	}
	for _, i := range []int{1, 2, 3} {
		if err := s.cluster.StopNode(i); err != nil {
			t.Fatal(err)
		}
	}
	s.leaderless(0)
	s.leaderless(4)
	receipt, err := s.at(4).Revoke(s.ctx, client.RevokeRequest{Token: token, Reason: "leaked"}, false, 100*time.Millisecond)
	if err != nil || receipt.State != record.StatePending {
		t.Fatalf("%+v, %v", receipt, err)
	}
	if status, _ := s.requestOnce(4, retried); status != http.StatusAccepted {
		t.Fatal(status)
	}
	s.eventually(0, token, validate.Revoked)
	s.eventually(0, retried, validate.Revoked)
	if err := s.cluster.StopNode(4); err != nil { // for good
		t.Fatal(err)
	}
	for _, i := range []int{1, 2} {
		if err := s.cluster.StartNode(i); err != nil {
			t.Fatal(err)
		}
	}
	// The request that nobody saw committed is made again, and its revocation lifted: what node 4 took
	// is the same request, and brings nothing back.
	if err := s.cluster.AwaitReady(s.ctx, 1); err != nil {
		t.Fatal(err)
	}
	status, id := s.requestOnce(1, retried)
	for ; status != http.StatusCreated && status != http.StatusOK && s.ctx.Err() == nil; status, id = s.requestOnce(1, retried) {
		<-time.After(50 * time.Millisecond)
	}
	if _, err := s.at(1).Lift(s.ctx, id, "a mistake"); err != nil {
		t.Fatal(err)
	}
	standing := s.committed(1, receipt.ID)
	s.eventually(0, retried, validate.OK)
	if standing.Reason != "leaked" || standing.By == "" || standing.KeptUntil.IsZero() {
		t.Errorf("%+v", standing)
	}
	s.restart(0)
	for _, i := range []int{0, 1, 2} {
		s.eventually(i, token, validate.Revoked)
		s.eventually(i, other, validate.OK)
	}
	if _, err := s.at(1).Lift(s.ctx, receipt.ID, "a mistake"); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.StartNode(4); err != nil { // after all, with its outbox
		t.Fatal(err)
	}
	if err := s.cluster.AwaitReady(s.ctx, 4); err != nil {
		t.Fatal(err)
	}
	marker := s.revoke(4, client.RevokeRequest{Token: other})
	for _, i := range []int{0, 1, 2, 4} {
		if v := s.ask(i, token, marker.Revision); v.Code != validate.OK {
			t.Errorf("node %s: lifted, and %+v", dev.ID(i), v)
		}
	}
}
