package certs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"veto/node/certs"
)

var now = time.Now()

func made(t *testing.T) (string, *certs.Authority) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "certs")
	a, err := certs.NewAuthority(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Issue(dir, "n1", []string{"10.0.0.1", "host.example"}, now); err != nil {
		t.Fatal(err)
	}
	return dir, a
}

func read(dir, id string, at time.Time) (certs.Material, error) {
	c, k := certs.NodeFiles(id)
	return certs.Read(filepath.Join(dir, certs.AuthorityFile), filepath.Join(dir, c), filepath.Join(dir, k), at)
}

func TestMadeMaterialIsGood(t *testing.T) {
	dir, _ := made(t)
	m, err := read(dir, "n1", now)
	if err != nil || m.NodeID != "n1" || len(m.Certificate.Leaf.IPAddresses) != 1 || len(m.Certificate.Leaf.DNSNames) != 2 {
		t.Errorf("%+v %v", m, err)
	}
	again, err := certs.LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Issue(dir, "n2", nil, now); err != nil {
		t.Error(err)
	}
	if _, err := read(dir, "n2", now); err != nil {
		t.Error(err)
	}
}

// T1
func TestNothingIsOverwritten(t *testing.T) {
	dir, a := made(t)
	before, _ := os.ReadFile(filepath.Join(dir, certs.AuthorityFile))
	if _, err := certs.NewAuthority(dir, now); err == nil || !strings.Contains(err.Error(), "is not overwritten") {
		t.Error(err)
	}
	if err := a.Issue(dir, "n1", nil, now); err == nil || !strings.Contains(err.Error(), "is not overwritten") {
		t.Error(err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, certs.AuthorityFile)); string(before) != string(after) {
		t.Error("the authority was changed")
	}
}

// T2
func TestPrivateFiles(t *testing.T) {
	dir, _ := made(t)
	for _, name := range []string{"ca-key.pem", "n1-key.pem", certs.GossipKeyFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestBadMaterialIsTold(t *testing.T) {
	dir, _ := made(t)
	other, _ := made(t)
	if _, err := read(dir, "n1", now.Add(2*certs.NodeLife)); err == nil || !strings.Contains(err.Error(), "veto certs node") {
		t.Error(err)
	}
	if _, err := read(dir, "n9", now); err == nil {
		t.Error("read what is not there")
	}
	c, k := certs.NodeFiles("n1")
	if _, err := certs.Read(filepath.Join(other, certs.AuthorityFile), filepath.Join(dir, c), filepath.Join(dir, k), now); err == nil || !strings.Contains(err.Error(), "was not signed by") {
		t.Error(err)
	}
	if _, err := certs.Read(filepath.Join(dir, certs.AuthorityFile), filepath.Join(dir, c), filepath.Join(other, k), now); err == nil {
		t.Error("another node's key was taken")
	}
}
