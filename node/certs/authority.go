package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// How long certificates last.
const (
	AuthorityLife = 10 * 365 * 24 * time.Hour
	NodeLife      = 365 * 24 * time.Hour
	backdate      = time.Hour // clocks differ
)

// The files in a directory of certificates.
const (
	AuthorityFile    = "ca.pem"
	authorityKeyFile = "ca-key.pem"
	GossipKeyFile    = "gossip.key"
)

// NodeFiles are the names of a node's certificate and private key.
func NodeFiles(nodeID string) (certificate, key string) {
	return nodeID + ".pem", nodeID + "-key.pem"
}

// Authority signs the certificates of one cluster.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority and writes its files, and a gossip key, into the directory.
func NewAuthority(dir string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Veto cluster authority"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(AuthorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a := &Authority{certificate: template, key: key}
	der, err := a.sign(template, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	if err := writePair(filepath.Join(dir, AuthorityFile), filepath.Join(dir, authorityKeyFile), der, key); err != nil {
		return nil, err
	}
	return a, writeNew(filepath.Join(dir, GossipKeyFile), []byte(base64.StdEncoding.EncodeToString(secret)+"\n"), 0o600)
}

// LoadAuthority reads the authority in the directory.
func LoadAuthority(dir string) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, AuthorityFile), filepath.Join(dir, authorityKeyFile))
	if err != nil {
		return nil, fmt.Errorf("the authority in %s cannot be read: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is not an authority that veto made", filepath.Join(dir, AuthorityFile))
	}
	return &Authority{certificate: pair.Leaf, key: key}, nil
}

// Issue makes a node's certificate and key and writes them into the directory. Hosts are its
// names and addresses; the node's id is always its first name.
func (a *Authority) Issue(dir, nodeID string, hosts []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: nodeID},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(NodeLife),
		DNSNames: []string{nodeID}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != nodeID {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := a.sign(template, &key.PublicKey)
	if err != nil {
		return err
	}
	certificate, private := NodeFiles(nodeID)
	return writePair(filepath.Join(dir, certificate), filepath.Join(dir, private), der, key)
}

func (a *Authority) sign(template *x509.Certificate, public *ecdsa.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return der, nil
}

func writePair(certificatePath, keyPath string, der []byte, key *ecdsa.PrivateKey) error {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	if err := writeNew(keyPath, block, 0o600); err != nil {
		return err
	}
	return writeNew(certificatePath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode) //nolint:gosec // the operator's own directory
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already and is not overwritten; name another directory, or move it away", path)
	}
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
