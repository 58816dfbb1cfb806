package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"regexp"
	"slices"
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

// NewAuthority makes an authority and writes its files, and a gossip key, into the directory,
// which it makes if need be. If one of the files is there already, it writes none.
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
	gossip, err := gossipKey()
	if err != nil {
		return nil, err
	}
	files, err := pair(AuthorityFile, authorityKeyFile, der, key)
	if err != nil {
		return nil, err
	}
	if err := writeNew(dir, append(files, gossip)); err != nil {
		return nil, err
	}
	return a, nil
}

// NewGossipKey writes a gossip key into the directory, to take the place of another. If one is there already,
// it writes none.
func NewGossipKey(dir string) error {
	f, err := gossipKey()
	if err != nil {
		return err
	}
	return writeNew(dir, []file{f})
}

func gossipKey() (file, error) {
	secret := make([]byte, gossipKeyLength)
	if _, err := rand.Read(secret); err != nil {
		return file{}, fmt.Errorf("certs: %w", err)
	}
	return file{GossipKeyFile, []byte(base64.StdEncoding.EncodeToString(secret) + "\n"), private}, nil
}

// LoadAuthority reads the authority in the directory. The error is os.ErrNotExist if a file is
// not there.
func LoadAuthority(dir string) (*Authority, error) {
	pair, err := ReadPair(filepath.Join(dir, AuthorityFile), filepath.Join(dir, authorityKeyFile))
	if err != nil {
		return nil, fmt.Errorf("the authority in %s cannot be read: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is not an authority that veto made", filepath.Join(dir, AuthorityFile))
	}
	return &Authority{certificate: pair.Leaf, key: key}, nil
}

var validNodeID = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// Issue makes a node's certificate and key and writes them into the directory. Hosts are its
// names and addresses; the node's id is always its first name. The certificate does not
// outlive the authority. If one of the files is there already, it writes none.
func (a *Authority) Issue(dir, nodeID string, hosts []string, now time.Time) error {
	if !validNodeID.MatchString(nodeID) || nodeID == "ca" {
		return fmt.Errorf("%q cannot be a node's id; 1 to 63 of a-z, 0-9 and dash, and not ca", nodeID)
	}
	if !now.Before(a.certificate.NotAfter) {
		return fmt.Errorf("the authority ended on %s; make a new one with `veto certs authority`", a.certificate.NotAfter.Format(time.DateOnly))
	}
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
	if template.NotAfter.After(a.certificate.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	if err := addHosts(template, hosts); err != nil {
		return err
	}
	der, err := a.sign(template, &key.PublicKey)
	if err != nil {
		return err
	}
	certificateFile, keyFile := NodeFiles(nodeID)
	files, err := pair(certificateFile, keyFile, der, key)
	if err != nil {
		return err
	}
	return writeNew(dir, files)
}

// validHost is a DNS name as in RFC 1123, or with a star for its first label.
var validHost = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)

func addHosts(c *x509.Certificate, hosts []string) error {
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
			continue
		}
		if len(h) > 253 || !validHost.MatchString(h) {
			return fmt.Errorf("%q is neither a name nor an address of a node; give it without scheme and port", h)
		}
		if !slices.Contains(c.DNSNames, h) {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	return nil
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
