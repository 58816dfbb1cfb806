package grants

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"veto/record"
)

// keeper remembers what its keys have, as whoever keeps keys does.
type keeper struct {
	*Grants
	has map[string]uint32
}

func newKeeper() *keeper { return &keeper{New(), map[string]uint32{}} }

// Key takes in a key, or that it is gone, and fills in what it is granted.
func (g *keeper) Key(k *record.APIKey, gone bool) {
	before, there := g.has[k.ID]
	if delete(g.has, k.ID); !gone {
		g.has[k.ID] = g.Take(k)
		k.Granted = g.At(g.has[k.ID]).Granted
	}
	if there {
		g.Drop(before)
	}
	g.Settle()
}

func key(id string, scopes []string, roles ...record.Role) *record.APIKey {
	return &record.APIKey{ID: id, Consumer: "shop", Scopes: scopes, Roles: roles}
}

// G1, G3
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newKeeper()
		roles, keys := map[record.Role][]string{}, map[string]*record.APIKey{}
		role := rapid.SampledFrom([]record.Role{"a", "b", "c"})
		scopes := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z", "a", "b"}), 0, 3, rapid.ID)
		id := rapid.SampledFrom([]string{"key_1", "key_2", "key_3"})
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			gone := rapid.IntRange(0, 3).Draw(t, "gone") == 0
			if rapid.Bool().Draw(t, "a role") {
				r := &record.DefinedRole{ID: role.Draw(t, "role"), Scopes: scopes.Draw(t, "scopes")}
				g.Role(r, gone)
				if roles[r.ID] = r.Scopes; gone {
					delete(roles, r.ID)
				}
			} else {
				k := key(id.Draw(t, "key"), scopes.Draw(t, "own"), rapid.SliceOfNDistinct(role, 0, 3, rapid.ID).Draw(t, "roles")...)
				g.Key(k, gone)
				if keys[k.ID] = k; gone {
					delete(keys, k.ID)
				}
			}
			different := map[string]bool{}
			for _, k := range keys {
				want := slices.Clone(k.Scopes)
				for _, r := range k.Roles {
					want = append(want, roles[r]...)
				}
				got := slices.Clone(k.AllScopes())
				slices.Sort(want)
				slices.Sort(got)
				if want = slices.Compact(want); !slices.Equal(got, want) {
					t.Fatalf("%s is granted %q, want %q", k.ID, got, want)
				}
				different[fmt.Sprint(k.Roles, k.Scopes)] = true
			}
			if len(g.sets) != len(different) {
				t.Fatalf("%d sets for %d different", len(g.sets), len(different))
			}
		}
	})
}

// G3
func TestNothingIsLeft(t *testing.T) {
	g := newKeeper()
	r := &record.DefinedRole{ID: "a", Scopes: []string{"x"}}
	g.Role(r, false)
	for range 3 { // made, and changed to the same
		g.Key(key("key_1", []string{"y"}, "a", "b"), false)
	}
	g.Key(key("key_1", nil, "a"), false)
	g.Key(key("key_2", nil, "a"), false)
	g.Key(key("key_1", nil), true)
	g.Key(key("key_2", nil, "a"), true)
	g.Role(r, true)
	if len(g.roles)+len(g.sets)+len(g.by) != 0 {
		t.Errorf("%+v", g)
	}
	for number := range *g.shown.Load() {
		if g.At(uint32(number)) != nil {
			t.Errorf("the set %d is kept", number)
		}
	}
	if len(g.free) != len(*g.shown.Load()) {
		t.Errorf("%d of %d numbers are free", len(g.free), len(*g.shown.Load()))
	}
}

// An operator's roles are Veto's own and bring no scopes, whatever is defined.
func TestOperatorsAreGrantedNothing(t *testing.T) {
	g := newKeeper()
	g.Role(&record.DefinedRole{ID: record.RoleAdmin, Scopes: []string{"x"}}, false)
	k := &record.APIKey{ID: "key_1", Roles: []record.Role{record.RoleAdmin}}
	if g.Key(k, false); len(k.AllScopes()) != 0 {
		t.Errorf("%q", k.AllScopes())
	}
}

// G2
func TestReadersSeeOneState(t *testing.T) {
	g := newKeeper()
	set := func(n int) {
		r := &record.DefinedRole{ID: "a"}
		for i := range 20 {
			r.Scopes = append(r.Scopes, fmt.Sprintf("%d-%d", n, i))
		}
		g.Role(r, false)
	}
	set(0)
	k := key("key_1", []string{"own"}, "a")
	g.Key(k, false)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				all := k.AllScopes()
				var n, m, i int
				_, err := fmt.Sscanf(all[1]+" "+all[20], "%d-%d %d-19", &n, &i, &m)
				if len(all) != 21 || all[0] != "own" || err != nil || n != m {
					t.Errorf("%q", all)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := range 500 {
		set(n)
	}
	close(done)
	wg.Wait()
}

// BenchmarkRole is what a change of a role costs that 100,000 keys have, all with the same scopes of
// their own, and each with others.
func BenchmarkRole(b *testing.B) {
	r := &record.DefinedRole{ID: "a"}
	for i := range 20 {
		r.Scopes = append(r.Scopes, fmt.Sprintf("orders:%d", i))
	}
	for name, own := range map[string]func(int) []string{
		"same": func(int) []string { return []string{"own"} }, "different": func(i int) []string { return []string{fmt.Sprint("own:", i)} },
	} {
		b.Run(name, func(b *testing.B) {
			g := newKeeper()
			for i := range 100_000 {
				g.Key(key(fmt.Sprint("key_", i), own(i), "a"), false)
			}
			b.ReportAllocs()
			for b.Loop() {
				g.Role(r, false)
			}
		})
	}
}

// G1: also when there are so many that they are not looked through one by one.
func TestManyScopes(t *testing.T) {
	g := newKeeper()
	for role, from := range map[record.Role]int{"a": 0, "b": few} {
		r := &record.DefinedRole{ID: role}
		for i := range 2 * few {
			r.Scopes = append(r.Scopes, fmt.Sprint(from+i))
		}
		g.Role(r, false)
	}
	k := key("key_1", []string{"1", "own"}, "a", "b")
	g.Key(k, false)
	got := slices.Sorted(slices.Values(k.AllScopes()))
	if len(slices.Compact(got)) != 3*few+1 || len(k.AllScopes()) != 3*few+1 {
		t.Errorf("%d scopes: %q", len(k.AllScopes()), k.AllScopes())
	}
}
