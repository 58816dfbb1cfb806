package peers

import (
	"errors"
	"fmt"

	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"veto/bench/side/tokens"
)

var errNoJTI = errors.New("a token without a jti cannot be looked up")

// golangJWT parses as golang-jwt's pages say: the methods given, and a function that finds the key.
func golangJWT(jwks []byte) (verifier, error) {
	set, err := jwk.Parse(jwks)
	if err != nil {
		return nil, err
	}
	keys := map[string]any{}
	var methods []string
	for i := range set.Len() {
		k, _ := set.Key(i)
		var key any
		if err := jwk.Export(k, &key); err != nil {
			return nil, err
		}
		id, _ := k.KeyID()
		alg, _ := k.Algorithm()
		keys[id], methods = key, append(methods, alg.String())
	}
	parser := golangjwt.NewParser(golangjwt.WithValidMethods(methods), golangjwt.WithIssuer(tokens.Issuer), golangjwt.WithAudience(tokens.Audience), golangjwt.WithExpirationRequired())
	find := func(t *golangjwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		if key, ok := keys[id]; ok {
			return key, nil
		}
		return nil, fmt.Errorf("nobody has the key %q", id)
	}
	return func(token string) (string, error) {
		var claims golangjwt.RegisteredClaims
		if _, err := parser.ParseWithClaims(token, &claims, find); err != nil {
			return "", err
		}
		if claims.ID == "" {
			return "", errNoJTI
		}
		return claims.ID, nil
	}, nil
}

// jwxJWT parses as jwx's pages say: a set of keys, found by kid, and what is validated.
func jwxJWT(jwks []byte) (verifier, error) {
	set, err := jwk.Parse(jwks)
	if err != nil {
		return nil, err
	}
	return func(token string) (string, error) {
		t, err := jwt.ParseString(token, jwt.WithKeySet(set), jwt.WithIssuer(tokens.Issuer), jwt.WithAudience(tokens.Audience), jwt.WithRequiredClaim(jwt.ExpirationKey))
		if err != nil {
			return "", err
		}
		jti, ok := t.JwtID()
		if !ok {
			return "", errNoJTI
		}
		return jti, nil
	}, nil
}
