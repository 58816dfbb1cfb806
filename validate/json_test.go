package validate_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record"
	"veto/validate"
)

// V7
func TestAppendJSON(t *testing.T) {
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.String().Draw(t, name) }
		v := validate.Verdict{
			Outcome: validate.Outcome(rapid.IntRange(0, 2).Draw(t, "outcome")), Code: validate.Revoked, Kind: validate.JWT,
			Issuer: text("issuer"), Subject: text("subject"), Client: text("client"), Consumer: text("consumer"), KeyID: text("key"), Rotating: rapid.Bool().Draw(t, "rotating"),
			Scopes: rapid.SliceOf(rapid.String()).Draw(t, "scopes"), Revision: record.Revision(rapid.Uint64().Draw(t, "revision")),
		}
		if rapid.Bool().Draw(t, "more") {
			v.MissingScopes = rapid.SliceOf(rapid.String()).Draw(t, "missing")
			v.Claims, v.Metadata = validate.JSON(`{"a":[1,"\u00e9"]}`), json.RawMessage(`{"plan":"gold"}`)
			v.ExpiresAt, v.AsOf = when.Draw(t, "expires"), when.Draw(t, "as of")
			v.Revocation = &validate.Denial{ID: text("id"), Target: record.TargetSession, Reason: text("reason"), Revision: record.Revision(rapid.Uint64().Draw(t, "at"))}
			if v.Revocation.ID == "" {
				v.Revocation.ID = "rev_1"
			}
			v.RateLimit = validate.RateUse{Limit: rapid.Uint32Range(0, 2).Draw(t, "limit"), Burst: 3, Remaining: rapid.Uint32().Draw(t, "remaining"), RetryAfter: rapid.Uint32Range(0, 2).Draw(t, "retry")}
			v.Quota = validate.QuotaUse{Limit: rapid.Uint64().Draw(t, "quota"), Reset: 5}
			v.Checks = []validate.Finding{{Check: "form", Result: "pass", Detail: text("detail")}, {Check: "expiry", Result: "fail", Code: validate.Expired}}
		}
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		got := v.AppendJSON([]byte("x"))[1:]
		if err := json.Unmarshal(got, &a); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if err := json.Unmarshal(want, &b); err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%s\nand encoding/json writes\n%s", got, want)
		}
	})
}
