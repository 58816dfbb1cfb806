package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/validate"
	"veto/validate/jwt"
	"veto/validate/keyset"
)

var now = time.Unix(1_800_000_000, 0)

const iss = "https://issuer.example"

type object = map[string]any

// signer makes tokens of two issuers with the standard library only.
type signer struct {
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	ed      ed25519.PrivateKey
	other   *ecdsa.PrivateKey
	holder  *keyset.Holder
	verify  *jwt.Verifier
	rsaJWKS []byte
}

func newSigner(t testing.TB, change ...func(*record.Issuer)) *signer {
	t.Helper()
	s := &signer{holder: keyset.NewHolder()}
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	s.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.other, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, s.ed, _ = ed25519.GenerateKey(rand.Reader)
	i := record.Issuer{ID: "one", Issuer: iss}
	for _, c := range change {
		c(&i)
	}
	i = i.WithDefaults()
	s.holder.Swap(
		[]record.Issuer{i, record.Issuer{ID: "two", Issuer: "https://other.example"}.WithDefaults()},
		[]record.SigningKeys{
			{IssuerID: "one", Keys: parse(t, map[string]crypto.PublicKey{"r": s.rsa.Public(), "e": s.ec.Public(), "d": s.ed.Public()})},
			{IssuerID: "two", Keys: parse(t, map[string]crypto.PublicKey{"e": s.other.Public(), "only-two": s.other.Public()})},
		})
	s.verify = jwt.New(s.holder, nil, func(string) {})
	return s
}

func parse(t testing.TB, keys map[string]crypto.PublicKey) []record.SigningKey {
	t.Helper()
	set, err := keyset.PublicJWKS(keys)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := keyset.Parse(set, nil)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func part(v any) string {
	b, ok := v.(string)
	if !ok {
		j, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		b = string(j)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(b))
}

// token signs with ES256 and the key e, after the changes.
func (s *signer) token(head, claims any) string {
	input := part(head) + "." + part(claims)
	digest := sha256.Sum256([]byte(input))
	r, v, _ := ecdsa.Sign(rand.Reader, s.ec, digest[:])
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func good() object {
	return object{
		"iss": iss, "sub": "alice", "client_id": "app", "sid": "s1", "jti": "j1", "aud": []string{"a", "b"},
		"iat": now.Unix() - 10, "exp": now.Unix() + 600, "scope": "read write",
	}
}

func text(o object) string {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func with(o object, pairs ...any) object {
	o = maps.Clone(o)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(o, pairs[i].(string))
			continue
		}
		o[pairs[i].(string)] = pairs[i+1]
	}
	return o
}

var head = object{"alg": "ES256", "kid": "e", "typ": "at+jwt"}

func (s *signer) code(token string) validate.Code {
	claims, code := s.verify.Verify(token, now, nil)
	if (claims != nil) != (code == validate.OK) {
		return validate.Code(fmt.Sprintf("claims %v with code %s", claims != nil, code))
	}
	return code
}

func TestGoodTokens(t *testing.T) {
	s := newSigner(t)
	rs := part(object{"alg": "RS256", "kid": "r"}) + "." + part(good())
	digest := sha256.Sum256([]byte(rs))
	rsSig, _ := rsa.SignPKCS1v15(rand.Reader, s.rsa, crypto.SHA256, digest[:])
	ed := part(object{"alg": "EdDSA", "kid": "d"}) + "." + part(good())
	for name, token := range map[string]string{
		"ES256":       s.token(head, good()),
		"without kid": s.token(object{"alg": "ES256"}, good()),
		"RS256":       rs + "." + base64.RawURLEncoding.EncodeToString(rsSig),
		"EdDSA":       ed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.ed, []byte(ed))),
	} {
		claims, code := s.verify.Verify(token, now, nil)
		if code != validate.OK {
			t.Errorf("%s: %s", name, code)
			continue
		}
		if claims.Subject != "alice" || claims.Client != "app" || claims.Session != "s1" || claims.JTI != "j1" ||
			len(claims.Scopes) != 2 || len(claims.Audience) != 2 || claims.IssuedAt != now.Unix()-10 || claims.TokenHash == [32]byte{} {
			t.Errorf("%s: %+v", name, claims)
		}
	}
}

// J1
func TestEveryBitCounts(t *testing.T) {
	s := newSigner(t)
	token := s.token(head, good())
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(token)
		at, bit := rapid.IntRange(0, len(b)-1).Draw(t, "at"), rapid.IntRange(0, 7).Draw(t, "bit")
		b[at] ^= 1 << bit
		if code := s.code(string(b)); code == validate.OK {
			t.Fatalf("allowed with bit %d of byte %d changed", bit, at)
		}
	})
}

// J2
func TestAttacks(t *testing.T) {
	s := newSigner(t)
	goodToken := s.token(head, good())
	parts := strings.Split(goodToken, ".")
	hs := part(object{"alg": "HS256", "kid": "r"}) + "." + part(good())
	mac := hmac.New(sha256.New, s.rsaJWKS)
	mac.Write([]byte(hs))
	claimsText, _ := json.Marshal(good())
	double := strings.Replace(string(claimsText), `"sub":"alice"`, `"sub":"alice","sub":"root"`, 1)
	for name, c := range map[string]struct {
		token string
		want  validate.Code
	}{
		"alg none":               {part(object{"alg": "none"}) + "." + parts[1] + ".", validate.UnsupportedAlg},
		"alg NoNe":               {part(object{"alg": "NoNe"}) + "." + parts[1] + ".", validate.UnsupportedAlg},
		"no alg":                 {s.token(object{"kid": "e"}, good()), validate.Malformed},
		"HS256 with public key":  {hs + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), validate.UnsupportedAlg},
		"alg of another key":     {s.token(object{"alg": "ES256", "kid": "r"}, good()), validate.UnsupportedAlg},
		"alg not allowed":        {s.token(object{"alg": "PS512", "kid": "r"}, good()), validate.UnsupportedAlg},
		"unknown kid":            {s.token(object{"alg": "ES256", "kid": "x"}, good()), validate.UnknownSigningKey},
		"kid of another issuer":  {s.token(object{"alg": "ES256", "kid": "only-two"}, good()), validate.UnknownSigningKey},
		"issuer of another key":  {s.token(head, with(good(), "iss", "https://other.example")), validate.BadSignature},
		"unknown issuer":         {s.token(head, with(good(), "iss", iss+"/")), validate.UnknownIssuer},
		"no issuer":              {s.token(head, with(good(), "iss", nil)), validate.MissingClaim},
		"crit":                   {s.token(with(head, "crit", []string{"x"}), good()), validate.Malformed},
		"b64":                    {s.token(with(head, "b64", false), good()), validate.Malformed},
		"kid is a number":        {s.token(with(head, "kid", 1), good()), validate.Malformed},
		"four parts":             {goodToken + ".", validate.Malformed},
		"five parts":             {goodToken + ".a.b", validate.Malformed},
		"two parts":              {parts[0] + "." + parts[1], validate.Malformed},
		"padding":                {goodToken + "==", validate.Malformed},
		"line end":               {goodToken + "\n", validate.Malformed},
		"standard alphabet":      {parts[0] + "." + parts[1] + ".+/" + parts[2][2:], validate.Malformed},
		"no signature":           {parts[0] + "." + parts[1] + ".", validate.BadSignature},
		"signature cut":          {goodToken[:len(goodToken)-6], validate.BadSignature},
		"r and s zero":           {parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), validate.BadSignature},
		"duplicate claim":        {s.token(head, double), validate.Malformed},
		"claims are a list":      {s.token(head, "[]"), validate.Malformed},
		"something after claims": {s.token(head, string(claimsText)+"{}"), validate.Malformed},
		"lone surrogate":         {s.token(head, `{"iss":"\ud800"}`), validate.Malformed},
		"invalid UTF-8":          {s.token(head, "{\"iss\":\"\xff\"}"), validate.Malformed},
		"too deep":               {s.token(head, strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 40)), validate.Malformed},
		"sub is an object":       {s.token(head, with(good(), "sub", object{})), validate.Malformed},
	} {
		if got := s.code(c.token); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	injected := s.token(with(head, "jwk", object{"kty": "EC"}, "jku", "https://evil.example", "x5u", "x"), good())
	if got := s.code(injected); got != validate.OK {
		t.Errorf("keys in the header are not looked at, yet: %s", got)
	}
}

// J3
func TestActors(t *testing.T) {
	s := newSigner(t, func(i *record.Issuer) {})
	act := map[string]any{"sub": "assistant", "act": map[string]any{"iss": "https://other.example", "client_id": "tool"}}
	claims, code := s.verify.Verify(s.token(head, with(good(), "act", act)), now, nil)
	want := []validate.Actor{{Issuer: claims.Issuer, Subject: "assistant"}, {Issuer: "https://other.example", Client: "tool"}}
	if code != validate.OK || !slices.Equal(claims.Actors, want) {
		t.Errorf("%s: %+v", code, claims.Actors)
	}
}

func TestClaims(t *testing.T) {
	s := newSigner(t, func(i *record.Issuer) {
		i.Audiences, i.Types, i.MaxLifetime = []string{"b"}, []string{"application/AT+JWT"}, record.Duration(time.Hour)
		i.ShorterBefore = []record.LifetimeLimit{{IssuedBefore: now.Add(-time.Minute), MaxLifetime: record.Duration(10 * time.Minute)}}
	})
	at := now.Unix()
	for name, c := range map[string]struct {
		head, claims any
		want         validate.Code
	}{
		"good":                      {head, good(), validate.OK},
		"expired":                   {head, with(good(), "iat", at-100, "exp", at-31), validate.Expired},
		"expired within leeway":     {head, with(good(), "exp", at-29), validate.OK},
		"no exp":                    {head, with(good(), "exp", nil), validate.MissingClaim},
		"exp is a string":           {head, with(good(), "exp", "1"), validate.Malformed},
		"exp is negative":           {head, with(good(), "exp", -5), validate.Malformed},
		"exp is beyond all":         {head, with(good(), "exp", 1e300), validate.Malformed},
		"exp with a fraction":       {head, with(good(), "exp", float64(at)+0.5), validate.OK},
		"not yet":                   {head, with(good(), "nbf", at+31), validate.NotYetValid},
		"not yet within leeway":     {head, with(good(), "nbf", at+29), validate.OK},
		"issued in future":          {head, with(good(), "iat", at+31), validate.IssuedInFuture},
		"too long":                  {head, with(good(), "exp", at-10+3601), validate.TooLongLived},
		"as long as allowed":        {head, with(good(), "exp", at-10+3600), validate.OK},
		"without iat":               {head, with(good(), "iat", nil), validate.MissingClaim},
		"iat is null":               {head, strings.Replace(text(good()), `"iat":1799999990`, `"iat":null`, 1), validate.Malformed},
		"too long for its time":     {head, with(good(), "iat", at-120, "exp", at-120+601), validate.TooLongLived},
		"not too long for its time": {head, with(good(), "iat", at-120, "exp", at-120+600), validate.OK},
		"wrong audience":            {head, with(good(), "aud", "c"), validate.WrongAudience},
		"audience as string":        {head, with(good(), "aud", "b"), validate.OK},
		"no audience":               {head, with(good(), "aud", nil), validate.WrongAudience},
		"audience of numbers":       {head, with(good(), "aud", []int{1}), validate.Malformed},
		"wrong type":                {with(head, "typ", "JWT"), good(), validate.WrongType},
		"no type":                   {with(head, "typ", nil), good(), validate.WrongType},
		"type in full":              {with(head, "typ", "application/at+jwt"), good(), validate.OK},
	} {
		if got := s.code(s.token(c.head, c.claims)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	for name, act := range map[string]any{
		"act is no object": "x", "act is null": nil, "actor's sub is a number": map[string]any{"sub": 1},
		"actor's actor is no object": map[string]any{"sub": "a", "act": []string{"b"}},
	} {
		claims := strings.Replace(text(good()), "{", `{"act":`+marshal(t, act)+",", 1)
		if got := s.code(s.token(head, claims)); got != validate.Malformed {
			t.Errorf("%s: %s", name, got)
		}
	}
	free := newSigner(t, func(i *record.Issuer) { i.AllowNoExpiry, i.AllowNoIssuedAt = true, true })
	claims, code := free.verify.Verify(free.token(head, with(good(), "exp", nil, "iat", nil)), now, nil)
	if code != validate.OK || claims.IssuedAt != record.NoIssuedAt || !claims.ExpiresAt.IsZero() {
		t.Errorf("no expiry, allowed: %s %+v", code, claims)
	}
}

func BenchmarkVerify(b *testing.B) {
	s := newSigner(b)
	token := s.token(head, good())
	digest := sha256.Sum256([]byte(token))
	signature, _ := ecdsa.SignASN1(rand.Reader, s.ec, digest[:])
	b.Run("floor ES256 signature", func(b *testing.B) {
		for b.Loop() {
			if !ecdsa.VerifyASN1(&s.ec.PublicKey, digest[:], signature) {
				b.Fatal("bad")
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, code := s.verify.Verify(token, now, nil); code != validate.OK {
				b.Fatal(code)
			}
		}
	})
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0) }

func verifierOf(h *keyset.Holder) *jwt.Verifier { return jwt.New(h, nil, func(string) {}) }

func timeOf(n int64) time.Duration { return time.Duration(n) }

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
