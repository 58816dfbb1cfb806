package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// oauthServer is an OAuth 2.0 server that nobody here wrote: zitadel's, with its example
// storage, made to sign JWTs with a key of ours.
type oauthServer struct {
	*httptest.Server
	storage *keyedStorage
}

// keyedStorage is the example storage with another signing key, and clients that get JWTs.
type keyedStorage struct {
	*storage.Storage
	key key
}

type key struct {
	id      string
	alg     jose.SignatureAlgorithm
	private crypto.Signer
}

func (k key) ID() string                                  { return k.id }
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return k.alg }
func (k key) Key() any                                    { return k.private }

// public is the key as the server publishes it.
type public struct{ key }

func (p public) Algorithm() jose.SignatureAlgorithm { return p.alg }
func (p public) Use() string                        { return "sig" }
func (p public) Key() any                           { return p.private.Public() }

func (s *keyedStorage) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

func (s *keyedStorage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{public{s.key}}, nil
}

func (s *keyedStorage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.key.alg}, nil
}

type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (s *keyedStorage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := s.Storage.ClientCredentials(ctx, id, secret)
	if err != nil {
		return nil, err
	}
	return jwtClient{c}, nil
}

func newOAuthServer(t *testing.T, alg jose.SignatureAlgorithm) *oauthServer {
	t.Helper()
	k := key{id: "key-of-" + string(alg), alg: alg}
	var err error
	switch alg {
	case jose.RS256:
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Its handler needs its address, and must be there before it is asked.
	s := &oauthServer{Server: httptest.NewUnstartedServer(nil)}
	iss := "http://" + s.Listener.Addr().String()
	s.storage = &keyedStorage{storage.NewStorage(storage.NewUserStore(iss)), k}
	provider, err := op.NewProvider(&op.Config{CryptoKey: [32]byte{1}}, s.storage, op.StaticIssuer(iss),
		op.WithAllowInsecure(), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = provider
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// token gets a token with the client credentials grant.
func (s *oauthServer) token(t *testing.T) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"read"}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("sid1", "verysecret")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || strings.Count(answer.Token, ".") != 2 {
		t.Fatalf("status %s, %v, %d dots", response.Status, err, strings.Count(answer.Token, "."))
	}
	return answer.Token
}
