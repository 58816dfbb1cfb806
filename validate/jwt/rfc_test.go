package jwt

import (
	"encoding/base64"
	"testing"
	"time"

	"veto/record"
	"veto/validate"
	"veto/validate/keyset"
)

// The examples of the RFCs, each with its key.
const (
	joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

	rfc7515A1    = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joe + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfc7515A1Key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
	rfc7515A2    = "eyJhbGciOiJSUzI1NiJ9." + joe + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	rfc7515A2Key = `{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}`
	rfc7515A3    = "eyJhbGciOiJFUzI1NiJ9." + joe + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	rfc7515A3Key = `{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`
	rfc7515A5    = "eyJhbGciOiJub25lIn0." + joe + "."

	// RFC 7520 section 4 and RFC 8037 appendix A.4: texts that are no claims.
	frodo      = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
	rfc7520RSA = `{"keys":[{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}]}`
	rfc7520EC  = `{"keys":[{"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521","x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt","y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}]}`
	rfc7520_41 = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + frodo + ".MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"
	rfc7520_42 = "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + frodo + ".cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"
	rfc7520_43 = "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + frodo + ".AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2"
	rfc7520_44 = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9." + frodo + ".s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"
	rfc7520Key = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"
	rfc8037A4  = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	rfc8037Key = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
)

// trusting is a verifier that trusts an issuer with the key: a JWK set, or a secret in base64url.
func trusting(t *testing.T, iss, alg, key string) *Verifier {
	t.Helper()
	i := record.Issuer{
		ID: "one", Issuer: iss, Algorithms: []string{alg}, AllowNoIssuedAt: true, MaxLifetime: record.Duration(record.LongestMaxLifetime),
	}
	var keys []record.SigningKey
	if key[0] == '{' {
		var err error
		if keys, err = keyset.Parse([]byte(key), nil); err != nil {
			t.Fatal(err)
		}
		keys[0].Alg = alg // an RSA key that names none is for RS256
		i.JWKS = []byte(key)
	} else {
		secret, err := base64.RawURLEncoding.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		i.SharedSecret, keys = true, []record.SigningKey{{Alg: alg, Secret: secret}}
	}
	h := keyset.NewHolder()
	h.Swap([]record.Issuer{i.WithDefaults()}, []record.SigningKeys{{IssuerID: "one", Keys: keys}})
	return New(h, nil, func(string) {})
}

// J5
func TestExamplesOfTheRFCs(t *testing.T) {
	at := time.Unix(1300819380, 0).Add(-time.Hour)
	for name, c := range map[string]struct{ token, alg, key string }{
		"RFC 7515 A.1": {rfc7515A1, "HS256", rfc7515A1Key},
		"RFC 7515 A.2": {rfc7515A2, "RS256", rfc7515A2Key},
		"RFC 7515 A.3": {rfc7515A3, "ES256", rfc7515A3Key},
	} {
		v := trusting(t, "joe", c.alg, c.key)
		claims, code := v.Verify(c.token, at, nil)
		if code != validate.OK || claims.Issuer != "joe" || claims.ExpiresAt.Unix() != 1300819380 {
			t.Errorf("%s: %s %+v", name, code, claims)
		}
		if _, code := v.Verify(c.token, at.Add(2*time.Hour), nil); code != validate.Expired {
			t.Errorf("%s, two hours later: %s", name, code)
		}
		for _, other := range []string{rfc7515A1, rfc7515A2, rfc7515A3, rfc7515A5} {
			if _, code := v.Verify(other, at, nil); other != c.token && code != validate.UnsupportedAlg {
				t.Errorf("%s: another example is %s", name, code)
			}
		}
	}
	for name, c := range map[string]struct{ token, alg, key string }{
		"RFC 7520 4.1": {rfc7520_41, "RS256", rfc7520RSA},
		"RFC 7520 4.2": {rfc7520_42, "PS384", rfc7520RSA},
		"RFC 7520 4.3": {rfc7520_43, "ES512", rfc7520EC},
		"RFC 7520 4.4": {rfc7520_44, "HS256", rfc7520Key},
		"RFC 8037 A.4": {rfc8037A4, "EdDSA", rfc8037Key},
	} {
		v := trusting(t, "joe", c.alg, c.key)
		if _, code := v.Verify(c.token, at, nil); code != validate.Malformed {
			t.Errorf("%s: what is signed is no claims, yet %s", name, code)
		}
		trust, _ := v.keys.Load().Issuer("joe")
		key := trust.Candidates(c.alg)[0]
		if !signedBy(v, c.token, key) {
			t.Errorf("%s: its signature is not accepted", name)
		}
		for i := 0; i < len(c.token); i++ {
			changed := []byte(c.token)
			changed[i] ^= 1
			if changed[i] != '.' && c.token[i] != '.' && signedBy(v, string(changed), key) {
				t.Fatalf("%s: accepted with byte %d changed", name, i)
			}
		}
	}
}

// signedBy checks the signature alone.
func signedBy(v *Verifier, credential string, key *keyset.Key) bool {
	t := v.begin(credential, time.Now())
	return t.form() == validate.OK && t.alg == key.Alg && t.signedBy(key)
}
