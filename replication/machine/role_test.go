package machine_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"veto/record"
)

func reader(scopes ...string) record.PutRole {
	return record.PutRole{Role: record.DefinedRole{ID: "reader", Scopes: scopes}}
}

func refusedWith(t *testing.T, r record.Result, want record.Reason, says string) {
	t.Helper()
	if r.Rejection == nil || r.Rejection.Reason != want || !strings.Contains(r.Rejection.Detail, says) {
		t.Errorf("%+v, want %v with %q", r.Rejection, want, says)
	}
}

// M12
func TestRolesOfKeys(t *testing.T) {
	s, rev := founded(t)
	key := func(id string, roles ...record.Role) record.CreateKey {
		return record.CreateKey{Key: record.APIKey{ID: id, Consumer: "shop", Hash: record.KeyHash{7, id[len(id)-1]}, Roles: roles}}
	}
	before := maps.Clone(s)
	refusedWith(t, apply(t, s, rev, stamp, key("key_1", "reader")), record.ReasonUnknownRole, "reader")
	if d := cmp.Diff(before, s); d != "" {
		t.Error("a refused key left something behind: " + d)
	}
	for _, b := range []record.Body{reader("orders:read"), key("key_1", "reader")} {
		if r := apply(t, s, rev, stamp, b); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
	}
	refusedWith(t, apply(t, s, rev, stamp, record.UpdateKey{ID: "key_1", Roles: &[]record.Role{"reader", "writer"}}), record.ReasonUnknownRole, "writer")
	refusedWith(t, apply(t, s, rev, stamp, record.UpdateKey{ID: "key_1", Roles: &[]record.Role{record.RoleAdmin}}), record.ReasonInvalid, "Veto's own")
	refusedWith(t, apply(t, s, rev, stamp, record.UpdateKey{ID: "key_a", Roles: &[]record.Role{record.RoleAuditor}}), record.ReasonConflict, "keeps its roles")
	if r := apply(t, s, rev, stamp, reader("orders:read", "orders:list")); r.Rejection != nil || r.Ref != "reader" {
		t.Errorf("%+v", r)
	}
}

// M12
func TestRoleStaysWhileKeysHaveIt(t *testing.T) {
	s, rev := founded(t)
	do := func(bodies ...record.Body) {
		t.Helper()
		for _, b := range bodies {
			if r := apply(t, s, rev, stamp, b); r.Rejection != nil {
				t.Fatal(r.Rejection)
			}
		}
	}
	do(reader("a"), record.PutConsumer{Consumer: record.Consumer{ID: "till"}})
	for i := range byte(3) {
		do(record.CreateKey{Key: record.APIKey{ID: fmt.Sprintf("key_%d", i), Consumer: "till", Hash: record.KeyHash{8, i}, Roles: []record.Role{"reader"}}})
	}
	remove := record.DeleteRole{ID: "reader"}
	refusedWith(t, apply(t, s, rev, stamp, remove), record.ReasonConflict, "keys: 3;")
	do(record.UpdateKey{ID: "key_0", Roles: &[]record.Role{}}, record.DeleteKey{ID: "key_1"})
	refusedWith(t, apply(t, s, rev, stamp, remove), record.ReasonConflict, "keys: 1;")
	do(record.DeleteConsumer{ID: "till"}, remove)
	refusedWith(t, apply(t, s, rev, stamp, remove), record.ReasonNotFound, "reader")
}

// M12: whatever is done, each key is listed under its roles and under no other, and these are there.
func TestRolesAndKeysAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, rev := founded(t)
		for range rapid.IntRange(1, 40).Draw(rt, "n") {
			apply(t, s, rev, stamp, bodies().Draw(rt, "body"))
		}
		var want, got []string
		for k, v := range s {
			switch record.Table(k[0]) {
			case record.TableKeys:
				var key record.APIKey
				if err := record.Decode([]byte(v), &key); err != nil {
					rt.Fatal(err)
				}
				for _, r := range key.Roles {
					if key.Consumer == "" {
						continue
					}
					want = append(want, string(r)+"\x00"+key.ID)
					if _, ok := s[string(record.TableRoles.Key([]byte(r)))]; !ok {
						rt.Fatalf("%s has role %s, which is not there", key.ID, r)
					}
				}
			case record.TableRoleKeys:
				got = append(got, k[1:])
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatal(d)
		}
	})
}
