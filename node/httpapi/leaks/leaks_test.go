package leaks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"veto/node/httpapi/leaks"
	"veto/record"
)

func newKey(t *testing.T, c elliptic.Curve) (*ecdsa.PrivateKey, string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k, inPEM(t, &k.PublicKey)
}

func inPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// set is a set of signers as GitHub publishes it.
func set(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var keys []map[string]any
	for i := 0; i < len(pairs); i += 2 {
		keys = append(keys, map[string]any{"key_identifier": pairs[i], "key": pairs[i+1], "is_current": i == 0})
	}
	b, err := json.Marshal(map[string]any{"public_keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sign(t *testing.T, k *ecdsa.PrivateKey, body string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	der, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// K1
func TestSignature(t *testing.T) {
	one, onePEM := newKey(t, elliptic.P256())
	two, twoPEM := newKey(t, elliptic.P256())
	stranger, _ := newKey(t, elliptic.P256())
	signers, err := leaks.ParseSigners(set(t, "one", onePEM, "two", twoPEM))
	if err != nil {
		t.Fatal(err)
	}
	const body = `[{"token":"x","type":"t"}]`
	good := sign(t, one, body)
	for name, c := range map[string]struct {
		id, signature, body string
		want                bool
	}{
		"signed":           {"one", good, body, true},
		"by the other":     {"two", sign(t, two, body), body, true},
		"in another name":  {"two", good, body, false},
		"by nobody known":  {"three", good, body, false},
		"by a stranger":    {"one", sign(t, stranger, body), body, false},
		"another body":     {"one", good, body + " ", false},
		"no signature":     {"one", "", body, false},
		"no identifier":    {"", good, body, false},
		"not base64":       {"one", "%" + good, body, false},
		"with a line end":  {"one", good + "\n" + strings.Repeat("\n", 100), body, false},
		"something behind": {"one", base64.StdEncoding.EncodeToString(append(decode(t, good), 0)), body, false},
	} {
		if signers.Signed(c.id, c.signature, []byte(c.body)) != c.want {
			t.Errorf("%s: taken is %v", name, !c.want)
		}
	}
	if leaks.Signers(nil).Signed("one", good, []byte(body)) {
		t.Error("without signers a report is taken")
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// K1
func TestSigners(t *testing.T) {
	_, good := newKey(t, elliptic.P256())
	_, other := newKey(t, elliptic.P384())
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "not JSON": []byte("x"), "an array": []byte("[]"), "no keys": set(t), "no identifier": set(t, "", good), "an identifier twice": set(t, "a", good, "a", good),
		"P-384": set(t, "a", other), "RSA": set(t, "a", inPEM(t, &weak.PublicKey)), "no PEM": set(t, "a", "x"), "two keys in one": set(t, "a", good+good),
		"a private key": set(t, "a", strings.ReplaceAll(good, "PUBLIC", "PRIVATE")), "too long": append(set(t, "a", good), make([]byte, leaks.MaxSigners)...),
	} {
		if s, err := leaks.ParseSigners(text); err == nil {
			t.Errorf("%s is taken: %v", name, s)
		}
	}
}

// K2
func TestParse(t *testing.T) {
	found, err := leaks.Parse([]byte(`[{"token":"a","type":"t","url":"https://example.com/x","source":"commit","new":{}},{"token":"b","type":""}]`))
	if err != nil || len(found) != 2 || found[0] != (leaks.Found{Token: "a", Type: "t", URL: "https://example.com/x", Source: "commit"}) || found[1].Token != "b" {
		t.Errorf("%+v %v", found, err)
	}
	const one = `{"token":"a","type":"t"}`
	many := "[" + strings.Repeat(one+",", leaks.MaxItems-1) + one
	if _, err := leaks.Parse([]byte(many + "]")); err != nil {
		t.Error(err)
	}
	for name, body := range map[string]string{
		"nothing": "", "an object": one, "null": "null", "no items": "[]", "an item of null": "[null]", "no token": `[{"type":"t"}]`, "a number": `[{"token":1,"type":"t"}]`,
		"a member twice": `[{"token":"a","token":"b","type":"t"}]`, "not UTF-8": "[{\"token\":\"\xff\",\"type\":\"t\"}]", "something behind": "[" + one + "] x", "cut": "[" + one,
		"a long type": `[{"token":"a","type":"` + strings.Repeat("t", 101) + `"}]`, "too many": many + "," + one + "]", "too long": "[" + one + "]" + strings.Repeat(" ", leaks.MaxBody),
	} {
		if _, err := leaks.Parse([]byte(body)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for url, want := range map[string]string{
		"https://github.com/a/b/blob/c/d.txt": "https://github.com/a/b/blob/c/d.txt", "https://u:p@example.com/x?token=s#L1": "https://example.com/x#L1",
		"": "", "javascript:x": "", "//example.com": "", "https://example.com/" + strings.Repeat("x", record.MaxLeakWhere): "", "https://": "",
	} {
		f := leaks.Found{URL: url}
		if got := f.Where(); got != want {
			t.Errorf("%s is %q", url, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"token":"a","type":"t","url":"https://example.com/x","source":"commit"}]`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		found, err := leaks.Parse(body)
		if err == nil && (len(found) == 0 || len(found) > leaks.MaxItems || len(body) > leaks.MaxBody) {
			t.Errorf("%d items", len(found))
		}
		for i := range found {
			if len(found[i].Where()) > record.MaxLeakWhere || found[i].Token == "" {
				t.Errorf("%+v", found[i])
			}
		}
	})
}

// K3
func TestAnswer(t *testing.T) {
	f := leaks.Found{Token: "some_token", Type: "some_type", URL: "https://example.com/"}
	for real, want := range map[bool]string{
		true:  `{"token_hash":"9a45520a1213f15016d2d768b5fb3d904492a44ee274b44d4de8803e00fb536a","token_type":"some_type","label":"true_positive"}`,
		false: `{"token_hash":"9a45520a1213f15016d2d768b5fb3d904492a44ee274b44d4de8803e00fb536a","token_type":"some_type","label":"false_positive"}`,
	} {
		got, err := json.Marshal(f.Answer(real))
		if err != nil || string(got) != want || strings.Contains(string(got), "some_token") {
			t.Errorf("%s %v", got, err)
		}
	}
}
