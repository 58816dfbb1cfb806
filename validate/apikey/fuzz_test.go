package apikey_test

import (
	"testing"
	"time"

	"veto/record"
	"veto/validate"
	"veto/validate/apikey"
)

// K3: whatever is presented, it answers, never with another's record, and the same when it explains.
func FuzzVerify(f *testing.F) {
	secret, hash := generate(f)
	f.Add(secret)
	f.Add("veto_" + secret)
	f.Add("")
	f.Add(secret[:40] + "\x00" + secret[41:])
	v, now := apikey.New(keys{hash: &record.APIKey{ID: "k"}}), time.Now()
	f.Fuzz(func(t *testing.T, presented string) {
		claims, code := v.Verify(presented, now, new(validate.Claims))
		if (claims != nil) != (code == validate.OK) || (claims != nil) != (presented == secret) {
			t.Fatalf("%q: %s", presented, code)
		}
		if _, again := v.Explain(presented, now, &validate.Trail{}); again != code {
			t.Fatalf("%q: %s, explained as %s", presented, code, again)
		}
	})
}
