package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/node/certs"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// T1: whichever file is in the way, no other is left behind.
func TestHalfADirectoryIsLeftAlone(t *testing.T) {
	a, err := certs.NewAuthority(t.TempDir(), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{certs.AuthorityFile, "ca-key.pem", certs.GossipKeyFile, "n1.pem", "n1-key.pem"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "n1") {
			err = a.Issue(dir, "n1", nil, now)
		} else {
			_, err = certs.NewAuthority(dir, now)
		}
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if content, _ := os.ReadFile(path); string(content) != "mine" || !slices.Equal(names(t, dir), []string{name}) {
			t.Errorf("%s: left %v", name, names(t, dir))
		}
	}
}

// T3: a real handshake, each side verifying the other's purpose.
func TestIssuedCertificatesConnect(t *testing.T) {
	dir, a := made(t)
	if err := a.Issue(dir, "n2", nil, now); err != nil {
		t.Fatal(err)
	}
	one, err := read(dir, "n1", now)
	if err != nil {
		t.Fatal(err)
	}
	two, err := read(dir, "n2", now)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	server := tls.Server(near, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{one.Certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: one.Authorities, SessionTicketsDisabled: true,
	})
	client := tls.Client(far, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{two.Certificate}, RootCAs: two.Authorities, ServerName: "n1",
	})
	done := make(chan error)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Error(err)
	}
}

func TestDaysLeft(t *testing.T) {
	dir, _ := made(t)
	m, err := read(dir, "n1", now)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]int{0: 365, certs.NodeLife - 36*time.Hour: 1, certs.NodeLife - time.Hour: 0, certs.NodeLife + time.Hour: -1} {
		if got := m.DaysLeft(m.NotAfter.Add(at - certs.NodeLife)); got != want {
			t.Errorf("%s: %d days, not %d", at, got, want)
		}
	}
}

func TestClockThatIsBehindIsTold(t *testing.T) {
	dir, _ := made(t)
	if _, err := read(dir, "n1", now.Add(-24*time.Hour)); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Error(err)
	}
}

// foreign makes the files of people who have an authority of their own.
type foreign struct {
	t           *testing.T
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{t: t, dir: t.TempDir()}
	f.certificate, f.key = f.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	f.write(certs.AuthorityFile, "CERTIFICATE", f.certificate.Raw)
	return f
}

// sign signs with the current authority; the first signs itself.
func (f *foreign) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), now.Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = now.Add(time.Hour)
	}
	parent, signer := f.certificate, f.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	return c, key
}

func (f *foreign) write(name, kind string, blocks ...[]byte) {
	f.t.Helper()
	var b []byte
	for _, der := range blocks {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(filepath.Join(f.dir, name), b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *foreign) node(template *x509.Certificate, between ...[]byte) {
	f.t.Helper()
	c, key := f.sign(template)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write("n1.pem", "CERTIFICATE", append([][]byte{c.Raw}, between...)...)
	f.write("n1-key.pem", "PRIVATE KEY", der)
}

var both = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

// T3: such a certificate would fail in the middle of the night, and on one side only.
func TestWrongPurposeIsTold(t *testing.T) {
	for want, usages := range map[string][]x509.ExtKeyUsage{
		"not for clients": both[:1], "not for servers": both[1:], "": both,
	} {
		f := newForeign(t)
		f.node(&x509.Certificate{DNSNames: []string{"n1"}, ExtKeyUsage: usages})
		_, err := read(f.dir, "n1", now)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	f := newForeign(t)
	f.node(&x509.Certificate{ExtKeyUsage: both})
	if _, err := read(f.dir, "n1", now); err == nil || !strings.Contains(err.Error(), "first one must be the node's id") {
		t.Errorf("no name: %v", err)
	}
	f = newForeign(t)
	f.node(&x509.Certificate{DNSNames: []string{"n1"}, ExtKeyUsage: both, NotAfter: now.Add(48 * time.Hour)})
	if _, err := read(f.dir, "n1", now.Add(24*time.Hour)); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("an authority that ended: %v", err)
	}
}

// T3: an authority between the cluster's and the node's.
func TestChainIsRead(t *testing.T) {
	f := newForeign(t)
	between, key := f.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	f.certificate, f.key = between, key
	f.node(&x509.Certificate{DNSNames: []string{"n1"}, ExtKeyUsage: both}, between.Raw)
	if m, err := read(f.dir, "n1", now); err != nil || m.NodeID != "n1" {
		t.Errorf("%+v %v", m, err)
	}
	f.node(&x509.Certificate{DNSNames: []string{"n1"}, ExtKeyUsage: both})
	if _, err := read(f.dir, "n1", now); err == nil {
		t.Error("a chain with a gap was taken")
	}
}

// T4
func TestNoNodeOutlivesItsAuthority(t *testing.T) {
	dir, a := made(t)
	late := now.Add(certs.AuthorityLife - 24*time.Hour)
	if err := a.Issue(dir, "n2", nil, late); err != nil {
		t.Fatal(err)
	}
	m, err := read(dir, "n2", late)
	if err != nil || m.NotAfter.After(now.Add(certs.AuthorityLife)) {
		t.Errorf("%s %v", m.NotAfter, err)
	}
	if err := a.Issue(dir, "n3", nil, now.Add(certs.AuthorityLife+time.Hour)); err == nil || !strings.Contains(err.Error(), "the authority ended") {
		t.Error(err)
	}
}

// T5
func TestBadNamesAreRefused(t *testing.T) {
	dir, a := made(t)
	before := names(t, dir)
	for _, id := range []string{"", "ca", "../n2", "N2", "n.2", "n2\n", strings.Repeat("n", 64)} {
		if err := a.Issue(dir, id, nil, now); err == nil || !strings.Contains(err.Error(), "cannot be a node's id") {
			t.Errorf("id %q: %v", id, err)
		}
	}
	for _, host := range []string{"", "https://n2.example", "n2.example:7772", "10.0.0.1:7772", "n2 ", "a..b", strings.Repeat("a.", 127) + "b"} {
		if err := a.Issue(dir, "n2", []string{host}, now); err == nil {
			t.Errorf("host %q was taken", host)
		}
	}
	if after := names(t, dir); !slices.Equal(before, after) {
		t.Errorf("left %v", after)
	}
	if err := a.Issue(dir, "n2", []string{"n2", "::1", "N2.Example", "*.n2.example", "n2", "under_score.example"}, now); err != nil {
		t.Fatal(err)
	}
	m, err := read(dir, "n2", now)
	if err != nil || !slices.Equal(m.Certificate.Leaf.DNSNames, []string{"n2", "N2.Example", "*.n2.example", "under_score.example"}) {
		t.Errorf("%v %v", m.Certificate.Leaf.DNSNames, err)
	}
}

func TestMissingAuthorityIsTold(t *testing.T) {
	if _, err := certs.LoadAuthority(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	dir, _ := made(t)
	c, k := certs.NodeFiles("n1")
	for from, to := range map[string]string{c: certs.AuthorityFile, k: "ca-key.pem"} {
		b, _ := os.ReadFile(filepath.Join(dir, from))
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := certs.LoadAuthority(dir); err == nil || !strings.Contains(err.Error(), "is not an authority") {
		t.Errorf("a node's certificate signs: %v", err)
	}
}
