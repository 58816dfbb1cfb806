package jwt_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"veto/record"
	"veto/validate"
	"veto/validate/keyset"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// macWith signs with HS256 and the secret.
func macWith(secret []byte, head, claims any) string {
	input := part(head) + "." + part(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// sigES256 signs with a key of our choice.
func sigES256(key *ecdsa.PrivateKey, head, claims any) string {
	input := part(head) + "." + part(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, _ := ecdsa.Sign(rand.Reader, key, digest[:])
	return input + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// attack is a token that must be denied, and why.
type attack struct {
	token string
	want  validate.Code
}

// keyAttacks bring a key of their own, or none.
func (s *signer) keyAttacks(good256 string) map[string]attack {
	mine, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.MarshalPKIXPublicKey(s.rsa.Public())
	pub := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwk, _ := keyset.PublicJWKS(map[string]crypto.PublicKey{"mine": mine.Public()})
	embedded := object{"alg": "ES256", "jwk": object{"kty": "EC", "crv": "P-256", "x": b64(mine.X.FillBytes(make([]byte, 32))), "y": b64(mine.Y.FillBytes(make([]byte, 32)))}} //nolint:staticcheck // the attacker's key, as a JWK
	parts := strings.Split(good256, ".")
	return map[string]attack{
		"CVE-2015-9235 jsonwebtoken: HS256 with the PEM of the public key": {macWith(pub, object{"alg": "HS256", "kid": "r"}, good()), validate.UnsupportedAlg},
		"CVE-2016-10555 jwt-simple: HS256 with the DER of the public key":  {macWith(der, object{"alg": "HS256"}, good()), validate.UnsupportedAlg},
		"CVE-2022-29217 PyJWT: HS256 with the JWK of the public key":       {macWith(jwk, object{"alg": "HS256", "kid": "e"}, good()), validate.UnsupportedAlg},
		"CVE-2024-33663 python-jose: HS256 with an EC public key":          {macWith(elliptic.MarshalCompressed(s.ec.Curve, s.ec.X, s.ec.Y), object{"alg": "HS256", "kid": "e"}, good()), validate.UnsupportedAlg}, //nolint:staticcheck // as the attacker would
		"CVE-2018-1000531 prime-jwt: none":                                 {part(object{"alg": "none"}) + "." + parts[1] + ".", validate.UnsupportedAlg},
		"none, in other letters":                                           {part(object{"alg": "nOnE"}) + "." + parts[1] + ".", validate.UnsupportedAlg},
		"none, with a signature":                                           {part(object{"alg": "none"}) + "." + parts[1] + "." + parts[2], validate.UnsupportedAlg},
		"none, with spaces":                                                {part(object{"alg": " none "}) + "." + parts[1] + ".", validate.UnsupportedAlg},
		"CVE-2018-0114 node-jose: a key in the header":                     {sigES256(mine, embedded, good()), validate.BadSignature},
		"a key in the header, by a new kid":                                {sigES256(mine, with(embedded, "kid", "mine"), good()), validate.UnknownSigningKey},
		"jku to the attacker's set":                                        {sigES256(mine, object{"alg": "ES256", "kid": "mine", "jku": "https://evil.example/jwks"}, good()), validate.UnknownSigningKey},
		"x5u and x5c of the attacker":                                      {sigES256(mine, object{"alg": "ES256", "x5u": "https://evil.example/c", "x5c": []string{"MII="}}, good()), validate.BadSignature},
		"alg twice, the second good":                                       {s.token(`{"alg":"none","alg":"ES256","kid":"e"}`, good()), validate.Malformed},
		"alg twice, once escaped":                                          {s.token(`{"\u0061lg":"none","alg":"ES256","kid":"e"}`, good()), validate.Malformed},
		"alg in capital letters":                                           {s.token(`{"ALG":"none","alg":"es256","kid":"e"}`, good()), validate.UnsupportedAlg},
		"CVE-2024-51744 golang-jwt: expired hides a bad signature":         {sigES256(mine, head, with(good(), "exp", now.Unix()-1000)), validate.BadSignature},
		"kid is a path":                                                    {s.token(object{"alg": "ES256", "kid": "../../../dev/null"}, good()), validate.UnknownSigningKey},
		"kid is SQL":                                                       {s.token(object{"alg": "ES256", "kid": "' OR 1=1 --"}, good()), validate.UnknownSigningKey},
		"kid is very long":                                                 {s.token(object{"alg": "ES256", "kid": strings.Repeat("k", 9000)}, good()), validate.UnknownSigningKey},
		"kid is null":                                                      {s.token(`{"alg":"ES256","kid":null}`, good()), validate.Malformed},
	}
}

// signatureAttacks play with the signature.
func (s *signer) signatureAttacks(good256 string) map[string]attack {
	parts := strings.Split(good256, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(parts[2])
	n := elliptic.P256().Params().N
	bigger := new(big.Int).Add(new(big.Int).SetBytes(raw[:32]), n)
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	derSignature, _ := ecdsa.SignASN1(rand.Reader, s.ec, digest[:])
	pss := part(object{"alg": "PS256", "kid": "r"}) + "." + part(good())
	pssDigest := sha256.Sum256([]byte(pss))
	pssSignature, _ := rsa.SignPSS(rand.Reader, s.rsa, crypto.SHA256, pssDigest[:], nil)
	signed := func(signature []byte) string { return parts[0] + "." + parts[1] + "." + b64(signature) }
	return map[string]attack{
		"CVE-2022-21449 Java: r and s are zero":                    {signed(make([]byte, 64)), validate.BadSignature},
		"r is zero":                                                {signed(append(make([]byte, 32), raw[32:]...)), validate.BadSignature},
		"r is the order":                                           {signed(append(n.Bytes(), raw[32:]...)), validate.BadSignature},
		"r and the order, one byte longer":                         {signed(append(bigger.Bytes(), raw[32:]...)), validate.BadSignature},
		"an ECDSA signature in DER":                                {signed(derSignature), validate.BadSignature},
		"an ECDSA signature with zeros before":                     {signed(append([]byte{0}, raw...)), validate.BadSignature},
		"CVE-2022-23541 jsonwebtoken: PS256 by a key for RS256":    {pss + "." + b64(pssSignature), validate.UnsupportedAlg},
		"CVE-2022-23539 jsonwebtoken: ES256 by an RSA key":         {s.token(object{"alg": "ES256", "kid": "r"}, good()), validate.UnsupportedAlg},
		"CVE-2024-21664 jwx, CVE-2016-9122 go-jose: a JWS as JSON": {`{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}.`, validate.Malformed},
		"a line end within":                                        {parts[0] + "\n." + parts[1] + "." + parts[2], validate.Malformed},
		"padding":                                                  {parts[0] + "=." + parts[1] + "." + parts[2], validate.Malformed},
		"JWS of another issuer's key by the same kid":              {sigES256(s.other, head, good()), validate.BadSignature},
	}
}

// formAttacks hope for a reader that is not strict.
func (s *signer) formAttacks(good256 string) map[string]attack {
	parts := strings.Split(good256, ".")
	return map[string]attack{
		"CVE-2020-28042 ServiceStack: an empty signature":      {parts[0] + "." + parts[1] + ".", validate.BadSignature},
		"CVE-2022-23540 jsonwebtoken: no alg at all":           {s.token(object{"kid": "e"}, good()), validate.Malformed},
		"CVE-2020-26160 jwt-go: an empty list of audiences":    {s.token(head, with(good(), "aud", []string{})), validate.WrongAudience},
		"an audience in a longer one":                          {s.token(head, with(good(), "aud", "xax")), validate.WrongAudience},
		"CVE-2024-53861 PyJWT: a part of the issuer's name":    {s.token(head, with(good(), "iss", iss[:8])), validate.UnknownIssuer},
		"the issuer and more":                                  {s.token(head, with(good(), "iss", iss+".evil.example")), validate.UnknownIssuer},
		"an issuer in a list":                                  {s.token(head, with(good(), "iss", []string{iss})), validate.Malformed},
		"CVE-2025-30204 golang-jwt: nothing but dots":          {strings.Repeat(".", validate.MaxCredential), validate.Malformed},
		"CVE-2025-27144 go-jose: many dots after a good token": {good256 + strings.Repeat(".", 1000), validate.Malformed},
		"CVE-2023-49290 jwx, CVE-2024-28180 go-jose: a JWE":    {part(object{"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2147483647}) + ".a.b.c.d", validate.Malformed},
		"CVE-2025-59420 Authlib: crit that is not understood":  {s.token(with(head, "crit", []string{"bork"}, "bork", true), good()), validate.Malformed},
		"crit that is empty":                                   {s.token(with(head, "crit", []string{}), good()), validate.Malformed},
		"crit that names b64 (RFC 7797)":                       {s.token(with(head, "crit", []string{"b64"}, "b64", true), good()), validate.Malformed},
		"b64 without crit":                                     {s.token(with(head, "b64", false), good()), validate.Malformed},
		"alg is a list":                                        {s.token(`{"alg":["ES256"],"kid":"e"}`, good()), validate.Malformed},
		"a token within a token (cty)":                         {s.token(with(head, "cty", "JWT"), good256), validate.Malformed},
		"trailing bits of the signature":                       {trailing(good256), validate.Malformed},
		"space before":                                         {" " + good256, validate.Malformed},
		"a byte order mark before the claims":                  {s.token(head, "\xef\xbb\xbf"+text(good())), validate.Malformed},
		"a comment in the claims":                              {s.token(head, strings.Replace(text(good()), ",", ",/* */", 1)), validate.Malformed},
		"exp is infinite":                                      {s.token(head, strings.Replace(text(good()), `"exp":1800000600`, `"exp":1e999`, 1)), validate.Malformed},
		"exp in hexadecimal":                                   {s.token(head, strings.Replace(text(good()), `"exp":1800000600`, `"exp":0x7fffffff`, 1)), validate.Malformed},
		"exp as text":                                          {s.token(head, with(good(), "exp", "1800000600")), validate.Malformed},
		"exp is true":                                          {s.token(head, with(good(), "exp", true)), validate.Malformed},
		"exp twice":                                            {s.token(head, strings.Replace(text(good()), `"exp":1800000600`, `"exp":1,"exp":1800000600`, 1)), validate.Malformed},
		"sub twice, deep inside":                               {s.token(head, strings.Replace(text(good()), "{", `{"a":[{"b":{"c":1,"c":2}}],`, 1)), validate.Malformed},
		"257 members":                                          {s.token(head, `{"iss":"`+iss+`"`+strings.Repeat(`,"a":1`, 300)+"}"), validate.Malformed},
	}
}

// J2: attacks that have worked elsewhere, by the number under which they became known.
func TestCatalogueOfAttacks(t *testing.T) {
	s := newSigner(t, func(i *record.Issuer) { i.Audiences = []string{"a"} })
	good256 := s.token(head, good())
	signature := good256[strings.LastIndexByte(good256, '.')+1:]
	for _, group := range []map[string]attack{s.keyAttacks(good256), s.signatureAttacks(good256), s.formAttacks(good256)} {
		for name, c := range group {
			claims, code := s.verify.Verify(c.token, now, nil)
			if code != c.want || claims != nil {
				t.Errorf("%s: %s, want %s", name, code, c.want)
			}
			// Whoever explains or inspects comes to the same.
			trail := &validate.Trail{}
			if _, again := s.verify.Explain(c.token, now, trail); again != c.want {
				t.Errorf("%s: explained as %s, want %s", name, again, c.want)
			}
			for _, f := range trail.Checks {
				if len(c.token) > 50 && (strings.Contains(f.Detail, signature) || strings.Contains(f.Detail, c.token)) {
					t.Errorf("%s: explain tells the credential", name)
				}
			}
			if claims, _ := s.verify.Inspect(c.token, now); claims != nil && c.want != validate.WrongAudience {
				t.Errorf("%s: could be revoked as if it were genuine", name)
			}
		}
	}
	if code := s.code(good256); code != validate.OK {
		t.Errorf("and the good one: %s", code)
	}
}

// trailing changes bits of the last character that decode to nothing.
func trailing(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

// RFC 9068 section 2.2: the header and the claims of its example, signed anew.
func TestExampleOfRFC9068(t *testing.T) {
	s := newSigner(t, func(i *record.Issuer) {
		i.Issuer, i.Types, i.Audiences = "https://authorization-server.example.com/", []string{"at+jwt"}, []string{"https://rs.example.com/"}
		i.MaxLifetime = record.Duration(record.LongestMaxLifetime)
	})
	example := `{"iss":"https://authorization-server.example.com/","sub":"5ba552d67","aud":"https://rs.example.com/","exp":1639528912,` +
		`"iat":1618354090,"jti":"dbe39bf3a3ba4238a513f51d6e1691c4","client_id":"s6BhdRkqt3","scope":"openid profile reademail"}`
	token := s.token(object{"typ": "at+JWT", "alg": "ES256", "kid": "e"}, example)
	claims, code := s.verify.Verify(token, unix(1618354100), nil)
	if code != validate.OK || claims.Client != "s6BhdRkqt3" || len(claims.Scopes) != 3 || claims.JTI != "dbe39bf3a3ba4238a513f51d6e1691c4" {
		t.Errorf("%s %+v", code, claims)
	}
}

// J6
func TestSharedSecrets(t *testing.T) {
	secret := bytes.Repeat([]byte("s"), 64)
	h := keyset.NewHolder()
	i := record.Issuer{ID: "hmac", Issuer: iss, SharedSecret: true, Algorithms: []string{"HS256"}}.WithDefaults()
	h.Swap([]record.Issuer{i}, []record.SigningKeys{{IssuerID: "hmac", Keys: []record.SigningKey{{Alg: "HS256", Secret: secret}}}})
	s := newSigner(t)
	s.verify = verifierOf(h)
	for name, c := range map[string]struct {
		token string
		want  validate.Code
	}{
		"good":            {macWith(secret, object{"alg": "HS256"}, good()), validate.OK},
		"any kid":         {macWith(secret, object{"alg": "HS256", "kid": "2026"}, good()), validate.OK},
		"another secret":  {macWith(append(secret, 0), object{"alg": "HS256"}, good()), validate.BadSignature},
		"no secret":       {macWith(nil, object{"alg": "HS256"}, good()), validate.BadSignature},
		"HS512":           {macWith(secret, object{"alg": "HS512"}, good()), validate.UnsupportedAlg},
		"ES256":           {s.token(head, good()), validate.UnsupportedAlg},
		"none":            {part(object{"alg": "none"}) + "." + part(good()) + ".", validate.UnsupportedAlg},
		"expired":         {macWith(secret, object{"alg": "HS256"}, with(good(), "exp", now.Unix()-100)), validate.Expired},
		"signature short": {strings.TrimRight(macWith(secret, object{"alg": "HS256"}, good()), "_")[:len(macWith(secret, object{"alg": "HS256"}, good()))-4], validate.BadSignature},
	} {
		if got := s.code(c.token); got != c.want && !(name == "signature short" && got == validate.Malformed) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// J7: what the access tokens of well-known issuers hold is found where they put it.
func TestPresets(t *testing.T) {
	at := now.Unix()
	base := object{"iss": iss, "sub": "user", "iat": at - 10, "exp": at + 600}
	for preset, c := range map[string]struct {
		head, claims         object
		client, session, jti string
		scopes               string
		refused              object // a token of the same issuer that is no access token
		refusedFor           validate.Code
	}{
		"auth0": {
			object{"alg": "ES256", "kid": "e", "typ": "JWT"},
			with(base, "aud", []string{"https://api", "https://t.auth0.com/userinfo"}, "azp", "my_client", "scope", "openid read:messages"),
			"my_client", "", "", "openid read:messages", nil, "",
		},
		"cognito": {
			object{"alg": "ES256", "kid": "e"},
			with(base, "client_id", "1example23456789", "token_use", "access", "scope", "aws.cognito.signin.user.admin", "jti", "aaaa", "origin_jti", "bbbb", "username", "u"),
			"1example23456789", "bbbb", "aaaa", "aws.cognito.signin.user.admin", with(base, "aud", "1example23456789", "token_use", "id"), validate.MissingClaim,
		},
		"keycloak": {
			object{"alg": "ES256", "kid": "e", "typ": "JWT"},
			with(base, "typ", "Bearer", "azp", "web", "sid", "s-1", "scope", "email profile", "jti", "onrtac:1"),
			"web", "s-1", "onrtac:1", "email profile", with(base, "typ", "ID", "azp", "web"), validate.MissingClaim,
		},
		"okta": {
			object{"alg": "ES256", "kid": "e"},
			with(base, "ver", 1, "jti", "AT.0mP", "aud", "api://default", "cid", "0oabskvc", "uid", "00u", "scp", []string{"openid", "email"}),
			"0oabskvc", "", "AT.0mP", "openid email", nil, "",
		},
		"entra": {
			object{"alg": "ES256", "kid": "e", "typ": "JWT"},
			with(base, "ver", "2.0", "azp", "11bca2de", "scp", "access_as_user Files.Read", "uti", "u-t-i", "oid", "o", "tid", "t"),
			"11bca2de", "", "u-t-i", "access_as_user Files.Read", nil, "",
		},
		"google": {
			object{"alg": "ES256", "kid": "e", "typ": "JWT"},
			with(base, "azp", "32555.apps", "aud", "32555.apps", "email", "a@b"),
			"32555.apps", "", "", "", with(base, "aud", "x"), validate.MissingClaim,
		},
		"zitadel": {
			object{"alg": "ES256", "kid": "e", "typ": "at+jwt"},
			with(base, "aud", []string{"p1"}, "client_id", "c@project", "jti", "V1", "scope", "openid"),
			"c@project", "", "V1", "openid", nil, "",
		},
		"hydra": {
			object{"alg": "ES256", "kid": "e", "typ": "JWT"},
			with(base, "client_id", "my-client", "scp", []string{"offline", "openid"}, "jti", "j", "ext", object{}),
			"my-client", "", "j", "offline openid", nil, "",
		},
	} {
		s := newSigner(t, func(i *record.Issuer) { i.Preset = preset })
		claims, code := s.verify.Verify(s.token(c.head, c.claims), now, nil)
		if code != validate.OK {
			t.Errorf("%s: %s", preset, code)
			continue
		}
		if claims.Client != c.client || claims.Session != c.session || claims.JTI != c.jti || strings.Join(claims.Scopes, " ") != c.scopes {
			t.Errorf("%s: client %q, session %q, jti %q, scopes %q", preset, claims.Client, claims.Session, claims.JTI, claims.Scopes)
		}
		if c.refused != nil {
			if got := s.code(s.token(c.head, c.refused)); got != c.refusedFor {
				t.Errorf("%s: another kind of token is %s", preset, got)
			}
		}
	}
	if len(record.Presets()) != 8 {
		t.Errorf("%v: not all are tested", record.Presets())
	}
}

// J7
func TestClaimNamesAndRequirements(t *testing.T) {
	s := newSigner(t, func(i *record.Issuer) {
		i.Claims = record.ClaimNames{Subject: []string{"uid", "sub"}, Scopes: []string{"permissions"}, Session: []string{"sess"}}
		i.Required = map[string]string{"tenant": "", "use": "api"}
	})
	full := with(good(), "uid", "u-1", "permissions", []string{"p"}, "sess", "x", "tenant", "t", "use", "api")
	claims, code := s.verify.Verify(s.token(head, full), now, nil)
	if code != validate.OK || claims.Subject != "u-1" || claims.Session != "x" || len(claims.Scopes) != 1 || claims.Client != "app" {
		t.Errorf("%s %+v", code, claims)
	}
	for name, c := range map[string]struct {
		claims object
		want   validate.Code
	}{
		"the second name":      {with(full, "uid", nil), validate.OK},
		"a name of a number":   {with(full, "uid", 5), validate.Malformed},
		"no tenant":            {with(full, "tenant", nil), validate.MissingClaim},
		"another use":          {with(full, "use", "web"), validate.MissingClaim},
		"a use that is a list": {with(full, "use", []string{"api"}), validate.MissingClaim},
	} {
		if got := s.code(s.token(head, c.claims)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
