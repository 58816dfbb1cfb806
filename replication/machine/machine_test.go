package machine_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"veto/record"
	"veto/replication/machine"
)

// state is a sorted map.
type state map[string]string

func (s state) Get(k []byte) ([]byte, bool, error) {
	v, ok := s[string(k)]
	return []byte(v), ok, nil
}

func (s state) Put(k, v []byte) error {
	s[string(k)] = string(v)
	return nil
}

func (s state) Delete(k []byte) error {
	delete(s, string(k))
	return nil
}

func (s state) DeleteRange(from, to []byte) error {
	maps.DeleteFunc(s, func(k, _ string) bool { return k >= string(from) && k < string(to) })
	return nil
}

func (s state) Scan(from, to []byte, fn func(k, v []byte) (bool, error)) error {
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if k < string(from) || k >= string(to) {
			continue
		}
		if more, err := fn([]byte(k), []byte(s[k])); err != nil || !more {
			return err
		}
	}
	return nil
}

var stamp = time.Unix(1_800_000_000, 0).UTC()

const iss = "https://issuer.example"

func admin(id string) record.APIKey {
	return record.APIKey{ID: id, Hash: record.KeyHash{1, id[len(id)-1]}, Roles: []record.Role{record.RoleAdmin}}
}

// founded is a state with a cluster, an issuer, a consumer and a key.
func founded(t testing.TB) (state, *record.Revision) {
	t.Helper()
	s, rev := state{}, new(record.Revision)
	for _, b := range []record.Body{
		record.Found{ClusterID: "c", DigestKey: record.DigestKey{1}, Admin: admin("key_a")},
		record.PutIssuer{Issuer: record.Issuer{ID: "one", Issuer: iss, JWKSURI: "https://issuer.example/jwks", MaxLifetime: record.Duration(time.Hour), Leeway: record.Duration(time.Minute)}},
		record.PutConsumer{Consumer: record.Consumer{ID: "shop"}},
		record.CreateKey{Key: record.APIKey{ID: "key_s", Consumer: "shop", Hash: record.KeyHash{9}}},
	} {
		if r := apply(t, s, rev, stamp, b); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
	}
	return s, rev
}

func apply(t testing.TB, s state, rev *record.Revision, at time.Time, b record.Body) record.Result {
	t.Helper()
	return applyCommand(t, s, rev, record.Command{Stamp: at, By: "key_a", Body: b})
}

func applyCommand(t testing.TB, s state, rev *record.Revision, c record.Command) record.Result {
	t.Helper()
	*rev++
	r, _, err := machine.Apply(s, c, *rev)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func revocation(target record.Target, value string) record.Revocation {
	n := record.Name{Target: target, Value: value}
	if target.OfIssuer() {
		n.Issuer = iss
	}
	return record.Revocation{Name: n}
}

// bodies are commands of all kinds, some of them refused.
func bodies() *rapid.Generator[record.Body] {
	id := rapid.SampledFrom([]string{"one", "two"})
	key := rapid.SampledFrom([]string{"key_a", "key_b", "key_s"})
	value := rapid.SampledFrom([]string{"a", "b", ""})
	return rapid.Custom(func(t *rapid.T) record.Body {
		switch rapid.IntRange(0, 18).Draw(t, "kind") {
		case 0:
			return record.PutIssuer{Issuer: record.Issuer{ID: id.Draw(t, "id"), Issuer: iss + value.Draw(t, "iss"), JWKSURI: "https://x.example", MaxLifetime: record.Duration(rapid.IntRange(1, 9).Draw(t, "h")) * record.Duration(time.Hour)}}
		case 1:
			return record.DeleteIssuer{ID: id.Draw(t, "id")}
		case 2:
			return record.PutSigningKeys{Keys: record.SigningKeys{IssuerID: id.Draw(t, "id"), Keys: []record.SigningKey{{KID: value.Draw(t, "kid"), Alg: "ES256", JWK: []byte("{}")}}}}
		case 3:
			return record.PutConsumer{Consumer: record.Consumer{ID: id.Draw(t, "id")}}
		case 4:
			return record.DeleteConsumer{ID: id.Draw(t, "id")}
		case 5:
			return record.CreateKey{Key: admin(key.Draw(t, "key"))}
		case 6:
			disabled := rapid.Bool().Draw(t, "disabled")
			return record.UpdateKey{ID: key.Draw(t, "key"), Disabled: &disabled}
		case 18:
			return record.RaiseLevel{To: record.Level(rapid.IntRange(0, int(record.LevelNewest)).Draw(t, "level"))}
		case 12:
			return record.KeysUsed{Keys: []record.KeyUsed{{ID: key.Draw(t, "key"), At: record.MinuteOf(stamp) - record.Minute(rapid.IntRange(0, 3).Draw(t, "minutes"))}}}
		case 11:
			n := rapid.Byte().Draw(t, "secret")
			return record.RollKey{
				ID: key.Draw(t, "key"), Hash: record.KeyHash{2, n}, Hint: "h", Force: rapid.Bool().Draw(t, "force"),
				Overlap: time.Duration(rapid.IntRange(0, 3).Draw(t, "overlap")) * time.Hour,
			}
		case 7:
			return record.DeleteKey{ID: key.Draw(t, "key")}
		case 8:
			return record.Lift{Digest: record.DigestKey{1}.Digest(revocation(record.TargetJTI, value.Draw(t, "value")).Name), Reason: "r"}
		case 9:
			return record.Expire{Before: record.BucketUntil(stamp) + record.Bucket(rapid.IntRange(0, 9).Draw(t, "bucket"))}
		case 10:
			disabled := rapid.Bool().Draw(t, "disabled")
			return record.UpdateConsumer{ID: id.Draw(t, "id"), Disabled: &disabled, Tags: &[]string{value.Draw(t, "tag")}}
		case 13:
			return record.PutRole{Role: record.DefinedRole{ID: record.Role(id.Draw(t, "id")), Scopes: []string{value.Draw(t, "scope")}}}
		case 14:
			return record.DeleteRole{ID: record.Role(id.Draw(t, "id"))}
		case 16:
			return record.MarkLeaked{Keys: []record.LeakedKey{{ID: key.Draw(t, "key")}, {ID: key.Draw(t, "another")}}}
		case 15:
			return record.UpdateKey{ID: key.Draw(t, "key"), Roles: &[]record.Role{record.Role(id.Draw(t, "id"))}}
		}
		r := revocation(record.Target(rapid.IntRange(1, 9).Draw(t, "target")), value.Draw(t, "value"))
		if r.Dated() && rapid.Bool().Draw(t, "dated") {
			r.NotBefore = stamp
		}
		return record.Revoke{Revocations: []record.Revocation{r, revocation(record.TargetJTI, "fixed")}}
	})
}

// P4: the same log gives the same bytes, whether or not commands crossed the wire.
func TestSameLogSameBytes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, revA := founded(t)
		b, revB := founded(t)
		var one machine.Machine // which remembers
		for n := rapid.IntRange(1, 40).Draw(rt, "n"); n > 0; n-- {
			c := record.Command{Stamp: stamp.Add(time.Duration(n) * time.Minute), By: "key_a", Body: bodies().Draw(rt, "body")}
			wire, err := c.Encode()
			if err != nil {
				rt.Fatal(err)
			}
			again, err := record.DecodeCommand(wire)
			if err != nil {
				rt.Fatal(err)
			}
			ra := applyCommand(t, a, revA, c)
			*revB++
			rb, _, err := one.Apply(b, again, *revB)
			if err != nil {
				rt.Fatal(err)
			}
			if d := cmp.Diff(ra, rb); d != "" {
				rt.Fatal(d)
			}
		}
		if d := cmp.Diff(a, b); d != "" {
			rt.Fatal(d)
		}
	})
}

// M1
func TestRefusedCommandChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, rev := founded(t)
		for range rapid.IntRange(1, 20).Draw(rt, "n") {
			before := maps.Clone(s)
			if r := apply(t, s, rev, stamp, bodies().Draw(rt, "body")); r.Rejection != nil {
				if d := cmp.Diff(before, s); d != "" {
					rt.Fatalf("%s: %s", r.Rejection, d)
				}
			}
		}
	})
}

// P4
func TestNoClockNoRandomness(t *testing.T) {
	packages, err := parser.ParseDir(token.NewFileSet(), ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0) //nolint:staticcheck // one plain package
	if err != nil {
		t.Fatal(err)
	}
	for path, f := range packages["machine"].Files {
		for _, i := range f.Imports {
			if strings.Contains(i.Path.Value, "rand") || strings.Contains(i.Path.Value, `"os"`) || strings.Contains(i.Path.Value, `"net`) {
				t.Errorf("%s imports %s", path, i.Path.Value)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if p, ok := s.X.(*ast.Ident); ok && p.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After"}, s.Sel.Name) {
					t.Errorf("%s reads the clock: time.%s", path, s.Sel.Name)
				}
			}
			return true
		})
	}
}

// P12
func TestRevocationIsKeptLongEnough(t *testing.T) {
	dated := func(target record.Target, at time.Time) record.Revocation {
		r := revocation(target, "v")
		r.NotBefore = at
		return r
	}
	known := revocation(record.TargetJTI, "v")
	known.Expiry = stamp.Add(10 * time.Minute)
	for name, c := range map[string]struct {
		r    record.Revocation
		want time.Time
	}{
		"jti":                     {revocation(record.TargetJTI, "v"), stamp.Add(time.Hour + 2*time.Minute)},
		"jti of a verified token": {known, stamp.Add(11 * time.Minute)},
		"session":                 {revocation(record.TargetSession, "v"), time.Time{}},
		"far in the future":       {dated(record.TargetSubject, time.Date(8999, 12, 31, 23, 59, 59, 0, time.UTC)), time.Date(9000, 1, 1, 1, 1, 59, 0, time.UTC)},
		"subject":                 {revocation(record.TargetSubject, "v"), time.Time{}},
		"subject until now":       {dated(record.TargetSubject, stamp), stamp.Add(time.Hour + 2*time.Minute)},
		"subject until later":     {dated(record.TargetSubject, stamp.Add(time.Hour)), stamp.Add(2*time.Hour + 2*time.Minute)},
		"session until later":     {dated(record.TargetSession, stamp.Add(time.Hour)), stamp.Add(2*time.Hour + 2*time.Minute)},
		"key":                     {revocation(record.TargetKey, "key_s"), time.Time{}},
		"consumer until now":      {record.Revocation{Name: record.Name{Target: record.TargetConsumer, Value: "shop"}, NotBefore: stamp}, time.Time{}},
	} {
		s, rev := founded(t)
		*rev++
		result, changes, err := machine.Apply(s, record.Command{Stamp: stamp, Body: record.Revoke{Revocations: []record.Revocation{c.r}}}, *rev)
		if err != nil || len(changes) != 1 || len(result.Kept) != 1 {
			t.Fatalf("%s: %v %v %v", name, result, changes, err)
		}
		if told, ok := result.Kept[0].Until(); !ok || !told.Equal(c.want) {
			t.Errorf("%s: tells that it is kept until %s, %v, want %s", name, told, ok, c.want)
		}
		if got := changes[0].Record.(*record.Revocation).KeptUntil; !got.Equal(c.want) {
			t.Errorf("%s: kept until %s, want %s", name, got, c.want)
		}
	}
}

// P12: whatever the clock of who leads, if another voter's is right.
func TestClockThatIsBehindKeepsLongEnough(t *testing.T) {
	s, rev := founded(t)
	right := stamp.Add(40 * time.Hour)
	r := applyCommand(t, s, rev, record.Command{
		Stamp: stamp, Ahead: 40 * time.Hour, By: "key_a",
		Body: record.Revoke{Revocations: []record.Revocation{revocation(record.TargetJTI, "j")}},
	})
	if r.Rejection != nil || len(r.Kept) != 1 {
		t.Fatalf("%+v", r)
	}
	if until, told := r.Kept[0].Until(); !told || until.Before(right.Add(time.Hour+2*time.Minute)) {
		t.Errorf("kept until %s, and it is %s", until, right)
	}
}

func TestRaisedLifetimeHoldsOldTokens(t *testing.T) {
	s, rev := founded(t)
	later := stamp.Add(time.Hour)
	raised := record.Issuer{ID: "one", Issuer: iss, JWKSURI: "https://x.example", MaxLifetime: record.Duration(8 * time.Hour)}
	*rev++
	_, changes, err := machine.Apply(s, record.Command{Stamp: later, Body: record.PutIssuer{Issuer: raised}}, *rev)
	if err != nil {
		t.Fatal(err)
	}
	i := changes[0].Record.(*record.Issuer)
	// A token from before the change may have an iat after it, by the leeway.
	settled := later.Add(record.LongestLeeway)
	if i.LifetimeFor(stamp) != time.Hour || i.LifetimeFor(settled.Add(-time.Second)) != time.Hour || i.LifetimeFor(settled) != 8*time.Hour {
		t.Errorf("%s before, %s until it has settled, %s after", i.LifetimeFor(stamp), i.LifetimeFor(settled.Add(-time.Second)), i.LifetimeFor(settled))
	}
}

// M2
func TestRepeatedRequest(t *testing.T) {
	s, rev := founded(t)
	c := record.Command{Stamp: stamp, By: "key_a", Request: record.Request{Key: "k", Sum: [32]byte{1}}, Body: record.PutConsumer{Consumer: record.Consumer{ID: "new"}}}
	first := applyCommand(t, s, rev, c)
	before := maps.Clone(s)
	c.Stamp = stamp.Add(23 * time.Hour)
	second := applyCommand(t, s, rev, c)
	if !second.Repeated || second.Revision != first.Revision || second.Ref != "new" || !maps.Equal(before, s) {
		t.Errorf("%+v, then %+v", first, second)
	}
	c.Request.Sum = [32]byte{2}
	if r := applyCommand(t, s, rev, c); r.Rejection == nil || r.Rejection.Reason != record.ReasonConflict {
		t.Errorf("another request with the same key: %+v", r)
	}
	c.By, c.Request.Sum = "key_b", [32]byte{2}
	if r := applyCommand(t, s, rev, c); r.Repeated || r.Rejection != nil {
		t.Errorf("the same key of another caller: %+v", r)
	}
}

// M2: a leader whose clock is behind comes after midnight.
func TestRepeatedRequestBeforeItWasMade(t *testing.T) {
	s, rev := founded(t)
	apply(t, s, rev, stamp, record.RaiseLevel{To: record.LevelTrail})
	midnight := stamp.Truncate(24 * time.Hour).Add(24 * time.Hour)
	c := record.Command{Stamp: midnight, By: "key_a", Request: record.Request{Key: "k"}, Body: record.PutConsumer{Consumer: record.Consumer{ID: "new"}}}
	first := applyCommand(t, s, rev, c)
	c.Stamp = midnight.Add(-time.Millisecond)
	if r := applyCommand(t, s, rev, c); !r.Repeated || r.Revision != first.Revision {
		t.Errorf("%+v, then %+v", first, r)
	}
}

func TestRevokeIsAllOrNothing(t *testing.T) {
	s, rev := founded(t)
	unknown := revocation(record.TargetJTI, "x")
	unknown.Issuer = "https://nobody.example"
	r := apply(t, s, rev, stamp, record.Revoke{Revocations: []record.Revocation{revocation(record.TargetJTI, "y"), unknown}})
	if r.Rejection == nil || r.Rejection.Reason != record.ReasonNotFound {
		t.Fatalf("%+v", r)
	}
	for k := range s {
		if k[0] == byte(record.TableRevocations) {
			t.Error("a revocation was written")
		}
	}
}

func TestRetiredKeysAreKeptForALifetime(t *testing.T) {
	s, rev := founded(t)
	put := func(at time.Time, kids ...string) []record.SigningKey {
		var keys []record.SigningKey
		for _, kid := range kids {
			keys = append(keys, record.SigningKey{KID: kid, Alg: "ES256", JWK: []byte(`"` + kid + `"`)})
		}
		apply(t, s, rev, at, record.PutSigningKeys{Rules: issuerNow(t, s).Revision, Keys: record.SigningKeys{IssuerID: "one", Keys: keys}})
		var stored record.SigningKeys
		if err := record.Decode([]byte(s[string(record.TableSigningKeys.Key([]byte("one")))]), &stored); err != nil {
			t.Fatal(err)
		}
		return stored.Keys
	}
	put(stamp, "a")
	if k := put(stamp.Add(time.Minute), "b"); len(k) != 2 || k[1].KID != "a" || k[1].Status != record.SigningKeyRetired {
		t.Errorf("%+v", k)
	}
	if k := put(stamp.Add(2*time.Minute), "b", "a"); len(k) != 2 || k[1].Status != record.SigningKeyActive || !k[1].RetiredAt.IsZero() {
		t.Errorf("came back: %+v", k)
	}
	put(stamp.Add(3*time.Minute), "b")
	if k := put(stamp.Add(3*time.Hour), "c"); len(k) != 2 || bytes.Equal(k[1].JWK, []byte(`"a"`)) {
		t.Errorf("after its lifetime: %+v", k)
	}
}

func TestUpdatedConsumerKeepsTheRest(t *testing.T) {
	s, rev := founded(t)
	whole := record.Consumer{ID: "acme", Name: "Acme", Metadata: []byte(`{"plan":"gold"}`), Managers: []record.Person{{Issuer: "corp", Subject: "alice"}}, Tags: []string{"eu"}}
	if r := apply(t, s, rev, stamp, record.PutConsumer{Consumer: whole}); r.Rejection != nil {
		t.Fatal(r.Rejection)
	}
	yes := true
	last := func(body record.Body) record.Consumer {
		t.Helper()
		*rev++
		result, changes, err := machine.Apply(s, record.Command{Stamp: stamp.Add(time.Hour), Body: body}, *rev)
		if err != nil || result.Rejection != nil || len(changes) != 1 {
			t.Fatalf("%+v, %v, %v", result, changes, err)
		}
		return *changes[0].Record.(*record.Consumer)
	}
	want := whole
	want.Disabled, want.CreatedAt, want.Revision = true, stamp, *rev+1
	if diff := cmp.Diff(want, last(record.UpdateConsumer{ID: "acme", Disabled: &yes})); diff != "" {
		t.Error(diff)
	}
	want.Managers, want.Grantable, want.MaxKeys, want.Revision = nil, &record.Grantable{Scopes: []string{"a:*"}}, 5, *rev+1
	keys := want.MaxKeys
	if diff := cmp.Diff(want, last(record.UpdateConsumer{ID: "acme", Managers: &[]record.Person{}, Grantable: want.Grantable, MaxKeys: &keys}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	want.Tags, want.Name, want.Revision = nil, "", *rev+1
	if diff := cmp.Diff(want, last(record.UpdateConsumer{ID: "acme", Name: new(string), Tags: &[]string{}}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []record.UpdateConsumer{{ID: "nobody", Disabled: &yes}, {ID: "acme", Tags: &[]string{"Not A Tag"}}, {ID: "acme", Metadata: []byte("[]")}} {
		if r := apply(t, s, rev, stamp, bad); r.Rejection == nil {
			t.Errorf("%+v was done", bad)
		}
	}
}

// A secret belongs to one key, whoever made it, until that is deleted.
func TestSecretBelongsToOneKey(t *testing.T) {
	s, rev := founded(t)
	again := record.CreateKey{Key: record.APIKey{ID: "key_i", Consumer: "shop", Hash: record.KeyHash{9}, Imported: true}}
	if r := apply(t, s, rev, stamp, again).Rejection; r == nil || r.Reason != record.ReasonDuplicateKey || !strings.Contains(r.Detail, "key_s") {
		t.Errorf("%+v", r)
	}
	other := again
	other.Key.ID, other.Key.Hash = "key_s", record.KeyHash{8}
	if r := apply(t, s, rev, stamp, other).Rejection; r == nil || r.Reason != record.ReasonConflict {
		t.Errorf("%+v", r)
	}
	apply(t, s, rev, stamp, record.DeleteKey{ID: "key_s"})
	if r := apply(t, s, rev, stamp, again).Rejection; r != nil {
		t.Error(r)
	}
}

// M18
func TestLevelOnlyRises(t *testing.T) {
	s, rev := founded(t)
	for _, to := range []record.Level{record.LevelNewest, record.LevelFirst, 0, record.LevelNewest} {
		if r := apply(t, s, rev, stamp, record.RaiseLevel{To: to}); r.Rejection != nil {
			t.Fatal(r.Rejection)
		}
		if l, err := machine.Level(s); l != record.LevelNewest || err != nil {
			t.Fatalf("after %d it is %d, %v", to, l, err)
		}
	}
	c := record.Command{Stamp: stamp, Body: record.RaiseLevel{To: record.LevelNewest + 1}}
	if _, _, err := machine.Apply(s, c, *rev+1); err == nil || !strings.Contains(err.Error(), "start a newer one") {
		t.Errorf("more than is known: %v", err)
	}
}

// P4: what a Machine remembers is what the state has, whatever it is that changes it.
func TestMachineForgetsWhatChanges(t *testing.T) {
	m, remembering, fresh := new(machine.Machine), state{}, state{}
	issuer := record.Issuer{ID: "one", Issuer: iss, JWKSURI: "https://issuer.example/jwks", MaxLifetime: record.Duration(time.Hour)}
	longer := issuer
	longer.MaxLifetime = record.Duration(20 * time.Hour)
	founding := record.Found{ClusterID: "c", DigestKey: record.DigestKey{1}, Admin: admin("key_a")}
	revoke := func(value string) record.Revoke {
		return record.Revoke{Revocations: []record.Revocation{revocation(record.TargetJTI, value)}}
	}
	for n, b := range []record.Body{
		founding,
		record.PutIssuer{Issuer: issuer},
		revoke("a"), founding,
		record.PutIssuer{Issuer: longer},
		revoke("b"),
		record.DeleteIssuer{ID: "one"},
		revoke("c"),
		record.PutIssuer{Issuer: issuer},
		revoke("d"),
	} {
		c := record.Command{Stamp: stamp, By: "key_a", Body: b}
		got, _, err := m.Apply(remembering, c, record.Revision(n+1))
		want, _, errFresh := machine.Apply(fresh, c, record.Revision(n+1))
		if err != nil || errFresh != nil || !reflect.DeepEqual(got, want) || !maps.Equal(remembering, fresh) {
			t.Errorf("%d, %T: %+v, want %+v (%v, %v)", n, b, got, want, err, errFresh)
		}
	}
}
