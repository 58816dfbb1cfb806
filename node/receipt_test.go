package node_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"veto/client"
	"veto/node/dev"
	"veto/record"
)

// P6: however many nodes are asked at once for the same request, every receipt names the one revision
// that it was done at, and none is pending while the cluster is whole.
func TestSameRequestAtOnceHasOneReceipt(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	for round := range 12 {
		const each = 4
		var wg sync.WaitGroup
		answers := make([]record.Receipt, each*s.nodes)
		for n := range answers {
			wg.Go(func() { answers[n] = s.revokeSubject(n%s.nodes, fmt.Sprintf("user-%d", round)) })
		}
		wg.Wait()
		now := s.committed(0, answers[0].ID)
		for n, r := range answers {
			if r.State != record.StateCommitted || r.Revision != now.Revision || !r.KeptUntil.Equal(now.KeptUntil) {
				t.Errorf("round %d, node %s: %+v; revision %d stands", round, dev.ID(n%s.nodes), r, now.Revision)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// revokeSubject always has the same Idempotency-Key for the same value.
func (s *story) revokeSubject(i int, value string) (receipt record.Receipt) {
	body, err := json.Marshal(client.RevokeRequest{Target: "subject", Issuer: s.cluster.Issuer().URL(), Value: value})
	if err != nil {
		s.Error(err)
		return receipt
	}
	q, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.cluster.Control(i)+"/v1/revocations?timeout=30s", strings.NewReader(string(body)))
	if err != nil {
		s.Error(err)
		return receipt
	}
	q.Header.Set("Authorization", "Bearer "+s.cluster.AdminToken())
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Idempotency-Key", "revoke-"+value)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		s.Error(err)
		return receipt
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&receipt); err != nil {
		s.Error(err)
	}
	return receipt
}

// P6: who revokes less than what stands is told what stands, whichever node is asked.
func TestReceiptTellsWhatStands(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	subject := client.RevokeRequest{Target: "subject", Issuer: s.cluster.Issuer().URL(), Value: "alice"}
	early, late := time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	less, more := subject, subject
	less.NotBefore, more.NotBefore = &early, &late
	s.revoke(0, less)
	for i, q := range []client.RevokeRequest{more, less, more, subject, less, more} {
		got := s.revoke(i%s.nodes, q)
		now := s.committed(i%s.nodes, got.ID)
		if got.Revision != now.Revision || !got.NotBefore.Equal(now.NotBefore) || !got.KeptUntil.Equal(now.KeptUntil) {
			t.Errorf("%d: %+v is told, and %+v stands", i, got, now)
		}
	}
}
