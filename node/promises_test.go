package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"veto/client"
	"veto/node"
	"veto/node/certs"
	"veto/node/dev"
	"veto/record"
	"veto/test/ports"
	"veto/test/said"
	"veto/validate"
)

// P6: with the receipt's revision, no node allows; wherever the revocation was made.
func TestReceiptHoldsOnEveryNode(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	for round := range 15 {
		token := s.token()
		for i := range 3 {
			s.eventually(i, token, validate.OK)
		}
		receipt := s.revoke(round%3, client.RevokeRequest{Token: token})
		for i := range 3 {
			v := s.ask(i, token, receipt.Revision)
			if v.Outcome != validate.Deny {
				t.Fatalf("node %s, round %d: %+v after %+v", dev.ID(i), round, v, receipt)
			}
		}
		if kept := time.Until(receipt.KeptUntil); kept < time.Minute || kept > 2*time.Hour {
			t.Errorf("node %s: kept until %s", dev.ID(round%3), receipt.KeptUntil)
		}
		if len(receipt.EnforcedOn) == 0 || receipt.EnforcedOn[0] != dev.ID(round%3) {
			t.Errorf("enforced on %v, not on the node that says so", receipt.EnforcedOn)
		}
	}
	receipt, err := s.at(1).Revoke(s.ctx, client.RevokeRequest{Target: "issuer", Issuer: s.cluster.Issuer().URL()}, true, 10*time.Second)
	if err != nil || len(receipt.EnforcedOn) != 3 || len(receipt.PendingOn) != 0 {
		t.Errorf("%+v %v", receipt, err)
	}
}

// P10: a node that starts and finds no leader answers nothing as allowed.
func TestRestartedNodeIsNotReadyWithoutALeader(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	token := s.token()
	s.eventually(0, token, validate.OK)
	for i := range 3 {
		if err := s.cluster.StopNode(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.cluster.StartNode(0); err != nil {
		t.Fatal(err)
	}
	if v := s.ask(0, token, 0); v.Outcome != validate.Unknown || v.Code != validate.NotReady {
		t.Errorf("%+v", v)
	}
	response, err := http.Get(s.cluster.Data(0) + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %s", response.Status)
	}
	if err := s.cluster.StartNode(1); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.AwaitReady(s.ctx, 0); err != nil {
		t.Fatal(err)
	}
	s.eventually(0, token, validate.OK)
}

// P9: who knows the gossip key and the addresses, and has another authority's certificate,
// stays outside.
func TestStrangerCannotJoin(t *testing.T) {
	s := tell(t, 1)
	dir := t.TempDir()
	authority, err := certs.NewAuthority(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Issue(dir, "x1", []string{"127.0.0.1"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	ours := s.cluster.NodeConfig(0)
	key, err := os.ReadFile(filepath.Join(ours.CertsDir, certs.GossipKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, certs.GossipKeyFile), key, 0o600); err != nil {
		t.Fatal(err)
	}
	var log said.Output
	c := ours
	c.NodeID, c.DataDir, c.CertsDir, c.Port = "x1", t.TempDir(), dir, ports.Take(t)
	c.Role, c.Join = string(record.NodeReplica), []string{fmt.Sprintf("127.0.0.1:%d", ours.Port+3)}
	stranger, err := node.Start(c, node.Surroundings{Version: "test", Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), AdminToken: func(string) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	// The leader tries to add it and is refused by the handshake: the stranger logs that.
	awaitLog(t, s.ctx, &log, "refused a connection to the port for nodes")
	status, err := s.at(0).Cluster(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range status.Nodes {
		if n.ID == "x1" && (n.Role == record.NodeVoter || n.Applied > 0) {
			t.Errorf("%+v", n)
		}
	}
	if stranger.Ready() {
		t.Error("the stranger is ready")
	}
}

// awaitLog waits until the text was logged.
func awaitLog(t *testing.T, ctx context.Context, l *said.Output, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(l.String(), text) {
		select {
		case <-ctx.Done():
			t.Fatalf("not logged: %s\n%s", text, l.String())
		case <-tick.C:
		}
	}
}

// N1
func TestBadConfig(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*node.Config){
		"node_id":                   func(c *node.Config) { c.NodeID = "Not One" },
		"role":                      func(c *node.Config) { c.Role = "king" },
		"bootstrap_expect":          func(c *node.Config) { c.BootstrapExpect = 99 },
		"give --join":               func(c *node.Config) { c.Role = "replica" },
		"can only meet":             func(c *node.Config) { c.BootstrapExpect = 3 },
		"veto certs":                func(c *node.Config) { c.BootstrapExpect, c.Join = 3, []string{"127.0.0.1"} },
		"is not an IP address":      func(c *node.Config) { c.Bind = "host" },
		"give --advertise":          func(c *node.Config) { c.Bind = "0.0.0.0" },
		"would travel in the clear": func(c *node.Config) { c.Bind = "10.0.0.1" },
		"leaves no room":            func(c *node.Config) { c.Port = 65535 },
		"go together":               func(c *node.Config) { c.HTTPCertFile = "x" },
		"max_staleness":             func(c *node.Config) { c.MaxStaleness = 0 },
		"max_connections":           func(c *node.Config) { c.MaxConnections = 1 },
		"caller_rate":               func(c *node.Config) { c.CallerRate = -1 },
		"canary_interval":           func(c *node.Config) { c.CanaryInterval = time.Millisecond },
		"one of these servers":      func(c *node.Config) { c.EventsNATSURL, c.EventsEmbedded = "nats://a", true },
		"only a node alone":         func(c *node.Config) { c.EventsEmbedded, c.Join, c.CertsDir = true, []string{"127.0.0.1"}, "x" },
		"events_embedded_max_bytes": func(c *node.Config) { c.EventsEmbedded, c.EventsEmbeddedMaxBytes = true, 5 },
		"give names":                func(c *node.Config) { c.EventsNATSURL, c.EventsStream = "nats://a", "a.b" },
		"has a user in it":          func(c *node.Config) { c.EventsNATSURL = "nats://user:pass@a" },
		"not a subject":             func(c *node.Config) { c.EventsNATSURL, c.EventsDeadLetterSubject = "nats://a", "dead.*" },
		"events_nats_token_file":    func(c *node.Config) { c.EventsNATSURL, c.EventsNATSTokenFile = "nats://a", "/nothing" },
		"openssl rand":              func(c *node.Config) { c.PepperKeyFile = empty },
		"no regular file":           func(c *node.Config) { c.PepperKeyFile = "/dev/null" },
		"no such file":              func(c *node.Config) { c.PepperKeyFile = "/nothing" },
		"key_prefix":                func(c *node.Config) { c.KeyPrefix = "Acme" },
		"leaked_keys":               func(c *node.Config) { c.LeakedKeys = "ignore" },
		"leaked_keys_signers_file":  func(c *node.Config) { c.LeakedKeysSignersFile = "/nonexistent" },
		"trace_sample":              func(c *node.Config) { c.TraceSample = 1.5 },
		"trace_endpoint":            func(c *node.Config) { c.TraceEndpoint = "http://user:pass@host" },
		"audit_retention":           func(c *node.Config) { c.AuditRetention = time.Hour },
		"min_revision_wait":         func(c *node.Config) { c.MinRevisionWait = 6 * time.Second },
	} {
		c := node.DefaultConfig()
		c.NodeID, c.DataDir = "n1", filepath.Join(t.TempDir(), "data")
		change(&c)
		_, err := node.Start(c, node.Surroundings{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want something with %q", err, want)
		}
		if _, err := os.Stat(c.DataDir); err == nil {
			t.Errorf("%s: the data directory was made", want)
		}
	}
}

// N1
func TestDataDirectoryOfAnotherNode(t *testing.T) {
	s := tell(t, 1)
	c := s.cluster.NodeConfig(0)
	around := node.Surroundings{Version: "test", Now: time.Now, Log: slog.New(slog.DiscardHandler), AdminToken: func(string) error { return nil }}
	start := func(change func(*node.Config)) error {
		changed := c
		change(&changed)
		n, err := node.Start(changed, around)
		if err == nil {
			err = fmt.Errorf("started, and closed with %w", n.Close())
		}
		return err
	}
	if err := start(func(c *node.Config) { c.Port = ports.Take(t) }); !strings.Contains(err.Error(), "in use by another veto process") {
		t.Error(err)
	}
	if err := start(func(c *node.Config) { c.NodeID = "n2" }); !strings.Contains(err.Error(), "belongs to node n1") {
		t.Error(err)
	}
	if err := start(func(c *node.Config) { c.DataDir = t.TempDir() }); !strings.Contains(err.Error(), "give another --port") {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if err := start(func(c *node.Config) { c.DataDir, c.Port = t.TempDir(), port }); !strings.Contains(err.Error(), "give another --port") {
		t.Error(err)
	}
}

// Everything that was written, and every answer, is searched for the secrets.
func TestSecretsStayInside(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	var log said.Output
	c, err := dev.Start(ctx, dev.Config{
		Dir: dir, Nodes: 1, Port: ports.Take(t), Version: "test", Now: time.Now, Ready: func(string) {},
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{T: t, ctx: ctx, cluster: c, nodes: 1}
	s.trustDemoIssuer(0)
	token := s.token()
	s.eventually(0, token, validate.OK)
	if _, err := s.at(0).PutConsumer(ctx, "shop", client.ConsumerFields{}); err != nil {
		t.Fatal(err)
	}
	key, err := s.at(0).CreateKey(ctx, client.KeyFields{Consumer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	s.eventually(0, key.Secret, validate.OK)
	s.revoke(0, client.RevokeRequest{Token: token})
	var seen strings.Builder
	for _, bad := range []string{"/v1/validate", "/v1/keys", "/v1/audit", "/metrics", "/v1/revocations", "/nothing"} {
		for _, base := range []string{c.Data(0), c.Control(0)} {
			for _, bearer := range []string{token, key.Secret, c.AdminToken() + "x", c.AdminToken()} {
				request, _ := http.NewRequestWithContext(ctx, http.MethodGet, base+bad, nil)
				request.Header.Set("Authorization", "Bearer "+bearer)
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(&seen, response.Body)
				_ = response.Body.Close()
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"token": token, "signature": token[strings.LastIndex(token, ".")+1:], "key": key.Secret, "admin": c.AdminToken(), "client secret": c.Demo().ClientSecret}
	for name, secret := range secrets {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the %s was logged", name)
		}
		if strings.Contains(seen.String(), secret) {
			t.Errorf("the %s was answered", name)
		}
	}
	searchFiles(t, filepath.Join(dir, dev.ID(0)), secrets)
}

func searchFiles(t *testing.T, dir string, secrets map[string]string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for name, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds the %s", path, name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Keys are made, used on another node, switched off and on, and deleted; only a hash is kept.
func TestAPIKeysOnEveryNode(t *testing.T) {
	s := tell(t, 3)
	admin := s.at(0)
	if _, err := admin.PutConsumer(s.ctx, "shop", client.ConsumerFields{Metadata: []byte(`{"plan":"gold"}`)}); err != nil {
		t.Fatal(err)
	}
	key, err := admin.CreateKey(s.ctx, client.KeyFields{Consumer: "shop", Scopes: []string{"read"}})
	if err != nil || key.Secret == "" {
		t.Fatal(err)
	}
	v := s.eventually(1, key.Secret, validate.OK)
	if v.KeyID != key.ID || v.Consumer != "shop" || string(v.Metadata) != `{"plan":"gold"}` || v.Kind != validate.APIKey {
		t.Errorf("%+v", v)
	}
	s.eventually(2, key.Secret, validate.OK) // as it is found there
	rolled, err := s.at(2).RollKey(s.ctx, key.ID, time.Hour, false)
	if err != nil || rolled.ID != key.ID || rolled.Rotating == nil {
		t.Fatalf("%+v %v", rolled, err)
	}
	if v := s.eventually(0, rolled.Secret, validate.OK); v.Rotating || !v.ExpiresAt.IsZero() || v.KeyID != key.ID {
		t.Errorf("by the new secret: %+v", v)
	}
	if v := s.eventually(0, key.Secret, validate.OK); !v.Rotating || !v.ExpiresAt.Equal(rolled.Rotating.Until) || v.KeyID != key.ID {
		t.Errorf("by the old secret: %+v", v)
	}
	var problem *client.Error
	if _, err := s.at(0).RollKey(s.ctx, key.ID, time.Hour, false); !errors.As(err, &problem) || problem.Code != "key_rotating" {
		t.Errorf("rolled again: %v", err)
	}
	first := key
	if key, err = s.at(0).RollKey(s.ctx, key.ID, 0, true); err != nil {
		t.Fatal(err)
	}
	s.eventually(1, first.Secret, validate.KeyNotFound)
	s.eventually(1, rolled.Secret, validate.KeyNotFound)
	yes, no := true, false
	if _, err := s.at(2).UpdateKey(s.ctx, key.ID, client.KeyChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	s.eventually(1, key.Secret, validate.KeyDisabled)
	if _, err := s.at(1).UpdateKey(s.ctx, key.ID, client.KeyChange{Disabled: &no}); err != nil {
		t.Fatal(err)
	}
	s.eventually(2, key.Secret, validate.OK)
	if _, err := s.at(1).UpdateConsumer(s.ctx, "shop", client.ConsumerChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	if v := s.eventually(0, key.Secret, validate.ConsumerDisabled); v.Consumer != "shop" || v.Outcome != validate.Deny {
		t.Errorf("%+v", v)
	}
	if _, err := s.at(2).UpdateConsumer(s.ctx, "shop", client.ConsumerChange{Disabled: &no}); err != nil {
		t.Fatal(err)
	}
	if v := s.eventually(0, key.Secret, validate.OK); string(v.Metadata) != `{"plan":"gold"}` {
		t.Errorf("%+v", v)
	}
	s.revoke(1, client.RevokeRequest{Target: "consumer", Value: "shop"})
	s.eventually(0, key.Secret, validate.Revoked)
	if _, err := s.at(0).DeleteKey(s.ctx, key.ID); err != nil {
		t.Fatal(err)
	}
	s.eventually(2, key.Secret, validate.KeyNotFound)
}

// N13
func TestUseOfAKeyIsSeenOnEveryNode(t *testing.T) {
	s := tell(t, 3)
	if _, err := s.at(0).PutConsumer(s.ctx, "shop", client.ConsumerFields{}); err != nil {
		t.Fatal(err)
	}
	var keys []client.NewKey
	for range 4 {
		key, err := s.at(0).CreateKey(s.ctx, client.KeyFields{Consumer: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	for i := range 3 {
		s.eventually(i, keys[i].Secret, validate.OK)
	}
	from := time.Now().Add(-2 * time.Minute)
	s.ahead.Store(int64(time.Minute)) // whatever they told before, they may tell again
	for i := range 3 {
		for _, key := range keys[:3] {
			for {
				k, err := s.at(i).Key(s.ctx, key.ID)
				if err != nil {
					t.Fatal(err)
				}
				if !k.LastUsedAt.IsZero() {
					if k.Revision != key.Revision || k.LastUsedAt.Before(from) || k.LastUsedAt.After(time.Now()) {
						t.Errorf("%+v", k)
					}
					break
				}
				select {
				case <-s.ctx.Done():
					t.Fatalf("node %s does not see that %s was used", dev.ID(i), key.ID)
				case <-time.After(20 * time.Millisecond):
				}
			}
		}
		all, err := s.at(i).Keys(s.ctx, record.KeyQuery{Consumer: "shop"}, client.List{})
		if err != nil || len(all.Items) != 4 || all.Items[2].LastUsedAt.IsZero() || !all.Items[3].LastUsedAt.IsZero() {
			t.Errorf("%+v %v", all, err)
		}
	}
}
