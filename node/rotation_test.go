package node_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"veto/client"
	"veto/test/token"
	"veto/validate"
	"veto/validate/keyset"
)

// rotating is an issuer that publishes one key, for a day, and counts who asks. Its metadata is
// where RFC 8414 puts it for an issuer with a path.
type rotating struct {
	*testing.T
	server *httptest.Server

	mu      sync.Mutex
	keys    map[string]ed25519.PrivateKey
	shown   map[string]crypto.PublicKey
	fetches int
}

func newRotating(t *testing.T) *rotating {
	t.Helper()
	x := &rotating{T: t, keys: map[string]ed25519.PrivateKey{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server/tenant", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": x.iss(), "jwks_uri": x.server.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.fetches++
		set, err := keyset.PublicJWKS(x.shown)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Cache-Control", "max-age=86400")
		_, _ = w.Write(set)
	})
	x.server = httptest.NewServer(mux)
	t.Cleanup(x.server.Close)
	return x
}

func (x *rotating) iss() string { return x.server.URL + "/tenant" }

// rotate publishes a new key in the place of the others.
func (x *rotating) rotate(kid string) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		x.Fatal(err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keys[kid], x.shown = private, map[string]crypto.PublicKey{kid: public}
}

func (x *rotating) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.fetches
}

// token signs with the key, under a name that may be another.
func (x *rotating) token(kid, named string) string {
	at := time.Now().Unix()
	return token.Sign(x, x.keys[kid], named, "", map[string]any{"iss": x.iss(), "sub": "s", "jti": rand.Text(), "iat": at, "exp": at + 3600})
}

// N2
func TestKeysAreFetchedWhenTokensNameNewOnes(t *testing.T) {
	s, issuer := tell(t, 3), newRotating(t)
	issuer.rotate("k1")
	put, err := s.at(0).PutIssuer(s.ctx, "rotating", client.Rules{Issuer: issuer.iss()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.reach(i, put.Revision)
	}
	follower := (s.leader() + 1) % 3
	old := issuer.token("k1", "k1")
	s.eventually(follower, old, validate.OK)
	if n := issuer.count(); n != 1 {
		t.Errorf("%d fetches for three nodes", n)
	}

	issuer.rotate("k2")
	fresh := issuer.token("k2", "k2")
	for i := range 300 { // one sender invents kids, through every node
		if v := s.ask(i%3, issuer.token("k2", fmt.Sprint("invented-", i)), 0); v.Code != validate.UnknownSigningKey {
			t.Fatalf("an invented kid is %s", v.Code)
		}
	}
	s.eventually(follower, fresh, validate.OK)
	for i := range 3 {
		s.eventually(i, fresh, validate.OK)
		if v := s.ask(i, old, 0); v.Outcome != validate.Allow {
			t.Errorf("a token of the key before, on node %d: %s", i, v.Code)
		}
	}
	if n := issuer.count(); n > 3 {
		t.Errorf("%d fetches: the sender of invented kids made the cluster ask again and again", n)
	}

	s.revoke(0, client.RevokeRequest{Target: "signing_key", Issuer: issuer.iss(), Value: "k2", Reason: "stolen"})
	if _, err := s.at(1).RefreshIssuer(s.ctx, "rotating"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.eventually(i, fresh, validate.Revoked)
		if v := s.ask(i, old, 0); v.Outcome != validate.Allow {
			t.Errorf("another key's token is %s", v.Code)
		}
	}
}

// I7
func TestTokenOfANewKeyIsRevoked(t *testing.T) {
	s, issuer := tell(t, 3), newRotating(t)
	issuer.rotate("k1")
	put, err := s.at(0).PutIssuer(s.ctx, "rotating", client.Rules{Issuer: issuer.iss()})
	if err != nil {
		t.Fatal(err)
	}
	follower := (s.leader() + 1) % 3
	s.reach(follower, put.Revision)
	for issuer.count() == 0 {
		select {
		case <-s.ctx.Done():
			t.Fatal("nobody fetched the issuer's keys")
		case <-time.After(10 * time.Millisecond):
		}
	}
	issuer.rotate("k2") // for a day nobody would fetch it: no node has been asked about any token of the issuer
	leaked := issuer.token("k2", "k2")
	receipt, err := s.at(follower).Revoke(s.ctx, client.RevokeRequest{Token: leaked, Reason: "leaked"}, true, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if v := s.ask(i, leaked, receipt.Revision); v.Code != validate.Revoked {
			t.Errorf("it is %s on node %d", v.Code, i)
		}
	}
}
