package node_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"veto/node"
	"veto/node/certs"
)

// N12: whoever offers TLS 1.2 and no more is answered by no listener, with whatever certificate; and who
// offers 1.3 is.
func TestOldTLSIsRefused(t *testing.T) {
	s := tellOf(t, 1, func(c *node.Config) {
		certificate, key := certs.NodeFiles(c.NodeID)
		c.HTTPCertFile, c.HTTPKeyFile = filepath.Join(c.CertsDir, certificate), filepath.Join(c.CertsDir, key)
	})
	c := s.cluster.NodeConfig(0)
	pem, err := os.ReadFile(filepath.Join(c.CertsDir, certs.AuthorityFile))
	if err != nil {
		t.Fatal(err)
	}
	own, err := certs.ReadPair(c.HTTPCertFile, c.HTTPKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for port, says := range map[int]struct {
		first    bool // the server speaks first, and without TLS
		protocol []string
	}{0: {}, 1: {}, 2: {false, []string{"veto-rpc/1"}}, 4: {true, nil}} {
		for version, good := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS12: false, tls.VersionTLS13: true} {
			err := shakes(t, c.Port+port, says.first, &tls.Config{
				MinVersion: tls.VersionTLS10, MaxVersion: version, RootCAs: roots, ServerName: "127.0.0.1",
				Certificates: []tls.Certificate{own}, NextProtos: says.protocol,
			})
			if good != (err == nil) {
				t.Errorf("port +%d, version %x: %v", port, version, err)
			}
		}
	}
}

// shakes tries to come to an agreement with who listens on the port.
func shakes(t *testing.T, port int, first bool, with *tls.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if first { // NATS says who it is, and goes on with TLS
		if line, err := bufio.NewReaderSize(conn, 4096).ReadString('\n'); err != nil {
			t.Fatalf("%q %v", line, err)
		}
	}
	return tls.Client(conn, with).HandshakeContext(ctx)
}
