package record_test

import (
	"regexp"
	"testing"
	"time"

	"veto/record"
)

// What is wrong is said in words that fit each target.
func TestTargetsInSentences(t *testing.T) {
	for _, name := range record.TargetNames() {
		var target record.Target
		if err := target.UnmarshalText([]byte(name)); err != nil {
			t.Fatal(err)
		}
		for _, n := range []record.Name{
			{Target: target},
			{Target: target, Issuer: "i"},
			{Target: target, Value: "v"},
			{Target: target, Issuer: "i", Value: "v"},
			{Target: target, Issuer: "i", Value: "v", And: []record.Part{{Target: target, Value: "v"}}},
			{Target: target, Issuer: "i", And: []record.Part{{Target: target, Value: "v"}}},
			{Target: record.TargetSubject, Issuer: "i", Value: "v", And: []record.Part{{Target: target, Value: "v"}}},
		} {
			r := record.Revocation{Name: n, NotBefore: time.Unix(1_800_000_000, 0)}
			if err := r.Check(); err != nil && regexp.MustCompile(`\ba [aeio]`).MatchString(err.Error()) {
				t.Errorf("%+v: %v", n, err)
			}
		}
	}
}
