package certs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// T7
func TestKeeperTakesAllOrNone(t *testing.T) {
	dir, other, now := t.TempDir(), t.TempDir(), time.Now()
	for _, d := range []string{dir, other} {
		a, err := NewAuthority(d, now)
		if err == nil {
			err = a.Issue(d, "n1", nil, now)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	refuse := errors.New("not this gossip key")
	var refused error
	k, err := Keep(Paths{Dir: dir, NodeID: "n1"}, func(*Held) error { return refused }, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	first := k.Held()
	look := func(what string, changed bool, bad bool) {
		t.Helper()
		got, err := k.Look()
		if got != changed || (err != nil) != bad || (k.Unread() != "") != bad || (k.Held() != first) != changed {
			t.Errorf("%s: %v %v, unread %q", what, got, err, k.Unread())
		}
	}
	take := func(names ...string) {
		t.Helper()
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(other, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	look("nothing new", false, false)
	take("n1.pem")
	look("a certificate without its key", false, true)
	take("n1-key.pem")
	look("a pair of another authority", false, true)
	take(AuthorityFile)
	refused = refuse
	look("refused by whoever knows better", false, true)
	refused = nil
	look("all", true, false)
	if second := k.Held(); second.SameNode(first) || second.Node.Signer == first.Node.Signer || len(second.Node.Believed) != 1 {
		t.Errorf("%+v", second.Node)
	}
	first = k.Held()
	take(GossipKeyFile)
	look("another gossip key", true, false)
	if !k.Held().SameNode(first) {
		t.Error("to other nodes it is the same")
	}
}

// T8
func TestPipeIsNotKept(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a, err := NewAuthority(dir, now)
	if err == nil {
		err = a.Issue(dir, "n1", nil, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	k, err := Keep(Paths{Dir: dir, NodeID: "n1"}, func(*Held) error { return nil }, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{GossipKeyFile, "n1-key.pem", "n1.pem", AuthorityFile} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Rename(path, path+".was"), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		if changed, err := k.Look(); changed || err == nil {
			t.Errorf("%s as a pipe: %v %v", name, changed, err)
		}
		if err := os.Rename(path+".was", path); err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := k.Look(); changed || err != nil {
		t.Errorf("as it was: %v %v", changed, err)
	}
}
