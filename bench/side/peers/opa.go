package peers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"veto/bench/side/tokens"
)

const policy = `package tokens

default allow := false

allow if {
	[valid, _, claims] := io.jwt.decode_verify(input.token, {"cert": data.jwks, "iss": data.issuer, "aud": data.audience, "time": input.now})
	valid
	claims.jti
	claims.exp
	not data.revoked[claims.jti]
}
`

var errRefused = errors.New("the policy does not allow it")

// prepareOPA prepares the query once, as OPA's pages on its performance say.
func prepareOPA(ctx context.Context, c Config) (rego.PreparedEvalQuery, storage.Store, error) {
	revoked := map[string]any{}
	for _, jti := range c.Denied {
		revoked[jti] = true
	}
	store := inmem.NewFromObjectWithOpts(map[string]any{
		"jwks": string(c.JWKS), "issuer": tokens.Issuer, "audience": tokens.Audience, "revoked": revoked,
	}, inmem.OptReturnASTValuesOnRead(true))
	query, err := rego.New(rego.Query("data.tokens.allow"), rego.Module("tokens.rego", policy), rego.Store(store)).PrepareForEval(ctx)
	return query, store, err
}

// startOPA gives each request to the query as its input.
func startOPA(ctx context.Context, c Config) (server, error) {
	query, store, err := prepareOPA(ctx, c)
	if err != nil {
		return server{}, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got, err := query.Eval(r.Context(), rego.EvalInput(map[string]any{"token": token, "now": time.Now().UnixNano()}))
		switch {
		case err != nil:
			answer(w, http.StatusServiceUnavailable, "unknown")
		case got.Allowed():
			answer(w, http.StatusOK, "allow")
		default:
			answer(w, http.StatusUnauthorized, "deny")
		}
	})
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		err := storage.WriteOne(r.Context(), store, storage.AddOp, storage.Path{"revoked", r.FormValue("jti")}, true)
		if err != nil {
			answer(w, http.StatusInternalServerError, err.Error())
		}
	})
	return server{Handler: mux}, nil
}
