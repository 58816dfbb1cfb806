package keyset_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"veto/record"
	"veto/validate/keyset"
)

func number(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }

func set(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

func rsaJWK(t *testing.T, bits int, extra string) string {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"kty":"RSA","kid":"r%d","n":"%s","e":"AQAB"%s}`, bits, number(k.N), extra)
}

func ecJWK(t *testing.T, kid string) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := keyset.PublicJWKS(map[string]crypto.PublicKey{kid: k.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(b), `{"keys":[`), `]}`)
}

// Y1
func TestParseRefuses(t *testing.T) {
	fine := ecJWK(t, "fine")
	for name, b := range map[string][]byte{
		"no JSON":                 []byte("x"),
		"no set":                  []byte(`{}`),
		"no usable key":           set(`{"kty":"oct","k":"c2VjcmV0"}`),
		"empty":                   set(),
		"weak RSA":                set(fine, rsaJWK(t, 1024, "")),
		"private":                 set(fine, `{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}`),
		"symmetric":               set(fine, `{"kty":"oct","k":"c2VjcmV0"}`),
		"half private":            set(fine, strings.Replace(rsaJWK(t, 2048, ""), `"kty"`, `"p":"AQAB","kty"`, 1)),
		"private to encrypt with": set(fine, strings.Replace(rsaJWK(t, 2048, ""), `"kty"`, `"use":"enc","d":"AQAB","kty"`, 1)),
		"private of another kind": set(fine, `{"kty":"OKP","crv":"X25519","x":"AA","d":"AA"}`),
		"a long exponent":         set(fine, strings.Replace(rsaJWK(t, 2048, ""), `"e":"AQAB"`, `"e":"AQAAAAAAAAEAAQ"`, 1)),
		"of small order":          set(fine, `{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`),
		"no point":                set(fine, `{"kty":"OKP","crv":"Ed25519","x":"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`),
		"off the curve":           set(fine, `{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`),
		"two of one kid":          set(fine, ecJWK(t, "fine")),
		"a kid too long":          set(strings.Replace(fine, `"fine"`, `"`+strings.Repeat("k", 600)+`"`, 1)),
		"too many":                set(strings.Split(strings.Repeat(fine+"|", 101), "|")[:101]...),
		"too many bytes":          append(set(fine), make([]byte, keyset.MaxBytes)...),
		"not a JWK":               set(`5`),
		"short Ed25519":           set(`{"kty":"OKP","crv":"Ed25519","x":"AA"}`),
		"something after":         append(set(fine), '{'),
	} {
		_, err := keyset.Parse(b, nil)
		var rejection *record.Rejection
		if !errors.As(err, &rejection) {
			t.Errorf("%s: %v", name, err)
		}
	}
	keys, err := keyset.Parse(set(fine, `{"kty":"akp"}`, rsaJWK(t, 2048, `,"alg":"PS256"`), rsaJWK(t, 2049, `,"use":"enc"`)), nil)
	if err != nil || len(keys) != 2 || keys[0].Alg != "ES256" || keys[1].Alg != "PS256" {
		t.Errorf("%+v, %v", keys, err)
	}
	// What is kept of a set is its usable keys, and nothing else.
	_, kept, err := keyset.ParseGiven([]byte(`{"old":[{"d":"secret"}],"keys":[`+fine+`,`+rsaJWK(t, 2048, `,"use":"enc"`)+`]}`), nil)
	if again, errAgain := keyset.Parse(kept, nil); err != nil || errAgain != nil || len(again) != 1 || strings.Contains(string(kept), "secret") || strings.Contains(string(kept), "RSA") {
		t.Errorf("%s: %v, %v", kept, err, errAgain)
	}
	for _, k := range keys {
		if strings.Contains(string(k.JWK), `"d"`) || strings.Contains(string(k.JWK), `"k":`) {
			t.Errorf("%s holds a private member", k.JWK)
		}
	}
}

// Y4
func TestBadKeyLeavesTheOthers(t *testing.T) {
	fine := ecJWK(t, "fine")
	for name, bad := range map[string]string{
		"weak RSA":       rsaJWK(t, 1024, ""),
		"private":        `{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}`,
		"off the curve":  `{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`,
		"two of one kid": ecJWK(t, "fine"),
		"not a JWK":      `5`,
	} {
		want, err := keyset.Parse(set(fine, ecJWK(t, "other")), nil)
		if err != nil {
			t.Fatal(err)
		}
		keys, refused, err := keyset.ParsePublished(set(fine, bad, ecJWK(t, "other")), nil)
		var rejection *record.Rejection
		if err != nil || len(refused) != 1 || !errors.As(refused[0], &rejection) {
			t.Errorf("%s: refused %v, %v", name, refused, err)
		}
		if len(keys) != 2 || string(keys[0].JWK) != string(want[0].JWK) || keys[1].KID != "other" {
			t.Errorf("%s: %+v", name, keys)
		}
		if keys, _, err := keyset.ParsePublished(set(bad), nil); name != "two of one kid" && (err == nil || keys != nil) {
			t.Errorf("%s alone: %+v, %v", name, keys, err)
		}
	}
}

func TestAlgorithmOfAKeyThatNamesNone(t *testing.T) {
	for _, c := range []struct {
		allowed []string
		want    string
	}{
		{nil, "RS256"},
		{[]string{"PS512", "RS256"}, "RS256"},
		{[]string{"ES256", "PS256", "RS512"}, "PS256"},
		{[]string{"ES256"}, "RS256"},
	} {
		keys, err := keyset.Parse(set(rsaJWK(t, 2048, "")), c.allowed)
		if err != nil || len(keys) != 1 || keys[0].Alg != c.want {
			t.Errorf("%v allowed: %+v, %v", c.allowed, keys, err)
		}
	}
	keys, err := keyset.Parse(set(rsaJWK(t, 2048, `,"alg":"RS384"`)), []string{"PS256"})
	if err != nil || keys[0].Alg != "RS384" {
		t.Errorf("a key that names one: %+v, %v", keys, err)
	}
	var many []string
	for range 10 {
		many = append(many, ecJWK(t, ""))
	}
	if keys, err = keyset.Parse(set(many...), nil); err != nil {
		t.Fatal(err)
	}
	s := keyset.Build([]record.Issuer{{ID: "a", Issuer: "iss"}}, []record.SigningKeys{{IssuerID: "a", Keys: keys}}, &keyset.Set{})
	trust, _ := s.Issuer("iss")
	if len(trust.Candidates("ES256")) != 8 || trust.Fitting("ES256") != 10 {
		t.Errorf("%d of %d", len(trust.Candidates("ES256")), trust.Fitting("ES256"))
	}
}

// Y2
func TestIssuersDoNotMix(t *testing.T) {
	parse := func(jwk string) []record.SigningKey {
		keys, err := keyset.Parse(set(jwk), nil)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	a, b := parse(ecJWK(t, "same")), parse(ecJWK(t, "same"))
	s := keyset.Build(
		[]record.Issuer{{ID: "a", Issuer: "iss-a"}, {ID: "b", Issuer: "iss-b"}},
		[]record.SigningKeys{{IssuerID: "a", Keys: a}, {IssuerID: "b", Keys: b}, {IssuerID: "gone", Keys: a}}, &keyset.Set{})
	of := func(iss string) crypto.PublicKey {
		trust, ok := s.Issuer(iss)
		if !ok {
			t.Fatal(iss)
		}
		k, ok := trust.Key("same")
		if !ok || len(trust.Candidates("ES256")) != 1 || len(trust.Candidates("RS256")) != 0 {
			t.Fatalf("%s: %v", iss, k)
		}
		return k.Public
	}
	if of("iss-a").(*ecdsa.PublicKey).Equal(of("iss-b")) {
		t.Error("two issuers share a key by its kid")
	}
	if _, ok := s.Issuer("iss-a/"); ok {
		t.Error("an issuer is found by another name")
	}
}

// Y3
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, _, err := keyset.ParsePublished(b, nil)
		if err != nil {
			return
		}
		built := keyset.Build([]record.Issuer{{ID: "a", Issuer: "a"}}, []record.SigningKeys{{IssuerID: "a", Keys: keys}}, &keyset.Set{})
		trust, _ := built.Issuer("a")
		for _, k := range keys {
			if !json.Valid(k.JWK) {
				t.Fatalf("%s is not JSON", k.JWK)
			}
			if _, ok := trust.Key(k.KID); !ok && k.KID != "" {
				t.Fatalf("the key %q was parsed and is not in the set", k.KID)
			}
		}
	})
}
