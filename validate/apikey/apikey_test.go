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

func (k keys) APIKey(h record.KeyHash, _ *record.KeyRoom) (r *record.APIKey, old, ok bool) {
	r, ok = k[h]
	return r, ok && r.ByOld(h), ok
}

func (k keys) Locked() bool { return false }

func (k keys) Imports() bool {
	for _, r := range k {
		if r.Imported {
			return true
		}
	}
	return false
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

// K4
func TestOldSecret(t *testing.T) {
	now := time.Now()
	secret, hash := generate(t)
	next, hashNext := generate(t)
	for name, c := range map[string]struct {
		until, expires, says time.Duration
		want                 validate.Code
	}{
		"in its overlap":      {until: 2, says: 2, want: validate.OK},
		"after":               {until: 0, want: validate.KeyExpired},
		"the key ends before": {until: 2, expires: 1, says: 1, want: validate.OK},
		"the key ends later":  {until: 1, expires: 2, says: 1, want: validate.OK},
		"the key has ended":   {until: 1, expires: -1, want: validate.KeyExpired},
	} {
		k := &record.APIKey{ID: "k", Hash: hashNext, Rotating: &record.Rotating{Hash: hash, Until: now.Add(c.until * time.Hour)}}
		if c.expires != 0 {
			k.ExpiresAt = now.Add(c.expires * time.Hour)
		}
		v := apikey.New(keys{hash: k, hashNext: k})
		claims, code := v.Verify(secret, now, new(validate.Claims))
		if code != c.want || claims != nil && (!claims.Rotating || !claims.ExpiresAt.Equal(now.Add(c.says*time.Hour))) {
			t.Errorf("%s: %s %+v", name, code, claims)
		}
		if _, again := v.Explain(secret, now, &validate.Trail{}); again != code {
			t.Errorf("%s: explained as %s", name, again)
		}
		claims, code = v.Verify(next, now, new(validate.Claims))
		if (code == validate.OK) != (c.expires >= 0) || claims != nil && (claims.Rotating || !claims.ExpiresAt.Equal(k.ExpiresAt)) {
			t.Errorf("%s: the new one: %s %+v", name, code, claims)
		}
	}
}

// K1, K5
func TestImportedKeysHaveAnyForm(t *testing.T) {
	now, room := time.Now(), new(validate.Claims)
	ours, hash := generate(t)
	for _, secret := range []string{"x", "sk-\x00\xff ü", strings.Repeat("0a1b", 16), ours[:len(ours)-1], strings.Repeat("k", 512)} {
		all := keys{apikey.Hash(secret): {ID: "imported", Imported: true}, hash: {ID: "ours"}}
		v := apikey.New(all)
		for presented, want := range map[string]string{secret: "imported", ours: "ours"} {
			ask := func() {
				if claims, code := v.Verify(presented, now, room); code != validate.OK || claims.Key.ID != want {
					t.Fatalf("%q: %s", presented, code)
				}
			}
			ask()
			if n := testing.AllocsPerRun(100, ask); n != 0 {
				t.Errorf("%q: %v allocations", presented, n)
			}
		}
		for presented, want := range map[string]validate.Code{
			secret + "-": validate.KeyNotFound, strings.Repeat("k", 513): validate.Malformed, secret[:len(secret)-1] + "-": validate.KeyNotFound,
		} {
			if len(presented) > 512 {
				want = validate.Malformed
			}
			if _, code := v.Verify(presented, now, room); code != want {
				t.Errorf("%q: %s, want %s", presented, code, want)
			}
			if _, code := v.Explain(presented, now, &validate.Trail{}); code != want {
				t.Errorf("%q explained: %s, want %s", presented, code, want)
			}
		}
		delete(all, apikey.Hash(secret))
		if _, code := v.Verify(secret, now, room); code != validate.Malformed {
			t.Errorf("%q, and no imported key: %s", secret, code)
		}
	}
}

// BenchmarkVerify asks for one of many keys each time: what a processor has learnt of one does not help with
// the next.
func BenchmarkVerify(b *testing.B) {
	secrets, known := make([]string, 1000), keys{}
	for i := range secrets {
		secret, hash := generate(b)
		secrets[i], known[hash] = secret, &record.APIKey{ID: "k"}
	}
	v, now, room := apikey.New(known), time.Now(), new(validate.Claims)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, code := v.Verify(secrets[i%len(secrets)], now, room); code != validate.OK {
			b.Fatal(code)
		}
	}
}
