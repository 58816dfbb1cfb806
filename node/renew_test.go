package node_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"veto/client"
	"veto/node"
	"veto/node/certs"
	"veto/node/dev"
	"veto/record"
	"veto/test/ports"
	"veto/test/said"
)

// ownFolders gives each node a folder of certificates of its own, as on machines of their own.
func ownFolders(t *testing.T) func(c *node.Config) {
	t.Helper()
	return func(c *node.Config) {
		own := c.DataDir + "-certs"
		if _, err := os.Stat(own); err != nil {
			if err := os.CopyFS(own, os.DirFS(c.CertsDir)); err != nil {
				t.Error(err)
			}
			for _, name := range []string{c.NodeID + "-key.pem", certs.GossipKeyFile} {
				if err := os.Chmod(filepath.Join(own, name), 0o600); err != nil {
					t.Error(err)
				}
			}
		}
		c.CertsDir = own
	}
}

// lay writes files into the folder of a node, and has it read them.
func (s *story) lay(i int, files map[string][]byte) {
	s.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.cluster.NodeConfig(i).CertsDir, name), content, 0o600); err != nil {
			s.Fatal(err)
		}
	}
	s.cluster.Node(i).Reload()
}

// step lays files in the folders of all nodes, one after the other, and waits until all nodes go by them.
func (s *story) step(what string, files func(i int) map[string][]byte, done func(h record.NodeHost) bool) {
	s.Helper()
	for i := range s.nodes {
		s.lay(i, files(i))
		s.met(what, func(c record.ClusterStatus) bool {
			return !slices.ContainsFunc(c.Nodes[:i+1], func(n record.NodeStatus) bool { return n.Host == nil || !done(*n.Host) })
		})
	}
}

// met waits until the cluster is as wanted, with all its nodes alive, and nothing grave wrong.
func (s *story) met(what string, want func(c record.ClusterStatus) bool) {
	s.Helper()
	for {
		c, err := s.at(0).Cluster(s.ctx)
		good := err == nil && c.CanLose == 1 && want(c)
		for _, n := range c.Nodes {
			good = good && n.State == "alive"
		}
		if good && !slices.ContainsFunc(c.Problems, func(p record.ClusterProblem) bool { return p.Severity == record.Grave }) {
			return
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("never: %s: %+v %v", what, c.Problems, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// revokeConstantly revokes at all nodes in turn until the test stops it, and gives the ids of what was answered.
func (s *story) revokeConstantly() (stop func() []string) {
	done := make(chan struct{})
	var ids []string
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			r, err := s.at(n%s.nodes).Revoke(s.ctx, client.RevokeRequest{Target: "jti", Issuer: s.cluster.Issuer().URL(), Value: rand.Text()}, false, 0)
			if err != nil {
				s.Errorf("a revocation on %s: %v", dev.ID(n%s.nodes), err)
				return
			}
			ids = append(ids, r.ID)
		}
	})
	return func() []string { close(done); wg.Wait(); return ids }
}

// N13
func TestRotationOfAuthorityAndGossipKeyUnderLoad(t *testing.T) {
	s := tellWith(t, 3, 4*time.Minute, ownFolders(t))
	s.trustDemoIssuer(0)
	stop, stopRevoking := s.askConstantly(s.shopKeys(6)), s.revokeConstantly()
	folder := s.cluster.NodeConfig(2).CertsDir
	oldCA, oldGossip := read(t, folder, certs.AuthorityFile), read(t, folder, certs.GossipKeyFile)
	thief, err := certs.ReadPair(filepath.Join(folder, "n3.pem"), filepath.Join(folder, "n3-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	fresh := t.TempDir()
	authority, err := certs.NewAuthority(fresh, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	newCA, newGossip := read(t, fresh, certs.AuthorityFile), read(t, fresh, certs.GossipKeyFile)
	both := func(a, b []byte) []byte { return append(slices.Clone(a), b...) }
	old := s.host(0)

	s.step("both authorities are believed, and both gossip keys are read", func(int) map[string][]byte {
		return map[string][]byte{certs.AuthorityFile: both(oldCA, newCA), certs.GossipKeyFile: both(oldGossip, newGossip)}
	}, func(h record.NodeHost) bool { return len(h.Authorities) == 2 && len(h.GossipKeys) == 2 })
	s.step("all show certificates of the new one, and speak by the new key", func(i int) map[string][]byte {
		if err := authority.Issue(fresh, dev.ID(i), []string{"127.0.0.1"}, time.Now()); err != nil {
			t.Fatal(err)
		}
		return map[string][]byte{
			dev.ID(i) + ".pem": read(t, fresh, dev.ID(i)+".pem"), dev.ID(i) + "-key.pem": read(t, fresh, dev.ID(i)+"-key.pem"),
			certs.GossipKeyFile: both(newGossip, oldGossip),
		}
	}, func(h record.NodeHost) bool { return h.Signer != old.Signer && h.GossipKeys[0] != old.GossipKeys[0] })
	held, err := s.dialPeer(0, thief)
	if err != nil {
		t.Fatal("the old certificate is refused too early:", err)
	}
	s.step("the old ones are gone", func(int) map[string][]byte {
		return map[string][]byte{certs.AuthorityFile: newCA, certs.GossipKeyFile: newGossip}
	}, func(h record.NodeHost) bool { return len(h.Authorities) == 1 && len(h.GossipKeys) == 1 })

	if _, err := s.dialPeer(0, thief); err == nil {
		t.Error("a certificate of the old authority is still let in")
	}
	if err := held.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("what was connected by the old certificate goes on: %v", err)
	}
	s.met("all is well after the old connections were cut", func(record.ClusterStatus) bool { return true })
	if r, err := s.at(1).Revoke(s.ctx, client.RevokeRequest{Target: "jti", Issuer: s.cluster.Issuer().URL(), Value: "last"}, true, 20*time.Second); err != nil || len(r.EnforcedOn) != 3 {
		t.Errorf("%+v %v", r, err)
	}
	ids, asked := stopRevoking(), stop()
	t.Logf("%d questions, %d revocations meanwhile", asked, len(ids))
	for i := range 3 {
		for _, id := range ids {
			if _, err := s.at(i).Revocation(s.ctx, id); err != nil {
				t.Fatalf("%s has lost %s: %v", dev.ID(i), id, err)
			}
		}
	}
}

func (s *story) host(i int) record.NodeHost {
	s.Helper()
	c, err := s.at(i).Cluster(s.ctx)
	if err != nil || c.Nodes[i].Host == nil {
		s.Fatal(c, err)
	}
	return *c.Nodes[i].Host
}

// dialPeer connects to a node's port for nodes by a certificate. It is let in if the node then waits
// for what is said.
func (s *story) dialPeer(i int, by tls.Certificate) (*tls.Conn, error) {
	s.Helper()
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.cluster.NodeConfig(i).Port+2), &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: []tls.Certificate{by}, NextProtos: []string{"veto-rpc/1"},
	})
	if err != nil {
		return nil, err
	}
	s.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST /no-such HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return nil, err
	}
	_, err = conn.Read(make([]byte, 4096))
	return conn, err
}

// N13: files that do not fit each other change nothing, and are said.
func TestHalfANewCertificateChangesNothing(t *testing.T) {
	s := tellOf(t, 1, ownFolders(t))
	was := s.host(0)
	other := t.TempDir()
	authority, err := certs.NewAuthority(other, time.Now())
	if err == nil {
		err = authority.Issue(other, "n1", nil, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.lay(0, map[string][]byte{"n1.pem": read(t, other, "n1.pem")})
	for s.host(0).Unread == "" {
		select {
		case <-s.ctx.Done():
			t.Fatal("nothing is said of it")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if now := s.host(0); now.Signer != was.Signer {
		t.Errorf("%+v", now)
	}
	s.lay(0, map[string][]byte{"n1-key.pem": read(t, other, "n1-key.pem"), certs.AuthorityFile: read(t, other, certs.AuthorityFile)})
	for s.host(0).Signer == was.Signer {
		select {
		case <-s.ctx.Done():
			t.Fatal("the whole is not taken")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if why := s.host(0).Unread; why != "" {
		t.Error(why)
	}
}

// N13: clients meet the new certificate on all listeners for them, without a restart.
func TestHTTPCertificateIsRenewed(t *testing.T) {
	s := tellOf(t, 1, func(c *node.Config) {
		ownFolders(t)(c)
		c.HTTPCertFile, c.HTTPKeyFile = filepath.Join(c.CertsDir, "http.pem"), filepath.Join(c.CertsDir, "http-key.pem")
		if _, err := os.Stat(c.HTTPCertFile); err == nil {
			return
		}
		for from, to := range map[string]string{"n1.pem": "http.pem", "n1-key.pem": "http-key.pem"} {
			if err := os.WriteFile(filepath.Join(c.CertsDir, to), read(t, c.CertsDir, from), 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	other := t.TempDir()
	authority, err := certs.NewAuthority(other, time.Now())
	if err == nil {
		err = authority.Issue(other, "http", nil, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.lay(0, map[string][]byte{"http.pem": read(t, other, "http.pem"), "http-key.pem": read(t, other, "http-key.pem")})
	for port, first := range map[int]bool{0: false, 1: false, 4: true} {
		for shown := ""; shown != "http"; {
			err := shakes(t, s.cluster.NodeConfig(0).Port+port, first, &tls.Config{
				MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
				VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
					c, err := x509.ParseCertificate(raw[0])
					shown = c.Subject.CommonName
					return err
				},
			})
			if err != nil {
				t.Fatalf("port +%d: %v", port, err)
			}
			if s.ctx.Err() != nil {
				t.Fatalf("port +%d still shows %s", port, shown)
			}
		}
	}
}

// N13: a node starts with a certificate of HTTP that has ended and says so, and of another that has ended it says it anew.
func TestEndedHTTPCertificateIsSaid(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := func(at time.Time) (string, string) {
		dir := t.TempDir()
		authority, err := certs.NewAuthority(dir, at)
		if err == nil {
			err = authority.Issue(dir, "http", nil, at)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, "http.pem"), filepath.Join(dir, "http-key.pem")
	}
	before := time.Now().Add(-certs.NodeLife - 48*time.Hour)
	var log said.Output
	var files [2]string
	c, err := dev.Start(ctx, dev.Config{
		Dir: t.TempDir(), Nodes: 1, Port: ports.Take(t), Version: "test", Now: time.Now, Ready: func(string) {}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Adjust: func(c *node.Config) {
			c.HTTPCertFile, c.HTTPKeyFile = ended(before)
			files = [2]string{c.HTTPCertFile, c.HTTPKeyFile}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	end := func(at time.Time) string { return "ended=" + at.Add(certs.NodeLife).UTC().Format(time.DateOnly) }
	awaitLog(t, ctx, &log, end(before))
	certificate, key := ended(before.Add(24 * time.Hour))
	for i, from := range []string{certificate, key} {
		if err := os.WriteFile(files[i], read(t, filepath.Dir(from), filepath.Base(from)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.Node(0).Reload()
	awaitLog(t, ctx, &log, end(before.Add(24*time.Hour)))
	if n := strings.Count(log.String(), "HTTP certificate has ended"); n != 2 {
		t.Errorf("it is said %d times:\n%s", n, log.String())
	}
}

// N13: who leads gives the leadership to a node whose certificate lasts, and goes on where there is none.
func TestLeaderWhoseCertificateEndsHandsOver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var log said.Output
	dir := t.TempDir()
	c, err := dev.Start(ctx, dev.Config{
		Dir: dir, Nodes: 3, Port: ports.Take(t), Version: "test", Now: time.Now, Ready: func(string) {},
		Log: slog.New(slog.NewTextHandler(&log, nil)), Adjust: ownFolders(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s := &story{T: t, ctx: ctx, cluster: c, nodes: 3}
	authority, err := certs.LoadAuthority(filepath.Join(dir, "certs"))
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(10*time.Minute - certs.NodeLife)
	end := func(i int) {
		made := t.TempDir()
		if err := authority.Issue(made, dev.ID(i), []string{"127.0.0.1"}, soon); err != nil {
			t.Fatal(err)
		}
		s.lay(i, map[string][]byte{dev.ID(i) + ".pem": read(t, made, dev.ID(i)+".pem"), dev.ID(i) + "-key.pem": read(t, made, dev.ID(i)+"-key.pem")})
	}
	first := s.leader()
	end(first)
	for now := first; now == first; now = s.leader() {
		if ctx.Err() != nil {
			t.Fatal("it leads still")
		}
	}
	awaitLog(t, ctx, &log, "it hands the leadership over")
	leader := s.leader()
	for _, i := range []int{(leader + 1) % 3, (leader + 2) % 3, leader} {
		for end(i); time.Until(s.host(i).NodeEndsAt) > time.Hour; {
			if ctx.Err() != nil {
				t.Fatal("its certificate is not taken")
			}
		}
	}
	awaitLog(t, ctx, &log, "and goes on, as no voter that answers has one that lasts longer")
	if n := strings.Count(log.String(), "it hands the leadership over"); n != 1 {
		t.Errorf("the leadership was handed over %d times", n)
	}
}

// N13: a node that has only the old gossip key when the others speak by the new one is said to be deaf.
func TestGossipKeyThatComesTooEarlyIsSaid(t *testing.T) {
	s := tellOf(t, 3, ownFolders(t))
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	s.lay(1, map[string][]byte{certs.GossipKeyFile: []byte(base64.StdEncoding.EncodeToString(key) + "\n" + string(read(t, s.cluster.NodeConfig(1).CertsDir, certs.GossipKeyFile)))})
	for {
		c, err := s.at(0).Cluster(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(c.Problems, func(p record.ClusterProblem) bool {
			return p.Code == "gossip_key_unknown" && slices.Equal(p.Nodes, []string{"n1", "n3"})
		}) {
			return
		}
		select {
		case <-s.ctx.Done():
			t.Fatalf("%+v", c.Problems)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
