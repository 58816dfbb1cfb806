package record

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"veto/record/limit"
)

func keyWithAll() APIKey {
	at := time.Date(2027, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	return APIKey{
		ID: "key_1", Consumer: "shop", Name: "till", Hash: KeyHash{1, 2, 3}, Hint: "veto_live_…abcd", Scopes: []string{"orders:*", "stock:read"},
		Roles: []Role{"clerk"}, Metadata: json.RawMessage(`{"a":1}`), ExpiresAt: at, Disabled: true, CreatedAt: at, Revision: 70_000, Created: 300,
		Environment: "live", Chain: Chain{From: 1, To: 2}, Imported: true, RolledAt: at, Rolled: 1 << 40,
		Limits:   &limit.Limits{Rate: limit.Rate{Requests: 5, Seconds: 1}, Burst: 7},
		Rotating: &Rotating{Hash: KeyHash{4}, Hint: "veto_live_…efgh", Until: at, Chain: Chain{To: 1}},
	}
}

// R6
func FuzzDecodeKey(f *testing.F) {
	operator := APIKey{ID: "key_2", Roles: []Role{RoleRevoker}, Issuers: []string{"https://one.example"}, Leak: &Leak{By: "key_1"}}
	for _, k := range []APIKey{{}, keyWithAll(), operator} {
		b, err := Encode(&k)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, odd := range []map[int]any{
		{1: "a hash that is too long", 4: make([]byte, 33)},
		{1: "a chain that is too great", 16: []uint64{1 << 33, 0}},
		{1: "too many scopes", 6: make([]string, maxItems+1)},
		{1: "no text", 2: 7},
		{1: "no time", 9: "yesterday"},
	} {
		b, err := Encode(odd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\xa2\x01\x61a\x01\x61b")) // a field twice
	f.Fuzz(func(t *testing.T, b []byte) {
		want, got := APIKey{}, keyWithAll()
		wrong, err := Decode(b, &want), DecodeKey(string(b), &got)
		if (wrong == nil) != (err == nil) {
			t.Fatalf("%v, and of Decode %v", err, wrong)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(Chain{}, Uses{})); wrong == nil && diff != "" {
			t.Fatal(diff)
		}
	})
}

// A field that is added is to be read here, too: the record of a consumer's key that has not leaked is never
// left to Decode.
func TestKeysAreDecodedFast(t *testing.T) {
	k := keyWithAll()
	b, err := Encode(&k)
	if err != nil {
		t.Fatal(err)
	}
	if r := (items{rest: string(b)}); !r.key(new(APIKey)) {
		t.Errorf("left to Decode, from %x on", r.rest)
	}
}

// R6
func FuzzDecodeImport(f *testing.F) {
	whole := Import{
		First: 3, Alike: []Revocation{{Name: Name{Target: TargetJTI, Issuer: "i"}, Reason: "r"}},
		Items: []ImportItem{{Value: "a"}, {Alike: -1}, {Alike: 70000, Value: "b"}}, Sums: make([]byte, 4*SumLength),
	}
	for _, v := range []any{
		whole,
		Import{},
		Import{Items: []ImportItem{}},
		map[int]any{1: 1, 9: "a field that came later"},
		map[int]any{2: []any{map[int]any{99: "one within"}}},
		map[int]any{3: []any{[]any{1}}},
		map[int]any{3: []any{[]any{uint64(1) << 63, "a"}}},
		map[int]any{3: []any{[]any{-1 << 40, "a"}}},
		map[int]any{3: make([]any, maxItems+1)},
	} {
		b, err := Encode(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wrong := decodeAs[Import](b)
		got, err := decodeImport(b)
		if (wrong == nil) != (err == nil) || wrong != nil && wrong.Error() != err.Error() {
			t.Fatalf("%v, and of Decode %v", err, wrong)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(ImportItem{})); wrong == nil && diff != "" {
			t.Fatal(diff)
		}
	})
	b, err := Encode(whole)
	if err != nil {
		f.Fatal(err)
	}
	if r := (items{rest: string(b)}); f.Failed() || !imports(&r) {
		f.Errorf("left to Decode, from %x on", r.rest)
	}
}

func imports(r *items) bool {
	_, ok := r.imported()
	return ok
}

func BenchmarkDecodeKey(b *testing.B) {
	k := APIKey{
		ID: "key_01m8f94zqwh48pkerhv2ab3eya", Consumer: "shop", Hint: "veto_live_…abcd", Scopes: []string{"orders:*", "stock:read"},
		CreatedAt: time.Unix(1_800_000_000, 0), Environment: "live", Revision: 5, Created: 5, Chain: Chain{To: 1},
	}
	raw, err := Encode(&k)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := DecodeKey(string(raw), &k); err != nil {
			b.Fatal(err)
		}
	}
}
