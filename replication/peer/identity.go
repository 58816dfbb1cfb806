package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Identity is who this node is, and whom it believes.
type Identity struct {
	// ID is the first DNS name of the certificate.
	ID          string
	Certificate tls.Certificate
	// Authorities are the cluster's. A certificate of another is refused.
	Authorities *x509.CertPool
	// Cluster tells which cluster this node is of; empty while it is of none. It must not block. Certificates
	// do not tell: a cluster that was restored, or recovered from its last nodes, has those of the one before,
	// of which nodes may come back. Nil tells of none.
	Cluster func() string
}

const (
	protocolRaft    = "veto-raft/1"
	protocolNotices = "veto-notices/1"
	protocolCall    = "veto-rpc/1"
	// ofCluster follows a protocol in what is offered, and before the cluster's id. What is agreed on is the
	// bare protocol: programs that know no more take that.
	ofCluster = ";cluster="
	// protocolRefused is agreed on with who is of another cluster, before the connection ends: of a handshake that fails the
	// other side would hear that it failed, and not why.
	protocolRefused = "veto-refused/1"
)

// RefusedError says that the other node runs, and that one of the two does not take the other for what it shows.
type RefusedError struct {
	// Cluster is whether that is its cluster; otherwise it is its certificate.
	Cluster bool
	Err     error
}

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// heard is what a connection failed with: with TLS 1.3 the side that connects may hear only when it reads that it is refused.
func heard(err error) error {
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return &RefusedError{Err: err}
	}
	return err
}

func (i Identity) cluster() string {
	if i.Cluster == nil {
		return ""
	}
	return i.Cluster()
}

// offer is what the side that connects offers, to speak the protocol; of no cluster if that is empty.
func offer(protocol, cluster string) []string {
	if cluster != "" {
		return []string{protocol + ofCluster + cluster, protocol, protocolRefused}
	}
	return []string{protocol}
}

// clusterOf is of which cluster who connects says to be; empty if of none.
func clusterOf(hello *tls.ClientHelloInfo) string {
	for _, p := range hello.SupportedProtos {
		if _, theirs, ok := strings.Cut(p, ofCluster); ok {
			return theirs
		}
	}
	return ""
}

// sameCluster refuses who is of another cluster than this node.
func (i Identity) sameCluster(theirs string) error {
	if theirs == "" {
		return nil
	}
	if own := i.cluster(); own != "" && theirs != own {
		return fmt.Errorf("it is of the cluster %.63q, and this node of %s; to have it here, stop it and empty its data directory", theirs, own)
	}
	return nil
}

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
		return &RefusedError{Err: errors.New("the other node's certificate names no node: its first DNS name must be the node's id")}
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
		return &RefusedError{Err: fmt.Errorf("the other node's certificate is refused: %w", err)}
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
