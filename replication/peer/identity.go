package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Identity is who this node is, and whom it believes.
type Identity struct {
	// ID is the first DNS name of the certificate.
	ID          string
	Certificate tls.Certificate
	// Authorities are the cluster's. A certificate of another is refused.
	Authorities *x509.CertPool
}

const (
	protocolRaft = "veto-raft/1"
	protocolCall = "veto-rpc/1"
)

// Accepting is the TLS configuration of the side that listens.
func (i Identity) Accepting() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.Certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: i.Authorities,
		// A resumed session would rest on what was verified when it began.
		SessionTicketsDisabled: true,
		VerifyConnection:       named,
	}
}

// named refuses a certificate that names no node: without an id nobody can tell who called.
func named(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 || nodeID(s.PeerCertificates[0]) == "" {
		return errors.New("the other node's certificate names no node: its first DNS name must be the node's id")
	}
	return nil
}

// Dialing is the TLS configuration of the side that connects. Nodes are known by their ids,
// not by host names, so the chain is verified here and the id if one is wanted.
func (i Identity) Dialing(wantID string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.Certificate},
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies instead
		VerifyConnection:   func(s tls.ConnectionState) error { return i.verify(s, wantID) },
	}
}

func (i Identity) verify(s tls.ConnectionState, wantID string) error {
	if err := named(s); err != nil {
		return err
	}
	chain := x509.VerifyOptions{Roots: i.Authorities, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		chain.Intermediates.AddCert(c)
	}
	leaf := s.PeerCertificates[0]
	if _, err := leaf.Verify(chain); err != nil {
		return fmt.Errorf("the other node is not of this cluster: %w", err)
	}
	if id := nodeID(leaf); wantID != "" && id != wantID {
		return fmt.Errorf("node %s answers where %s was expected", id, wantID)
	}
	return nil
}

func nodeID(c *x509.Certificate) string {
	if len(c.DNSNames) == 0 {
		return ""
	}
	return c.DNSNames[0]
}
