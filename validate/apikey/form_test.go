package apikey_test

import (
	"crypto/rand"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"veto/validate/apikey"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// forms draws how a key may begin.
func forms(t *rapid.T) apikey.Form {
	return apikey.Form{
		Prefix:      rapid.StringMatching(`[a-z0-9]{2,16}`).Draw(t, "prefix"),
		Environment: rapid.StringMatching(`([a-z0-9]{1,16})?`).Draw(t, "environment"),
	}
}

func of(t *rapid.T, f apikey.Form) string {
	secret, _, _, err := apikey.Generate(rand.Reader, f)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// K4
func TestFormIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := forms(t)
		secret := of(t, want)
		f, hint, ok := apikey.Parse(secret)
		if !ok || f != want || hint != want.String()+"…"+secret[len(secret)-4:] || !apikey.ValidPrefix(f.Prefix) {
			t.Fatalf("%q: %+v %q %t", secret, f, hint, ok)
		}
		if text := "see x-" + secret + "0 and others"; !apikey.Holds(text) || !apikey.Holds("x"+secret) || apikey.Holds(text[:len(text)-20]) {
			t.Fatalf("whether there is a key in %q", text)
		}
	})
	for _, bad := range []apikey.Form{
		{Prefix: "a"},
		{Prefix: "Veto"},
		{Prefix: strings.Repeat("a", 17)},
		{Prefix: "veto", Environment: "Live"},
		{Prefix: "veto", Environment: strings.Repeat("a", 17)},
		{Prefix: "veto", Environment: "a_b"},
		{Prefix: "", Environment: "live"},
	} {
		// The checksum fits, and the form is another.
		secret, _, _, err := apikey.Generate(rand.Reader, bad)
		if _, _, ok := apikey.Parse(secret); err != nil || ok || apikey.Holds(secret[len(bad.String()):]) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "a", "Veto", "ve-to", "ve_to", strings.Repeat("a", 17)} {
		if apikey.ValidPrefix(bad) {
			t.Errorf("prefix %q", bad)
		}
	}
}

// K4: what is published of the form, so that scanners can be taught, is what is made: these keys were
// made by the code that docs/keys.md gives.
func TestFormNeverChanges(t *testing.T) {
	for _, secret := range []string{
		"veto_0123456789ABCDEFGHIJKLMNOPQRST2GaIGv",
		"veto_live_0123456789ABCDEFGHIJKLMNOPQRST0OjcPC",
		"acme_test_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz0XNw4r",
	} {
		if _, _, ok := apikey.Parse(secret); !ok {
			t.Errorf("%s is not well-formed", secret)
		}
	}
}

// K4
func TestPatternFindsKeys(t *testing.T) {
	page, err := os.ReadFile("../../docs/keys.md")
	if err != nil || !strings.Contains(string(page), apikey.Pattern(apikey.Prefix)) {
		t.Errorf("docs/keys.md does not have the pattern %s (%v)", apikey.Pattern(apikey.Prefix), err)
	}
	rapid.Check(t, func(t *rapid.T) {
		f := forms(t)
		pattern, secret := regexp.MustCompile(apikey.Pattern(f.Prefix)), of(t, f)
		if got := pattern.FindString(`{"key": "` + secret + `"}`); got != secret {
			t.Fatalf("found %q of %q", got, secret)
		}
		at := rapid.IntRange(0, len(secret)-1).Draw(t, "at")
		for name, typo := range map[string]string{
			"dropped": secret[:at] + secret[at+1:], "doubled": secret[:at+1] + secret[at:],
			"other": secret[:at] + string(base62[rapid.IntRange(0, 61).Draw(t, "digit")]) + secret[at+1:],
		} {
			// The pattern may still find it; then the checksum tells.
			if _, _, ok := apikey.Parse(typo); ok && typo != secret {
				t.Fatalf("%s: %q of %q", name, typo, secret)
			}
			if at >= len(secret)-36 && name != "other" && pattern.MatchString(typo) {
				t.Fatalf("%s: the pattern finds %q", name, typo)
			}
		}
	})
}
