package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// Material is what a node proves itself with, read and checked.
type Material struct {
	// NodeID is the certificate's first DNS name.
	NodeID      string
	Certificate tls.Certificate
	Authorities *x509.CertPool
	// NotAfter is when the certificate ends.
	NotAfter time.Time
}

// Read reads the files and checks that they fit each other at the given time.
func Read(authorityFile, certificateFile, keyFile string, now time.Time) (Material, error) {
	roots, err := os.ReadFile(authorityFile) //nolint:gosec // the operator's own file
	if err != nil {
		return Material{}, fmt.Errorf("the cluster's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return Material{}, fmt.Errorf("%s holds no certificate in PEM", authorityFile)
	}
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		return Material{}, fmt.Errorf("the node's certificate: %w", err)
	}
	leaf := pair.Leaf
	if len(leaf.DNSNames) == 0 {
		return Material{}, fmt.Errorf("%s has no DNS name; its first one must be the node's id", certificateFile)
	}
	if now.After(leaf.NotAfter) {
		return Material{}, fmt.Errorf("%s ended on %s; make a new one with `veto certs node`", certificateFile, leaf.NotAfter.Format(time.DateOnly))
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return Material{}, fmt.Errorf("%s was not signed by %s: %w", certificateFile, authorityFile, err)
	}
	return Material{NodeID: leaf.DNSNames[0], Certificate: pair, Authorities: pool, NotAfter: leaf.NotAfter}, nil
}
