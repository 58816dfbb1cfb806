package recovery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"veto/client"
	"veto/node"
	"veto/node/dev"
	"veto/node/recovery"
	"veto/record"
	"veto/test/patient"
	"veto/test/ports"
	"veto/validate"
)

// Raft forgets whoever waits for what was in its queue when it was shut down; and fasthttp leaves for a while who clears away
// workers, and who keeps the date.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"), // one that is under way
		goleak.IgnoreAnyFunction("github.com/hashicorp/raft.(*deferError).Error"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"), goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// story is a cluster of real nodes, and what its test does with it.
type story struct {
	*testing.T
	ctx     context.Context
	cluster *dev.Cluster
	dir     string
	port    int
	nodes   int
}

// tell starts a cluster of real nodes on loopback.
func tell(t *testing.T, nodes int) *story {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	s := &story{T: t, ctx: ctx, dir: t.TempDir(), port: ports.Take(t), nodes: nodes}
	s.begin()
	return s
}

func (s *story) begin() {
	s.Helper()
	c, err := dev.Start(s.ctx, dev.Config{
		Dir: s.dir, Nodes: s.nodes, Port: s.port, Version: "test", Now: time.Now, Log: logger(s.T), Ready: func(string) {},
		Adjust: func(c *node.Config) { c.CanaryInterval = 0 }, // its revocations would be counted
	})
	require.NoError(s, err)
	s.cluster = c
	s.Cleanup(func() { require.NoError(s, c.Close()) })
}

func logger(t *testing.T) *slog.Logger {
	t.Helper()
	w := io.Discard
	if os.Getenv("VETO_TEST_LOG") != "" {
		w = t.Output()
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// successor is a cluster that is to be restored from this one's backup, and does not run yet: with the same key
// of peppers, operators and ids.
func (s *story) successor(nodes int) *story {
	s.Helper()
	next := &story{T: s.T, ctx: s.ctx, dir: s.TempDir(), port: ports.Take(s.T), nodes: nodes}
	for _, name := range []string{"dev-secrets.json", "pepper.key"} {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		require.NoError(s, err)
		require.NoError(s, os.WriteFile(filepath.Join(next.dir, name), b, 0o600))
	}
	return next
}

// config is that of a node that does not run.
func (s *story) config(i int) recovery.Config {
	c := node.DefaultConfig()
	c.DataDir, c.NodeID, c.CertsDir = filepath.Join(s.dir, dev.ID(i)), dev.ID(i), filepath.Join(s.dir, "certs")
	c.Port, c.PepperKeyFile = s.port+i*dev.Step, filepath.Join(s.dir, "pepper.key")
	return recovery.Config{Node: c, Now: time.Now, Log: logger(s.T)}
}

// at is a client of one node only.
func (s *story) at(i int) *client.Client {
	return client.New(client.Options{
		Control: []string{s.cluster.Control(i)}, Data: []string{s.cluster.Data(i)}, Token: s.cluster.AdminToken(), HTTP: patient.Client(),
	})
}

func (s *story) trustDemoIssuer() {
	s.Helper()
	i, err := s.at(0).PutIssuer(s.ctx, "demo", client.Rules{
		Issuer: s.cluster.Issuer().URL(), Discovery: s.cluster.Issuer().Discovery(), Audiences: []string{s.cluster.Demo().Audience},
	})
	require.NoError(s, err)
	for n := range s.nodes {
		s.reached(n, i.Revision)
		s.eventually(n, s.token(), validate.OK) // which has the keys
	}
}

// token gets a token as a client would.
func (s *story) token() string {
	s.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.cluster.Issuer().TokenURL(), strings.NewReader(form.Encode()))
	require.NoError(s, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(s.cluster.Demo().ClientID, s.cluster.Demo().ClientSecret)
	response, err := http.DefaultClient.Do(r)
	require.NoError(s, err)
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var answer struct {
		Token string `json:"access_token"`
	}
	require.NoError(s, json.NewDecoder(response.Body).Decode(&answer))
	return answer.Token
}

// eventually asks until the node answers with the code.
func (s *story) eventually(i int, credential string, want validate.Code) {
	s.Helper()
	s.until(fmt.Sprintf("node %s answers %s", dev.ID(i), want), func() (string, bool) {
		v, err := s.at(i).Validate(s.ctx, client.Question{Credential: credential})
		if err != nil {
			return err.Error(), false
		}
		return string(v.Code), v.Code == want
	})
}

// until waits until something is so. What is told last is shown if that never comes.
func (s *story) until(what string, so func() (last string, ok bool)) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		last, ok := so()
		if ok {
			return
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("it never came that %s: %s", what, last)
		case e := <-s.cluster.Ended():
			s.Fatalf("node %s ended while it was waited until %s: %v", e.Node, what, e.Err)
		case <-tick.C:
		}
	}
}

func (s *story) revoke(i int, r client.RevokeRequest) record.Receipt {
	s.Helper()
	receipt, err := s.at(i).Revoke(s.ctx, r, false, 10*time.Second) // so that it is committed on a busy machine as well
	require.NoError(s, err)
	return receipt
}

// pending revokes at a node that has no quorum.
func (s *story) pending(i int, r client.RevokeRequest) record.Receipt {
	s.Helper()
	receipt, err := s.at(i).Revoke(s.ctx, r, false, 50*time.Millisecond)
	require.NoError(s, err)
	require.Equal(s, record.StatePending, receipt.State)
	return receipt
}

func (s *story) stop(nodes ...int) {
	s.Helper()
	for _, i := range nodes {
		require.NoError(s, s.cluster.StopNode(i))
	}
}

func (s *story) restart(nodes ...int) {
	s.Helper()
	for _, i := range nodes {
		require.NoError(s, s.cluster.StartNode(i))
	}
}

func (s *story) ready(nodes ...int) {
	s.Helper()
	for _, i := range nodes {
		require.NoError(s, s.cluster.AwaitReady(s.ctx, i))
	}
}

func (s *story) status(i int) record.ClusterStatus {
	s.Helper()
	status, err := s.at(i).Cluster(s.ctx)
	require.NoError(s, err)
	return status
}

// reached waits until the node has applied the revision.
func (s *story) reached(i int, r record.Revision) {
	s.Helper()
	s.until(fmt.Sprintf("%s has revision %d", dev.ID(i), r), func() (string, bool) {
		at := s.status(i).Revision
		return fmt.Sprint(at), at >= r
	})
}

// key makes an API key of a consumer.
func (s *story) key() client.NewKey {
	s.Helper()
	_, err := s.at(0).PutConsumer(s.ctx, "shop", client.ConsumerFields{})
	require.NoError(s, err)
	k, err := s.at(0).CreateKey(s.ctx, client.KeyFields{Consumer: "shop"})
	require.NoError(s, err)
	return k
}

// backup takes one of a node, into a file.
func (s *story) backup(i int) (path string, contents recovery.Contents) {
	s.Helper()
	body, err := s.at(i).Backup(s.ctx)
	require.NoError(s, err)
	defer body.Close()
	path = filepath.Join(s.TempDir(), "backup")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(s, err)
	contents, err = recovery.Verify(io.TeeReader(body, f))
	require.NoError(s, err)
	require.NoError(s, f.Close())
	return path, contents
}

// restore restores the backup into the cluster's first node.
func (s *story) restore(path string, survivors ...string) recovery.Restored {
	s.Helper()
	return s.restoreWith(path, nil, survivors...)
}

func (s *story) restoreWith(path string, refused func(record.Revocation) error, survivors ...string) recovery.Restored {
	s.Helper()
	f, err := os.Open(path)
	require.NoError(s, err)
	defer f.Close()
	c := s.config(0)
	c.Refused = refused
	restored, err := recovery.Restore(s.ctx, c, f, survivors)
	require.NoError(s, err)
	return restored
}

// whole verifies the audit trail of every node, which must have an entry with the action.
func (s *story) whole(action string, nodes ...int) {
	s.Helper()
	for _, i := range nodes {
		_, err := s.at(i).VerifyAudit(s.ctx)
		require.NoError(s, err)
		page, err := s.at(i).Audit(s.ctx, client.List{Limit: 1000})
		require.NoError(s, err)
		found := 0
		for _, e := range page.Items {
			if e.Action == action {
				found++
			}
		}
		require.Equal(s, 1, found, "%s of %s", action, dev.ID(i))
	}
}
