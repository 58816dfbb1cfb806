//go:build faults

package faults

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"veto/test/token"
	"veto/validate/keyset"
)

// issuer signs tokens and publishes its keys, or lies about them. One that was given its keys to the
// cluster publishes nothing.
type issuer struct {
	t    *testing.T
	name string
	at   string // where it answers; empty if it does not

	mu     sync.Mutex
	kid    string
	key    ed25519.PrivateKey
	keys   int
	lie    http.HandlerFunc // instead of its keys; nil for the truth
	server *http.Server     // nil while it is down
}

func newIssuer(t *testing.T, name, at string) *issuer {
	t.Helper()
	x := &issuer{t: t, name: name, at: at}
	x.rotate()
	if at != "" {
		x.up()
		t.Cleanup(x.down)
	}
	return x
}

// id is the issuer's in the cluster.
func (x *issuer) id() string { return regexp.MustCompile(`\w+`).FindAllString(x.name, -1)[1] }

// rotate has it sign with a new key from now on, and publish no other.
func (x *issuer) rotate() {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		x.t.Error(err)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keys++
	x.kid, x.key = fmt.Sprintf("k%d", x.keys), key
}

func (x *issuer) published() []byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	set, err := keyset.PublicJWKS(map[string]crypto.PublicKey{x.kid: x.key.Public()})
	if err != nil {
		x.t.Error(err)
	}
	return set
}

func (x *issuer) tell(lie http.HandlerFunc) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lie = lie
}

func (x *issuer) up() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.server != nil {
		return
	}
	l, err := net.Listen("tcp", x.at)
	if err != nil {
		x.t.Errorf("the issuer cannot answer: %v", err)
		return
	}
	x.server = &http.Server{Handler: http.HandlerFunc(x.serve)}
	go func(s *http.Server) { _ = s.Serve(l) }(x.server) // it ends by down
}

func (x *issuer) down() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.server != nil {
		_ = x.server.Close()
	}
	x.server = nil
}

func (x *issuer) serve(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	lie := x.lie
	x.mu.Unlock()
	if lie != nil {
		lie(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(x.published())
}

// The lies of an issuer.
var lies = []struct {
	name string
	tell http.HandlerFunc
}{
	{"no keys", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) }},
	{"no JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>down for maintenance</html>") }},
	{"an error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }},
	{"keys of another kind", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"keys":[{"kty":"oct","kid":"k1","k":"AAAA"},{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"AA"}]}`)
	}},
	{"a giant", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"keys":[`)
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(`{"kty":"oct","k":"AAAA"},`), 4096)); err != nil {
				return
			}
		}
	}},
	{"slowly", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			<-time.After(500 * time.Millisecond)
			if _, err := w.Write([]byte(" ")); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	}},
}

// token signs one, whose names nobody else has, and says with what.
func (x *issuer) token(name string, life time.Duration) (text, kid string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return sign(x.t, x.name, x.kid, x.key, name, life), x.kid
}

// current is what it signs with.
func (x *issuer) current() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.kid
}

// forged is a token that the issuer never signed.
func (x *issuer) forged(kid string) string {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		x.t.Error(err)
		return ""
	}
	return sign(x.t, x.name, kid, key, "forged", time.Hour)
}

func sign(t *testing.T, issuer, kid string, key ed25519.PrivateKey, name string, life time.Duration) string {
	t.Helper()
	at := time.Now().Unix()
	return token.Sign(t, key, kid, "at+jwt", map[string]any{
		"iss": issuer, "iat": at, "exp": at + int64(life.Seconds()),
		"sub": "user-" + name, "jti": name, "sid": "session-" + name, "client_id": "client-" + name,
	})
}
