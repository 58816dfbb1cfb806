package node_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"veto/client"
	"veto/node/dev"
	"veto/record"
)

// withKey revokes a subject by a request with the key, and gives the status, and the revocation's id or what is said.
func (s *story) withKey(i int, key, subject string) (status int, said string) {
	body, err := json.Marshal(client.RevokeRequest{Target: "subject", Issuer: s.cluster.Issuer().URL(), Value: subject})
	if err != nil {
		s.Error(err)
		return 0, ""
	}
	q, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.cluster.Control(i)+"/v1/revocations?timeout=30s", strings.NewReader(string(body)))
	if err != nil {
		s.Error(err)
		return 0, ""
	}
	q.Header.Set("Authorization", "Bearer "+s.cluster.AdminToken())
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Idempotency-Key", key)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		s.Error(err)
		return 0, ""
	}
	defer r.Body.Close()
	var got struct{ ID, Detail string }
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
		s.Error(err)
	}
	return r.StatusCode, got.ID + got.Detail
}

// P7: of several requests that come with one Idempotency-Key at once, on all nodes, one is answered with a
// receipt; the others are told that the key was another's, and whether what they asked for was revoked: then it is.
func TestOneKeyForSeveralRequestsAtOnce(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	made := 0
	for round := range 12 {
		statuses, said := make([]int, s.nodes), make([]string, s.nodes)
		var wg sync.WaitGroup
		for i := range s.nodes {
			wg.Go(func() {
				statuses[i], said[i] = s.withKey(i, fmt.Sprintf("reused-%d", round), fmt.Sprintf("user-%d-%d", round, i))
			})
		}
		wg.Wait()
		receipts := 0
		for i, status := range statuses {
			_, id, toldSo := strings.Cut(said[i], "revoked all the same: see ")
			id, _, _ = strings.Cut(id, ".")
			switch {
			case status == http.StatusCreated:
				receipts++
			case status != http.StatusConflict:
				t.Fatalf("node %s: %d %s", dev.ID(i), status, said[i])
			case toldSo:
				made++
				if now := s.committed(i, id); now.Value != fmt.Sprintf("user-%d-%d", round, i) || now.State != record.StateCommitted {
					t.Errorf("%+v", now)
				}
			}
		}
		if receipts != 1 {
			t.Errorf("round %d: %v: %d have a receipt, want 1", round, statuses, receipts)
		}
	}
	t.Logf("%d were made all the same", made)
}
