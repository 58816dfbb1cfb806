package apikey_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/validate"
	"veto/validate/apikey"
)

type keys map[record.KeyHash]*record.APIKey

func (k keys) APIKey(h record.KeyHash) (*record.APIKey, bool) {
	r, ok := k[h]
	return r, ok
}

func generate(t testing.TB) (string, record.KeyHash) {
	t.Helper()
	secret, hash, hint, err := apikey.Generate(rand.Reader, apikey.Form{Prefix: apikey.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(hint, secret[5:20]) || apikey.Hash(secret) != hash {
		t.Fatalf("hint %s, hash %x", hint, hash)
	}
	return secret, hash
}

// K1
func TestEveryChangeIsMalformed(t *testing.T) {
	secret, hash := generate(t)
	v := apikey.New(keys{hash: {ID: "k"}})
	if _, code := v.Verify(secret, time.Now(), new(validate.Claims)); code != validate.OK {
		t.Fatal(code)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(secret)
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
		if _, code := v.Verify(string(b), time.Now(), new(validate.Claims)); code != validate.Malformed {
			t.Fatalf("%q: %s", b, code)
		}
	})
	for _, bad := range []string{"", "veto_", secret[:len(secret)-1], secret + "0", strings.Repeat("a", 500)} {
		if _, code := v.Verify(bad, time.Now(), new(validate.Claims)); code != validate.Malformed {
			t.Errorf("%q: %s", bad, code)
		}
	}
}

// K2
func TestStates(t *testing.T) {
	now, room := time.Now(), new(validate.Claims)
	secret, hash := generate(t)
	for want, k := range map[validate.Code]*record.APIKey{
		validate.OK:          {ExpiresAt: now.Add(time.Second)},
		validate.KeyDisabled: {Disabled: true},
		validate.KeyExpired:  {ExpiresAt: now},
	} {
		if _, code := apikey.New(keys{hash: k}).Verify(secret, now, room); code != want {
			t.Errorf("%+v: %s, want %s", k, code, want)
		}
	}
	if _, code := apikey.New(keys{}).Verify(secret, now, room); code != validate.KeyNotFound {
		t.Errorf("unknown: %s", code)
	}
}

func BenchmarkVerify(b *testing.B) {
	secret, hash := generate(b)
	v, now, room := apikey.New(keys{hash: {ID: "k"}}), time.Now(), new(validate.Claims)
	b.ReportAllocs()
	for b.Loop() {
		if _, code := v.Verify(secret, now, room); code != validate.OK {
			b.Fatal(code)
		}
	}
}
