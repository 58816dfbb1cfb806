package demo

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"veto/validate/keyset"
)

// Life is how long its tokens live.
const Life = time.Hour

const (
	kid         = "demo-1"
	maxForm     = 16 << 10
	headerLimit = 5 * time.Second
	readLimit   = 10 * time.Second
	idleLimit   = time.Minute
	closeLimit  = time.Second // for answers under way
)

// Secrets are what the issuer must keep to be the same after a restart.
type Secrets struct {
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Key          []byte   `json:"key"` // PKCS #8
	Audience     string   `json:"audience"`
	Scopes       []string `json:"scopes"`
}

// NewSecrets makes new ones.
func NewSecrets() (Secrets, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Secrets{}, fmt.Errorf("demo issuer: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Secrets{}, fmt.Errorf("demo issuer: %w", err)
	}
	return Secrets{
		ClientID: "demo-client", ClientSecret: rand.Text(), Key: der,
		Audience: "https://api.example", Scopes: []string{"orders:read", "orders:write"},
	}, nil
}

// Issuer issues tokens over HTTP.
type Issuer struct {
	secrets Secrets
	key     *ecdsa.PrivateKey
	jwks    []byte
	url     string
	now     func() time.Time
	server  *http.Server
	wg      sync.WaitGroup
}

// signingKey checks the secrets and returns the key among them. An empty one would be matched
// by a client that sends none.
func (s Secrets) signingKey() (*ecdsa.PrivateKey, error) {
	if s.ClientID == "" || s.ClientSecret == "" || s.Audience == "" {
		return nil, errors.New("demo issuer: its client, secret or audience is missing")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("demo issuer: its key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("demo issuer: its key is not an ECDSA key on P-256")
	}
	return key, nil
}

// Start serves on the listener, whose address is the issuer's name. The caller closes it.
func Start(l net.Listener, s Secrets, now func() time.Time, log *slog.Logger) (*Issuer, error) {
	key, err := s.signingKey()
	if err != nil {
		return nil, err
	}
	jwks, err := keyset.PublicJWKS(map[string]crypto.PublicKey{kid: &key.PublicKey})
	if err != nil {
		return nil, err
	}
	i := &Issuer{secrets: s, key: key, jwks: jwks, url: "http://" + l.Addr().String(), now: now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.metadata)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", i.metadata)
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, json.RawMessage(i.jwks)) })
	mux.HandleFunc("POST /token", i.token)
	i.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: headerLimit, ReadTimeout: readLimit, WriteTimeout: readLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: maxForm, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	i.wg.Go(func() {
		if err := i.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the demo issuer stopped", "error", err)
		}
	})
	return i, nil
}

// URL is its iss; TokenURL its token endpoint; Discovery its metadata document.
func (i *Issuer) URL() string { return i.url }

// TokenURL is its token endpoint.
func (i *Issuer) TokenURL() string { return i.url + "/token" }

// Discovery is its metadata document.
func (i *Issuer) Discovery() string { return i.url + "/.well-known/openid-configuration" }

// Close stops it and waits, a second at most for clients: one that opened a connection and
// says nothing is no reason to wait longer, nor an error.
func (i *Issuer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := i.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = i.server.Close()
	}
	i.wg.Wait()
	return err
}

func (i *Issuer) metadata(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, map[string]any{
		"issuer": i.url, "token_endpoint": i.TokenURL(), "jwks_uri": i.url + "/jwks",
		"grant_types_supported":                 []string{"client_credentials"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"response_types_supported":              []string{}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "scopes_supported": i.secrets.Scopes,
	})
}

// token is the token endpoint (RFC 6749 section 4.4.2).
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	for _, values := range r.PostForm {
		if len(values) > 1 { // RFC 6749 section 3.2
			refuse(w, http.StatusBadRequest, "invalid_request")
			return
		}
	}
	id, secret, ok := credentials(r)
	if !ok {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	rightID, rightSecret := same(id, i.secrets.ClientID), same(secret, i.secrets.ClientSecret)
	if !rightID || !rightSecret {
		w.Header().Set("WWW-Authenticate", `Basic realm="demo"`)
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		refuse(w, http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	scopes := i.secrets.Scopes
	if asked := strings.Fields(r.PostForm.Get("scope")); len(asked) > 0 {
		scopes = asked
	}
	for _, s := range scopes {
		if !slices.Contains(i.secrets.Scopes, s) {
			refuse(w, http.StatusBadRequest, "invalid_scope")
			return
		}
	}
	token, err := i.Token(scopes)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "server_error")
		return
	}
	write(w, http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(Life.Seconds()), "scope": strings.Join(scopes, " "),
	})
}

// credentials reads the client's id and secret from the header, where they are encoded as in a
// form (RFC 6749 section 2.3.1), or from the form; false if they are in both or unreadable.
func credentials(r *http.Request) (id, secret string, ok bool) {
	id, secret, ok = r.BasicAuth()
	if !ok {
		return r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), true
	}
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	return id, secret, idErr == nil && secretErr == nil && !r.PostForm.Has("client_secret")
}

// same takes the same time whatever the strings are, and however long.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Token makes an access token for its client (RFC 9068).
func (i *Issuer) Token(scopes []string) (string, error) {
	now := i.now()
	head, err := json.Marshal(map[string]string{"alg": "ES256", "typ": "at+jwt", "kid": kid})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": i.url, "sub": i.secrets.ClientID, "client_id": i.secrets.ClientID, "aud": i.secrets.Audience,
		"iat": now.Unix(), "exp": now.Add(Life).Unix(), "jti": rand.Text(), "scope": strings.Join(scopes, " "),
	})
	if err != nil {
		return "", err
	}
	input := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		return "", fmt.Errorf("demo issuer: %w", err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func refuse(w http.ResponseWriter, status int, code string) {
	write(w, status, map[string]string{"error": code})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}
