package peers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/storage"
)

// opaqueTokens is how many tokens an OAuth server has given out.
const opaqueTokens = 1000

// startIntrospection is an OAuth 2.0 server that has given out tokens. The first is the API's own, by which it asks;
// the last is revoked.
func startIntrospection(ctx context.Context, _ Config) (server, error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return server{}, err
	}
	config := &fosite.Config{GlobalSecret: secret, AccessTokenLifespan: time.Hour}
	store := storage.NewMemoryStore()
	store.Clients["api"] = &fosite.DefaultClient{ID: "api", GrantTypes: []string{"client_credentials"}, Scopes: []string{"read"}}
	strategy := compose.NewOAuth2HMACStrategy(config)
	provider := compose.Compose(config, store, &compose.CommonStrategy{CoreStrategy: strategy}, compose.OAuth2TokenIntrospectionFactory)
	var issued []string
	for range opaqueTokens + 2 {
		token, err := issue(ctx, store, strategy)
		if err != nil {
			return server{}, err
		}
		issued = append(issued, token)
	}
	revoke := func(ctx context.Context, token string) error {
		return store.DeleteAccessTokenSession(ctx, strategy.AccessTokenSignature(ctx, token))
	}
	if err := revoke(ctx, issued[len(issued)-1]); err != nil {
		return server{}, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		got, err := provider.NewIntrospectionRequest(ctx, r, new(fosite.DefaultSession))
		if err != nil {
			provider.WriteIntrospectionError(ctx, w, err)
			return
		}
		provider.WriteIntrospectionResponse(ctx, w, got)
	})
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		if err := revoke(r.Context(), r.FormValue("jti")); err != nil {
			answer(w, http.StatusInternalServerError, err.Error())
		}
	})
	return server{mux, issued}, nil
}

func issue(ctx context.Context, store *storage.MemoryStore, strategy oauth2.AccessTokenStrategy) (string, error) {
	now := time.Now()
	request := fosite.NewAccessRequest(&fosite.DefaultSession{
		Subject: "user_0123456789abcdef", ExpiresAt: map[fosite.TokenType]time.Time{fosite.AccessToken: now.Add(time.Hour)},
	})
	request.Client, request.RequestedAt = store.Clients["api"], now
	request.GrantScope("orders:read")
	request.GrantScope("orders:write")
	token, signature, err := strategy.GenerateAccessToken(ctx, request)
	if err != nil {
		return "", fmt.Errorf("a token: %w", err)
	}
	return token, store.CreateAccessTokenSession(ctx, signature, request)
}
