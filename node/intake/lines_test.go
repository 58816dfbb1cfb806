package intake_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"veto/node/intake"
	"veto/record"
)

// likeLines are pairs of lines of which the second has something that is not as it seems.
var likeLines = [][2]string{
	{`{"target":"jti","issuer":"i","value":"a"}`, `{"target":"jti","issuer":"i","value":"b"}`},
	{`{"target":"jti","issuer":"i","value": "a", "reason":"r"}`, `{"target":"jti","issuer":"i","value": "b c", "reason":"r"}`},
	{`{"target":"jti","issuer":"i","value":"a"}`, `{"target":"jti","issuer":"i","value":""}`},
	{`{"target":"jti","issuer":"i","value":"a"}`, `{"target":"jti","issuer":"i","value":"b","value":"c"}`},
	{`{"target":"jti","issuer":"i","value":"a"}`, `{"target":"jti","issuer":"i","value":"b\"}`},
	{`{"target":"jti","issuer":"i","value":"a"}`, `{"target":"jti","issuer":"i","value":"\u0062"}`},
	{`{"target":"jti","issuer":"i","value":"a"}`, `{"target":"jti","issuer":"i","value":"ü"}`},
	{`{"target":"jti","issuer":"i","value":"a"}`, "{\"target\":\"jti\",\"issuer\":\"i\",\"value\":\"\xff\"}"},
	{`{"target":"jti","issuer":"i","value":"a"}`, "{\"target\":\"jti\",\"issuer\":\"i\",\"value\":\"\t\"}"},
	{`{"target":"jti","issuer":"i","value":"a"}`, `{"target":"jti","issuer":"i","value":"eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiJ4In0.c2ln"}`},
	{`{"target":"jti","issuer":"i","value":":"}`, `{"target":"jti","issuer":"i","value"x"}`},
	{`{"target":"jti","issuer":"i","value":",","reason":"r"}`, `{"target":"jti","issuer":"i","value"x"reason":"r"}`},
	{`{"reason":"value","target":"jti","issuer":"i","value":"a"}`, `{"reason":"other","target":"jti","issuer":"i","value":"a"}`},
	{`{"value":"\u0061","reason":"a","target":"jti","issuer":"i"}`, `{"value":"\u0061","reason":"b","target":"jti","issuer":"i"}`},
	{`{"target":"subject","issuer":"i","value":"a","and":[{"target":"client","value":"b"}]}`, `{"target":"subject","issuer":"i","value":"a","and":[{"target":"client","value":"c"}]}`},
	{`{"target":"subject","issuer":"i","and":[{"value":"b","target":"client"}],"value":"b"}`, `{"target":"subject","issuer":"i","and":[{"value":"c","target":"client"}],"value":"b"}`},
	{`{"target":"issuer","issuer":"i","value":""}`, `{"target":"issuer","issuer":"i","value":"x"}`},
	{`{"target":"key","value":"k"}`, `{"target":"key","value":"other"}`},
	{`{"target":"issuer","issuer":"i"}`, `{"target":"issuer","issuer":"j"}`},
}

// I8
func FuzzLines(f *testing.F) {
	for _, l := range likeLines {
		f.Add(l[0], l[1])
	}
	x := intake.New(intake.Config{Owners: noKeys{}})
	by := &record.APIKey{ID: "key_a", Consumers: []string{"c"}, Issuers: []string{"i"}}
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := x.Lines(by)
		for _, line := range []string{first, second, first} {
			b, wantErr := intake.Parse([]byte(line))
			if b.Token != "" {
				return
			}
			got, err := lines.Named([]byte(line))
			var want record.Revocation
			if wantErr == nil {
				want, wantErr = x.Named(by, b)
			}
			if (err == nil) != (wantErr == nil) || err == nil && !cmp.Equal(got, want) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("%s after %s: %+v, %v; alone: %+v, %v", line, first, got, err, want, wantErr)
			}
		}
	})
}

// noKeys knows no key.
type noKeys struct{}

func (noKeys) Key(string) (record.APIKey, bool, error) { return record.APIKey{}, false, nil }
