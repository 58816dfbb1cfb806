package replication

import (
	"slices"
	"testing"

	"veto/record"
)

// P5 and P3: a role is what it was made last, for every key that has it, at the revision that says so;
// also after a start and on a node that was given the state.
func TestRolesOfKeysAreInForce(t *testing.T) {
	p := newParts(t)
	role := func(at uint64, scopes ...string) {
		t.Helper()
		p.must(t, entry(t, at, record.PutRole{Role: record.DefinedRole{ID: "zreader", Scopes: scopes}}))
	}
	granted := func(where string, p *parts, want ...string) {
		t.Helper()
		k, _, ok := p.view.APIKey(record.KeyHash{2}, new(record.KeyRoom))
		if !ok || !slices.Equal(k.AllScopes(), want) {
			t.Errorf("%s: %+v is granted %q, want %q", where, k, k.AllScopes(), want)
		}
	}
	p.must(t, founding(t, 1), entry(t, 2, record.PutConsumer{Consumer: record.Consumer{ID: "shop"}}))
	role(3, "a", "b")
	p.must(t, entry(t, 4, record.CreateKey{Key: record.APIKey{ID: "key_b", Consumer: "shop", Hash: record.KeyHash{2}, Scopes: []string{"own"}, Roles: []record.Role{"zreader"}}}))
	granted("made", p, "own", "a", "b")
	role(5, "c")
	granted("changed", p, "own", "c")
	if err := p.load(); err != nil {
		t.Fatal(err)
	}
	granted("started", p, "own", "c")
	other := newParts(t)
	if err := other.Restore(streamOf(t, p.store)); err != nil {
		t.Fatal(err)
	}
	granted("restored", other, "own", "c")
	r, ok, err := other.view.Role("zreader")
	if all, _, errAll := other.view.Roles("", 10); err != nil || errAll != nil || !ok || len(all) != 1 || !slices.Equal(r.Scopes, []string{"c"}) || r.Revision != 5 {
		t.Errorf("%+v %v %v %v", r, all, err, errAll)
	}
	p.must(t, entry(t, 6, record.UpdateKey{ID: "key_b", Roles: &[]record.Role{}}), entry(t, 7, record.DeleteRole{ID: "zreader"}))
	granted("taken away", p, "own")
}
