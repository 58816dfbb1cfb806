package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

// Material is what a node proves itself with, read and checked.
type Material struct {
	// NodeID is the certificate's first DNS name.
	NodeID      string
	Certificate tls.Certificate
	Authorities *x509.CertPool
	// Believed are the fingerprints of the authorities, and Signer that of the one that the certificate
	// comes from.
	Believed []string
	Signer   string
	// NotAfter is when the certificate ends.
	NotAfter time.Time
}

// DaysLeft is how many whole days the certificate still lasts; negative once it has ended.
func (m Material) DaysLeft(now time.Time) int {
	return int(math.Floor(m.NotAfter.Sub(now).Hours() / 24))
}

// Read reads the files and checks that they fit each other, and do for both sides of a
// connection, at the given time. The certificate's file may hold intermediate ones after it.
// Errors name the file and say what to do.
func Read(authorityFile, certificateFile, keyFile string, now time.Time) (Material, error) {
	roots, err := os.ReadFile(authorityFile) //nolint:gosec // the operator's own file
	if err != nil {
		return Material{}, fmt.Errorf("the cluster's authority: %w", err)
	}
	pool, believed := x509.NewCertPool(), certificatesIn(roots)
	for _, c := range believed {
		pool.AddCert(c)
	}
	if len(believed) == 0 {
		return Material{}, fmt.Errorf("%s holds no certificate in PEM", authorityFile)
	}
	pair, err := ReadPair(certificateFile, keyFile)
	if err != nil {
		return Material{}, fmt.Errorf("the node's certificate in %s and its key in %s: %w", certificateFile, keyFile, err)
	}
	leaf := pair.Leaf
	if len(leaf.DNSNames) == 0 {
		return Material{}, fmt.Errorf("%s has no DNS name; its first one must be the node's id", certificateFile)
	}
	if now.After(leaf.NotAfter) {
		return Material{}, fmt.Errorf("%s ended on %s; make a new one with `veto certs node`", certificateFile, leaf.NotAfter.Format(time.DateOnly))
	}
	if now.Before(leaf.NotBefore) {
		return Material{}, fmt.Errorf("%s begins on %s; is this machine's clock right?", certificateFile, leaf.NotBefore.Format(time.RFC3339))
	}
	root, err := verify(pair, pool, now)
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return Material{}, fmt.Errorf("%s was not signed by %s", certificateFile, authorityFile)
	}
	if err != nil {
		return Material{}, fmt.Errorf("%s, checked against %s: %w", certificateFile, authorityFile, err)
	}
	return Material{
		NodeID: leaf.DNSNames[0], Certificate: pair, Authorities: pool, NotAfter: leaf.NotAfter,
		Believed: fingerprints(believed), Signer: Fingerprint(root.Raw),
	}, nil
}

// certificatesIn are the certificates of a file in PEM; what is none is passed over.
func certificatesIn(content []byte) (all []*x509.Certificate) {
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, c)
		}
	}
	return all
}

// ReadPair reads a certificate, and its key out of a file that only its owner and group may open.
func ReadPair(certificateFile, keyFile string) (tls.Certificate, error) {
	certificate, err := os.ReadFile(certificateFile) //nolint:gosec // the operator's own file
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ReadSecret(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificate, key)
}

// verify does what other nodes will do, and returns the authority that it ends at.
func verify(pair tls.Certificate, authorities *x509.CertPool, now time.Time) (root *x509.Certificate, err error) {
	chain := x509.VerifyOptions{Roots: authorities, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain.Intermediates.AddCert(c)
	}
	// Nodes both listen and connect.
	for purpose, usage := range map[string]x509.ExtKeyUsage{
		"servers": x509.ExtKeyUsageServerAuth, "clients": x509.ExtKeyUsageClientAuth,
	} {
		chain.KeyUsages = []x509.ExtKeyUsage{usage}
		chains, err := pair.Leaf.Verify(chain)
		var invalid x509.CertificateInvalidError
		switch {
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			return nil, fmt.Errorf("it is not for %s; nodes need both purposes, serverAuth and clientAuth", purpose)
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			return nil, errors.New("the authority, or one between, has ended; make a new one")
		case err != nil:
			return nil, err
		}
		root = chains[0][len(chains[0])-1]
	}
	return root, nil
}
