package machine_test

import (
	"testing"
	"time"

	"veto/record"
)

// M3
func TestLastAdminStays(t *testing.T) {
	s, rev := founded(t)
	disabled, past := true, stamp.Add(-time.Hour)
	conflicts := func(bodies ...record.Body) {
		t.Helper()
		for _, b := range bodies {
			if r := apply(t, s, rev, stamp, b); r.Rejection == nil || r.Rejection.Reason != record.ReasonConflict {
				t.Errorf("%#v: %+v", b, r)
			}
		}
	}
	revoke := func(ids ...string) record.Body {
		var all []record.Revocation
		for _, id := range ids {
			all = append(all, revocation(record.TargetKey, id))
		}
		return record.Revoke{Revocations: all}
	}
	conflicts(record.DeleteKey{ID: "key_a"}, record.UpdateKey{ID: "key_a", Disabled: &disabled},
		record.UpdateKey{ID: "key_a", ExpiresAt: &past}, revoke("key_a"), revoke("key_s", "key_a"))
	apply(t, s, rev, stamp, record.CreateKey{Key: admin("key_b")})
	conflicts(revoke("key_a", "key_b"), revoke("key_b", "key_a"))
	if r := apply(t, s, rev, stamp, revoke("key_b")); r.Rejection != nil {
		t.Error(r.Rejection)
	}
	// A revoked key is no admin's any more.
	conflicts(record.DeleteKey{ID: "key_a"}, revoke("key_a"))
	digest := record.DigestKey{1}.Digest(revocation(record.TargetKey, "key_b").Name)
	if r := apply(t, s, rev, stamp, record.Lift{Digest: digest, Reason: "a mistake"}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	if r := apply(t, s, rev, stamp, record.DeleteKey{ID: "key_a"}); r.Rejection != nil {
		t.Error(r.Rejection)
	}
}
