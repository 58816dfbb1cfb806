package discovery

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
	"time"
)

// Public lets tests ask about addresses that they cannot reach.
func Public(ip netip.Addr) bool { return public(ip) }

// Trust has the fetcher trust a test's server.
func (f *Fetcher) Trust(c *x509.Certificate) {
	pool := x509.NewCertPool()
	pool.AddCert(c)
	f.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
}

// Limit shortens the time that a fetch may take.
func (f *Fetcher) Limit(d time.Duration) { f.limit = d }

// KeysOf reads a metadata document.
func KeysOf(document []byte, issuer string) (string, error) { return keysOf(document, issuer) }
