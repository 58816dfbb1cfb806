package peers

import (
	"context"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
)

// Inside are checks of a token without HTTP and without a look at what is revoked, by the name of the library: each as its
// peer does it.
func Inside(ctx context.Context, jwks []byte) (map[string]func(token string) error, error) {
	all := map[string]func(string) error{}
	for name, make := range map[string]func([]byte) (verifier, error){"golang-jwt": golangJWT, "jwx": jwxJWT} {
		v, err := make(jwks)
		if err != nil {
			return nil, err
		}
		all[name] = func(token string) error { _, err := v(token); return err }
	}
	query, _, err := prepareOPA(ctx, Config{JWKS: jwks})
	if err != nil {
		return nil, err
	}
	all["OPA"] = func(token string) error {
		got, err := query.Eval(ctx, rego.EvalInput(map[string]any{"token": token, "now": time.Now().UnixNano()}))
		if err == nil && !got.Allowed() {
			err = errRefused
		}
		return err
	}
	return all, nil
}
