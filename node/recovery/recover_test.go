package recovery_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"veto/client"
	"veto/node"
	"veto/node/dev"
	"veto/node/recovery"
	"veto/record"
	"veto/replication/backup"
	"veto/replication/store"
	"veto/validate"
)

// D4
func TestRecoverFromTheLastNode(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer()
	committed, pending, good, key := s.token(), s.token(), s.token(), s.key()
	receipt := s.revoke(1, client.RevokeRequest{Token: committed})
	s.reached(0, receipt.Revision)
	was := s.status(0)
	_, err := recovery.Look(s.config(0))
	require.ErrorContains(t, err, "in use by another veto process")
	_, err = recovery.Recover(s.config(0))
	require.ErrorContains(t, err, "in use by another veto process")
	s.stop(1, 2)
	s.pending(0, client.RevokeRequest{Token: pending, Reason: "alone"})
	s.stop(0)

	last, err := recovery.Look(s.config(0))
	require.NoError(t, err)
	require.Equal(t, was.ID, last.Cluster)
	require.GreaterOrEqual(t, last.Log, uint64(receipt.Revision))
	require.Len(t, last.Servers, 3)
	require.Positive(t, last.Pending) // the canary's may be among them
	r, err := recovery.Recover(s.config(0))
	require.NoError(t, err)
	require.Equal(t, last, r.Had)
	require.EqualValues(t, last.Log, r.From)

	s.restart(0)
	s.ready(0)
	for _, token := range []string{committed, pending} {
		s.eventually(0, token, validate.Revoked)
	}
	s.eventually(0, good, validate.OK)
	s.eventually(0, key.Secret, validate.OK)
	require.Len(t, s.status(0).Nodes, 1)
	require.Equal(t, r.Cluster, s.status(0).ID)
	s.until("the pending revocation is in the log", func() (string, bool) {
		all, err := s.at(0).Revocations(s.ctx, client.List{Limit: 100})
		return fmt.Sprint(all, err), err == nil && slices.ContainsFunc(all.Items, func(r client.Revocation) bool { return r.Reason == "alone" })
	})
	s.joinAnew(1, 2)
	for i := range 3 {
		s.eventually(i, pending, validate.Revoked)
		s.eventually(i, key.Secret, validate.OK)
	}
	s.whole("recover", 0, 1, 2)
	// And it is a cluster that can lose one again.
	s.until("all vote", func() (string, bool) {
		status := s.status(0)
		voters := 0
		for _, n := range status.Nodes {
			if n.Role == record.NodeVoter {
				voters++
			}
		}
		return fmt.Sprintf("%+v", status), voters == 3
	})
	s.stop(0)
	s.until("another leads", func() (string, bool) {
		leader := s.status(1).Leader
		return leader, leader != "" && leader != dev.ID(0)
	})
	s.revoke(2, client.RevokeRequest{Token: good})
	s.eventually(1, good, validate.Revoked)
}

// joinAnew starts nodes with empty directories.
func (s *story) joinAnew(nodes ...int) {
	s.Helper()
	for _, i := range nodes {
		require.NoError(s, os.RemoveAll(s.config(i).Node.DataDir))
	}
	s.restart(nodes...)
	s.ready(nodes...)
}

// D4: what a crash took from the state, as nobody had made it durable, the log still has.
func TestRecoverReplaysTheLog(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer()
	path, contents := s.backup(0)
	var tokens []string
	var last record.Revision
	for range 5 {
		tokens = append(tokens, s.token())
		last = s.revoke(1, client.RevokeRequest{Token: tokens[len(tokens)-1]}).Revision
	}
	key := s.key()
	s.until("n1 has the key", func() (string, bool) {
		v, err := s.at(0).Validate(s.ctx, client.Question{Credential: key.Secret})
		return fmt.Sprint(v.Code, err), err == nil && v.Code == validate.OK
	})
	s.reached(0, last)
	s.stop(1, 2, 0)
	c := s.config(0)
	setBack(t, filepath.Join(c.Node.DataDir, "state"), path)

	had, err := recovery.Look(c)
	require.NoError(t, err)
	require.Equal(t, contents.Revision, had.Revision)
	require.GreaterOrEqual(t, had.Log, uint64(last))
	r, err := recovery.Recover(c)
	require.NoError(t, err)
	require.Equal(t, had.Log-uint64(contents.Revision), uint64(r.Replayed))
	s.restart(0)
	s.ready(0)
	for _, token := range tokens {
		s.eventually(0, token, validate.Revoked)
	}
	s.eventually(0, key.Secret, validate.OK)
	s.whole("recover", 0)
}

// setBack makes the state what it was when the backup was taken.
func setBack(t *testing.T, dir, path string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(dir))
	s, err := store.Open(dir, store.Options{Log: logger(t)})
	require.NoError(t, err)
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	b, err := backup.Open(f)
	require.NoError(t, err)
	_, err = s.Restore(b)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// D5
func TestOldNodesComeBack(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer()
	key := s.key()
	for i := range 3 {
		s.eventually(i, key.Secret, validate.OK)
	}
	s.stop(1, 2, 0)
	r, err := recovery.Recover(s.config(0))
	require.NoError(t, err)
	s.restart(0)
	s.ready(0)

	alone := func() {
		t.Helper()
		status := s.status(0)
		require.Equal(t, r.Cluster, status.ID)
		require.Equal(t, dev.ID(0), status.Leader)
		require.Len(t, status.Nodes, 1, "%+v", status.Nodes)
		require.True(t, s.cluster.Node(0).Ready())
	}
	// One of them: it has no quorum, and finds none in the new cluster.
	s.restart(1)
	s.until("n2 looks for a leader", func() (string, bool) {
		status, err := s.at(1).Cluster(s.ctx)
		if err != nil { // an operator is let in only by a node that has caught up
			return err.Error(), true
		}
		return fmt.Sprintf("%+v", status), status.Leader == ""
	})
	alone()
	require.False(t, s.cluster.Node(1).Ready())

	// A majority of them is the old cluster, which nobody can take from it; and the new one is another.
	s.restart(2)
	s.ready(1, 2)
	old := s.status(1)
	require.Equal(t, r.Was, old.ID)
	theirs, err := s.at(1).Revoke(s.ctx, client.RevokeRequest{Target: "key", Value: key.ID}, true, 1_000_000_000)
	require.NoError(t, err)
	require.NotContains(t, theirs.EnforcedOn, dev.ID(0))
	require.Contains(t, theirs.PendingOn, dev.ID(0))
	ours := s.revoke(0, client.RevokeRequest{Target: "jti", Issuer: s.cluster.Issuer().URL(), Value: "ours"})
	require.Equal(t, []string{dev.ID(0)}, ours.EnforcedOn)
	require.Empty(t, ours.PendingOn)
	s.eventually(1, key.Secret, validate.Revoked)
	s.eventually(2, key.Secret, validate.Revoked)
	for range 20 { // beacons and notices of the old cluster's
		v, err := s.at(0).Validate(s.ctx, client.Question{Credential: key.Secret, MinRevision: s.status(0).Revision})
		require.NoError(t, err)
		require.Equal(t, validate.OK, v.Code)
		alone()
	}
	// The recovered node can be restarted among them.
	s.stop(0)
	s.restart(0)
	s.ready(0)
	alone()

	s.stop(1, 2)
	s.joinAnew(1, 2)
	for i := range 3 {
		require.Equal(t, r.Cluster, s.status(i).ID)
		s.eventually(i, key.Secret, validate.OK)
	}
}

// D6
func TestInterruptedRecovery(t *testing.T) {
	s := tell(t, 1)
	s.trustDemoIssuer()
	token := s.token()
	s.revoke(0, client.RevokeRequest{Token: token})
	s.stop(0)
	c := s.config(0)
	without := c
	without.Node.PepperKeyFile = ""
	_, err := recovery.Recover(without)
	require.ErrorContains(t, err, "API keys could not be checked")
	_, known, err := store.ReadIdentity(c.Node.DataDir)
	require.NoError(t, err)
	require.True(t, known, "a recovery that was refused has changed something")

	_, err = store.SetIdentityAside(c.Node.DataDir)
	require.NoError(t, err)
	_, err = node.Start(c.Node, node.Surroundings{Version: "test", Now: c.Now, Log: c.Log, AdminToken: func(string) error { return nil }})
	require.ErrorContains(t, err, "was cut short")
	first, err := recovery.Recover(c)
	require.NoError(t, err)
	// Cut short behind its last step but one, and done again.
	_, err = store.SetIdentityAside(c.Node.DataDir)
	require.NoError(t, err)
	second, err := recovery.Recover(c)
	require.NoError(t, err)
	require.Equal(t, first.Cluster, second.Was)
	require.Zero(t, second.Replayed)
	s.restart(0)
	s.ready(0)
	s.eventually(0, token, validate.Revoked)

	s.stop(0)
	c.Node.NodeID = "n2"
	_, err = recovery.Recover(c)
	require.ErrorContains(t, err, "belongs to node n1")
	c.Node.DataDir = t.TempDir()
	_, err = recovery.Look(c)
	require.ErrorContains(t, err, "is no node's")
}
