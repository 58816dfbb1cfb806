package node_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"veto/client"
	"veto/node"
	"veto/node/dev"
	"veto/record"
	"veto/validate"
)

// storedBy waits until the secrets of all keys are stored in one of the ways, each the ids of peppers.
func (s *story) storedBy(i int, ways ...string) record.PepperStatus {
	s.Helper()
	for {
		now, err := s.at(i).Pepper(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		good := len(now.Keys) > 0
		for _, k := range now.Keys {
			by := strings.Trim(fmt.Sprint(k.Peppers), "[]")
			found := false
			for _, w := range ways {
				found = found || w == by
			}
			good = good && found
		}
		if good {
			return now
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("%s stores %+v, not by %q", dev.ID(i), now.Keys, ways)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// shopKeys are good keys of one consumer.
func (s *story) shopKeys(n int) []string {
	s.Helper()
	if _, err := s.at(0).PutConsumer(s.ctx, "shop", client.ConsumerFields{}); err != nil {
		s.Fatal(err)
	}
	secrets := make([]string, n)
	for i := range secrets {
		k, err := s.at(i%s.nodes).CreateKey(s.ctx, client.KeyFields{Consumer: "shop"})
		if err != nil {
			s.Fatal(err)
		}
		secrets[i] = k.Secret
		for node := range s.nodes {
			s.eventually(node, k.Secret, validate.OK)
		}
	}
	return secrets
}

// askConstantly asks all nodes until the test stops it, and counts the questions.
func (s *story) askConstantly(secrets []string) (stop func() int) {
	done, asked := make(chan struct{}), make([]int, s.nodes)
	var wg sync.WaitGroup
	for i := range s.nodes {
		wg.Go(func() {
			c := s.at(i)
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				v, err := c.Validate(s.ctx, client.Question{Credential: secrets[n%len(secrets)]})
				if err != nil || v.Outcome != validate.Allow {
					s.Errorf("%s: %s %v", dev.ID(i), v.Code, err)
					return
				}
				asked[i]++
			}
		})
	}
	return func() (all int) {
		close(done)
		wg.Wait()
		for _, n := range asked {
			all += n
		}
		return all
	}
}

// isOpen sees that a portal session opens every node.
func (s *story) isOpen(session client.NewSession) {
	s.Helper()
	for i := range s.nodes {
		if me, err := s.as(i, session.Secret).Me(s.ctx, ""); err != nil || me.Session != session.ID {
			s.Errorf("a portal session from before, on %s: %+v %v", dev.ID(i), me, err)
		}
	}
}

// N11
func TestRotationBreaksNoCheck(t *testing.T) {
	s := tell(t, 3)
	secrets := s.shopKeys(12)
	idle, err := s.at(0).CreateKey(s.ctx, client.KeyFields{Consumer: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	s.storedBy(0, "1")
	session, err := s.at(0).OpenPortalSession(s.ctx, "shop", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	stop := s.askConstantly(secrets)
	for _, ways := range [][]string{{"2", "1 2"}, {"3", "1 2 3", "2 3"}} {
		if _, err := s.at(1).RotatePepper(s.ctx); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			s.storedBy(i, ways...)
		}
	}
	s.isOpen(session)
	// The idle key needs all three.
	var refused *client.Error
	if _, err := s.at(2).RotatePepper(s.ctx); !errors.As(err, &refused) || refused.Code != string(record.ReasonPeppersInUse) || refused.Status != 409 ||
		!strings.Contains(refused.Detail, "`veto keys list --pepper 1` shows which are left, among them key_") {
		t.Errorf("a fourth: %v", err)
	}
	if page, err := s.at(1).Keys(s.ctx, record.KeyQuery{Pepper: 1}, client.List{}); err != nil || !slices.ContainsFunc(page.Items, func(k record.APIKey) bool { return k.ID == idle.ID }) {
		t.Errorf("what needs the oldest: %+v %v", page.Items, err)
	}
	sum := sha256.Sum256([]byte(idle.Secret))
	_, err = s.at(2).CreateKey(s.ctx, client.KeyFields{Consumer: "shop", SHA256: hex.EncodeToString(sum[:])})
	if !errors.As(err, &refused) || refused.Code != string(record.ReasonDuplicateKey) || !strings.Contains(refused.Detail, idle.ID) {
		t.Errorf("the same secret again: %v", err)
	}
	s.eventually(0, idle.Secret, validate.OK)
	for i := range 3 { // all were used now, the operator's key as well
		s.storedBy(i, "3")
	}
	if _, err := s.at(0).RotatePepper(s.ctx); err != nil {
		t.Error(err)
	}
	now := s.storedBy(2, "4", "3 4")
	if len(now.Peppers) != 3 || now.Peppers[0].ID != 2 {
		t.Errorf("%+v", now.Peppers)
	}
	n := stop()
	t.Logf("%d questions were asked meanwhile", n)
	if n < 100 {
		t.Error("too few")
	}
	s.eventually(2, idle.Secret, validate.OK)
	s.eventually(1, "veto_0123456789ABCDEFGHIJKLMNOPQRST2GaIGv", validate.KeyNotFound)
	if n := s.rotations(2); n != 3 {
		t.Errorf("%d rotations are in the trail", n)
	}
}

// rotations is how many a node's audit trail tells of. Of what nobody asked for it must tell nothing.
func (s *story) rotations(i int) (n int) {
	s.Helper()
	trail, err := s.at(i).Audit(s.ctx, client.List{Limit: 1000})
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range trail.Items {
		if e.Action == "rehash_keys" {
			s.Errorf("%+v", e)
		}
		if e.Action == "put_pepper" && e.By != "" {
			n++
		}
	}
	return n
}

func writeKeys(t *testing.T, path string, keys ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newPepperKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// N11
func TestNodeWithoutThePepperFailsClosed(t *testing.T) {
	dir := t.TempDir()
	one, wrong := filepath.Join(dir, "one"), filepath.Join(dir, "wrong")
	writeKeys(t, one, newPepperKey())
	writeKeys(t, wrong, newPepperKey())
	var third string // the key file of the third node
	s := tellOf(t, 3, func(c *node.Config) {
		if c.PepperKeyFile = one; c.NodeID == "n3" {
			c.PepperKeyFile = third
		}
	})
	// As long as one has no key there is no pepper.
	secret := s.shopKeys(1)[0]
	if now := s.storedBy(0, ""); now.State != record.PepperHeld || len(now.Peppers) != 0 {
		t.Errorf("%+v", now)
	}
	if _, err := s.at(0).RotatePepper(s.ctx); err == nil {
		t.Error("rotated though a node has no key")
	}
	again := func(file string) {
		t.Helper()
		if err := s.cluster.StopNode(2); err != nil {
			t.Fatal(err)
		}
		third = file
		if err := s.cluster.StartNode(2); err != nil {
			t.Fatal(err)
		}
	}
	again(one)
	if err := s.cluster.AwaitReady(s.ctx, 2); err != nil {
		t.Fatal(err)
	}
	s.storedBy(0, "1")
	s.trustDemoIssuer(0)
	for _, file := range []string{wrong, ""} {
		again(file)
		token := s.token()
		s.eventually(2, token, validate.OK)
		if v := s.eventually(2, secret, validate.PepperLocked); v.Outcome != validate.Unknown || v.KeyID != "" {
			t.Errorf("%+v", v)
		}
		if s.cluster.Node(2).Ready() {
			t.Error("ready")
		}
		var locked *client.Error
		if _, err := s.at(2).CreateKey(s.ctx, client.KeyFields{Consumer: "shop"}); !errors.As(err, &locked) || locked.Code != "pepper_locked" {
			t.Errorf("a key was asked for: %v", err)
		}
		s.eventually(0, secret, validate.OK)
		c, err := s.at(0).Cluster(s.ctx)
		if err != nil || c.Nodes[2].Pepper != record.PepperLocked || c.Nodes[0].Pepper != record.PepperHeld {
			t.Errorf("%+v %v", c, err)
		}
	}
	again(one)
	s.eventually(2, secret, validate.OK)
}

// N11
func TestPepperIsWrappedAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	old, fresh := newPepperKey(), newPepperKey()
	writeKeys(t, file, old)
	s := tellOf(t, 2, func(c *node.Config) { c.PepperKeyFile = file })
	secret := s.shopKeys(1)[0]
	first := s.storedBy(0, "1").Peppers[0]
	restart := func() {
		t.Helper()
		for i := range 2 {
			if err := errors.Join(s.cluster.StopNode(i), s.cluster.StartNode(i), s.cluster.AwaitReady(s.ctx, i)); err != nil {
				t.Fatal(err)
			}
			s.eventually(i, secret, validate.OK)
		}
	}
	writeKeys(t, file, fresh, old)
	restart()
	if p := s.wrappedAnew(first); p.ID != 1 || !p.MadeAt.Equal(first.MadeAt) || p.WrappedAt.Equal(first.WrappedAt) {
		t.Errorf("%+v, was %+v", p, first)
	}
	writeKeys(t, file, fresh)
	restart()
}

// wrappedAnew waits until the first pepper is wrapped by another key than it was.
func (s *story) wrappedAnew(was record.Pepper) record.Pepper {
	s.Helper()
	for {
		now, err := s.at(0).Pepper(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		if p := now.Peppers[0]; p.WrappedBy != was.WrappedBy {
			return p
		}
		select {
		case <-s.ctx.Done():
			s.Fatal("not wrapped by the new key")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// N11: nor need a node be started again for it.
func TestPepperIsWrappedAnewWithoutARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	keys := []string{newPepperKey(), newPepperKey(), newPepperKey()}
	writeKeys(t, file, keys[0])
	s := tellOf(t, 2, func(c *node.Config) { c.PepperKeyFile = file })
	secret := s.shopKeys(1)[0]
	pepper := s.storedBy(0, "1").Peppers[0]
	for i, key := range keys[1:] {
		writeKeys(t, file, key, keys[i])
		for n := range 2 {
			s.cluster.Node(n).Reload()
		}
		pepper = s.wrappedAnew(pepper)
		writeKeys(t, file, key)
		for n := range 2 {
			s.cluster.Node(n).Reload()
			s.eventually(n, secret, validate.OK)
		}
	}
	for n := range 2 { // and what it is wrapped by is what the file has
		if err := errors.Join(s.cluster.StopNode(n), s.cluster.StartNode(n), s.cluster.AwaitReady(s.ctx, n)); err != nil {
			t.Fatal(err)
		}
		s.eventually(n, secret, validate.OK)
	}
}
