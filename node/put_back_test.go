package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"veto/client"
	"veto/record"
	"veto/validate"
)

// P7: a node whose data directory was put back from an older copy numbers what it takes as it did before,
// and the log has passed these numbers: what it takes comes into the log all the same.
func TestOldDataDirectoryLosesNothing(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	tokens := make([]string, 6)
	for i := range tokens {
		tokens[i] = s.token()
	}
	const node = 2
	s.eventually(node, tokens[0], validate.OK)
	s.revoke(node, client.RevokeRequest{Token: tokens[0]})
	dir := s.cluster.NodeConfig(node).DataDir
	aside := filepath.Join(t.TempDir(), "copy")
	again := func(change func() error) {
		t.Helper()
		if err := s.cluster.StopNode(node); err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := s.cluster.StartNode(node); err != nil {
			t.Fatal(err)
		}
		if err := s.cluster.AwaitReady(s.ctx, node); err != nil {
			t.Fatal(err)
		}
	}
	again(func() error { return os.CopyFS(aside, os.DirFS(dir)) })
	for _, token := range tokens[1:4] {
		s.revoke(node, client.RevokeRequest{Token: token})
	}
	again(func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return os.CopyFS(dir, os.DirFS(aside))
	})
	for _, token := range tokens[4:] {
		receipt := s.revoke(node, client.RevokeRequest{Token: token})
		if receipt.State != record.StateCommitted {
			t.Errorf("%+v", receipt)
		}
		s.committed(0, receipt.ID)
	}
	for i := range 3 {
		for _, token := range tokens {
			s.eventually(i, token, validate.Revoked)
		}
	}
}
