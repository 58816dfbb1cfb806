package intake_test

import (
	"crypto/rand"
	"testing"

	"veto/node/intake"
	"veto/validate/apikey"
)

// A key is known for one wherever it stands, of whatever prefix it is.
func TestCredentialsAreKnown(t *testing.T) {
	for _, f := range []apikey.Form{{Prefix: "veto"}, {Prefix: "veto", Environment: "op"}, {Prefix: "acme", Environment: "live"}, {Prefix: "a1"}} {
		secret, _, hint, err := apikey.Generate(rand.Reader, f)
		if err != nil {
			t.Fatal(err)
		}
		if !intake.IsCredential("leaked: "+secret+", by mail") || intake.IsCredential("leaked: "+hint) {
			t.Errorf("%v", f)
		}
	}
	typo := "veto_live_0123456789ABCDEFGHIJKLMNOPQRST0OjcPD"
	if !intake.IsCredential(typo) || intake.IsCredential("acme"+typo[4:]) {
		t.Error("a key with a typo")
	}
}
