package jwt_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	golang "github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	jwxt "github.com/lestrrat-go/jwx/v2/jwt"
	"pgregory.net/rapid"

	"veto/record"
	"veto/validate"
	"veto/validate/jwt"
	"veto/validate/keyset"
	"veto/validate/remembered"
)

var sharedSecret = bytes.Repeat([]byte("k"), 32)

func sharing(t testing.TB, tokens *remembered.Tokens, change ...func(*record.Issuer)) (*jwt.Verifier, *keyset.Holder) {
	t.Helper()
	h := keyset.NewHolder()
	i := record.Issuer{ID: "hmac", Issuer: iss, SharedSecret: true}
	for _, c := range change {
		c(&i)
	}
	h.Swap([]record.Issuer{i.WithDefaults()}, []record.SigningKeys{{IssuerID: "hmac", Keys: []record.SigningKey{{Alg: "HS256", Secret: sharedSecret}}}})
	return jwt.New(h, tokens, func(string) {}), h
}

// unread are members of a header that jwx decodes, and refuses if they are not of their form.
// Here nobody looks at them.
var unread = []string{"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "cty"}

// J4: of every header and claims that are signed rightly, what is accepted here is accepted by
// jwx v2.1.7 and golang-jwt v5.3.1, and means the same. The exceptions: jwx refuses headers with
// space around their braces, and those with members of the list above that are not of their form;
// both refuse claims with a number beyond what a float64 holds, also in a member that nobody reads.
func FuzzAgainstOthers(f *testing.F) {
	f.Add(`{"alg":"HS256","typ":"JWT"}`, text(good()))
	f.Add(`{"alg":"HS256","kid":"x","cty":"a/b"}`, `{"iss":"`+iss+`","exp":1800000600.5,"iat":1.79999999e9,"aud":[],"sub":"\u00e9"}`)
	f.Add(` {"alg" : "HS256", "jwk":{}, "x5c":["a"]} `, `{"iss":"`+iss+`","exp":1800000600,"iat":1799999990,"nbf":0,"jti":"","a":{"b":[1e400,null]}}`)
	f.Add(`{"alg":"HS256","typ":5}`, `{"iss":"`+iss+`","exp":1800000600,"iat":1799999990,"sub":null}`)
	v, _ := sharing(f, nil)
	f.Fuzz(func(t *testing.T, head, claims string) {
		token := macWith(sharedSecret, head, claims)
		if len(token) > validate.MaxCredential {
			return
		}
		got, code := v.Verify(token, now, nil)
		if code != validate.OK {
			return
		}
		var header map[string]json.RawMessage
		if err := json.Unmarshal([]byte(head), &header); err != nil {
			t.Fatalf("%s: %v", head, err)
		}
		if strings.TrimSpace(head) != head || slices.ContainsFunc(unread, func(name string) bool { return header[name] != nil }) {
			return
		}
		payload, err := jws.Verify([]byte(token), jws.WithKey(jwa.HS256, sharedSecret))
		if err != nil || string(payload) != string(got.Raw) {
			t.Fatalf("%s.%s is accepted here, and by jwx not: %v", head, claims, err)
		}
		var want, there map[string]any
		if err := json.Unmarshal([]byte(got.Raw), &want); err != nil {
			if !strings.Contains(err.Error(), "cannot unmarshal number") {
				t.Fatalf("%s: %v", claims, err)
			}
			return // a number beyond float64, in a claim that nobody reads: all three take it as text
		}
		parser := golang.NewParser(golang.WithoutClaimsValidation(), golang.WithValidMethods([]string{"HS256"}))
		parsed, err := parser.Parse(token, func(*golang.Token) (any, error) { return sharedSecret, nil })
		if err != nil || !parsed.Valid {
			t.Fatalf("%s.%s is accepted here, and by golang-jwt not: %v", head, claims, err)
		}
		there, _ = parsed.Claims.(golang.MapClaims)
		if !reflect.DeepEqual(want, there) {
			t.Fatalf("%s is %v here and %v in golang-jwt", claims, want, there)
		}
		x, err := jwxt.Parse([]byte(token), jwxt.WithKey(jwa.HS256, sharedSecret), jwxt.WithValidate(false))
		if err != nil {
			t.Fatalf("%s is accepted here, and by jwx not: %v", claims, err)
		}
		if x.Issuer() != got.Issuer || x.Subject() != got.Subject || x.JwtID() != got.JTI || len(x.Audience()) != len(got.Audience) || x.Expiration().Unix() != got.ExpiresAt.Unix() {
			t.Fatalf("%s is %+v here and %v in jwx", claims, got, x)
		}
	})
}

// J4: whatever the bytes, it answers; and says the same when it explains.
func FuzzVerify(f *testing.F) {
	f.Add(macWith(sharedSecret, `{"alg":"HS256"}`, text(good())))
	f.Add("a.b.c")
	f.Add("..")
	f.Add("eyJhbGciOiJIUzI1NiJ9.e30.")
	v, _ := sharing(f, nil)
	f.Fuzz(func(t *testing.T, token string) {
		claims, code := v.Verify(token, now, nil)
		if (claims == nil) == (code == validate.OK) {
			t.Fatalf("claims %v with %s", claims != nil, code)
		}
		if _, again := v.Explain(token, now, &validate.Trail{}); again != code {
			t.Fatalf("%s, explained as %s", code, again)
		}
	})
}

// J8
func TestRememberedTokensPassAsVerified(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tokens, err := remembered.New(1 << 20)
		if err != nil {
			rt.Fatal(err)
		}
		leeway := func(i *record.Issuer) { i.Leeway = record.Duration(rapid.IntRange(1, 60).Draw(rt, "leeway")) * 1e9 }
		var rules record.Issuer
		keep := func(i *record.Issuer) { rules = *i }
		warm, _ := sharing(t, tokens, leeway, keep)
		cold, _ := sharing(t, nil, func(i *record.Issuer) { *i = rules })
		at := now.Unix()
		claims := object{"iss": iss, "exp": at + rapid.Int64Range(-5, 100).Draw(rt, "exp"), "iat": at + rapid.Int64Range(-100, 5).Draw(rt, "iat")}
		if rapid.Bool().Draw(rt, "dated") {
			claims["nbf"] = at + rapid.Int64Range(-50, 50).Draw(rt, "nbf")
		}
		token := macWith(sharedSecret, object{"alg": "HS256"}, claims)
		for range 8 {
			when := now.Add(1e9 * timeOf(rapid.Int64Range(-120, 220).Draw(rt, "when")))
			_, want := cold.Verify(token, when, nil)
			if _, got := warm.Verify(token, when, nil); got != want {
				rt.Fatalf("%v at %d: %s, verified anew %s", claims, when.Unix()-at, got, want)
			}
		}
	})
}

// J3: a key that its issuer took back verifies what it signed until then, for one lifetime.
func TestRetiredKeys(t *testing.T) {
	retired := now.Add(-timeOf(3600) * 1e9)
	h := keyset.NewHolder()
	i := record.Issuer{ID: "hmac", Issuer: iss, SharedSecret: true, MaxLifetime: record.Duration(2 * 3600 * 1e9), Leeway: record.Duration(60 * 1e9)}
	h.Swap([]record.Issuer{i.WithDefaults()}, []record.SigningKeys{{IssuerID: "hmac", Keys: []record.SigningKey{{Alg: "HS256", Secret: sharedSecret, Status: record.SigningKeyRetired, RetiredAt: retired}}}})
	tokens, err := remembered.New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	v := jwt.New(h, tokens, func(string) {})
	signed := func(iat, exp int64) string {
		return macWith(sharedSecret, object{"alg": "HS256"}, object{"iss": iss, "iat": iat, "exp": exp})
	}
	before := signed(retired.Unix()-10, retired.Unix()+7000)
	for _, c := range []struct {
		token string
		at    int64
		want  validate.Code
	}{
		{before, now.Unix(), validate.OK},
		{signed(retired.Unix()+61, retired.Unix()+7000), now.Unix(), validate.UnknownSigningKey},
		{signed(retired.Unix()+59, retired.Unix()+7000), now.Unix(), validate.OK},
		{before, retired.Unix() + 6999, validate.OK},
		{signed(retired.Unix()+59, retired.Unix()+7250), retired.Unix() + 7259, validate.OK},
		{signed(retired.Unix()+59, retired.Unix()+7250), retired.Unix() + 7260, validate.UnknownSigningKey},
	} {
		if _, got := v.Verify(c.token, unix(c.at), nil); got != c.want {
			t.Errorf("at %d after it was retired: %s, want %s", c.at-retired.Unix(), got, c.want)
		}
	}
}
