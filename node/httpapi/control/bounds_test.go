package control_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"veto/node/httpapi/data"
	"veto/node/intake"
	"veto/record"
	"veto/record/limit"
)

// bounded are, by the name of a member, those who refuse what is above its bound, whatever way it came. Where a name has
// several bounds, the schema is named as well.
func bounded() map[string][]func(n int) error {
	text := func(n int) string { return strings.Repeat("a", n) }
	each := func(n int, form string) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf(form, i))
		}
		return all
	}
	consumer := func(set func(c *record.Consumer, n int)) func(int) error {
		return func(n int) error {
			c := record.Consumer{ID: "c"}
			set(&c, n)
			return c.Check()
		}
	}
	key := func(set func(k *record.APIKey, n int)) func(int) error {
		return func(n int) error {
			k := record.APIKey{ID: "key_1", Hash: record.KeyHash{1}, Consumer: "c"}
			set(&k, n)
			return k.Check()
		}
	}
	parse := func(form func(n int) string) func(int) error {
		return func(n int) error {
			_, err := intake.Parse([]byte(form(n)))
			return err
		}
	}
	atMost := func(most int) func(int) error {
		return func(n int) error {
			if n > most {
				return fmt.Errorf("at most %d", most)
			}
			return nil
		}
	}
	return map[string][]func(n int) error{
		"name": {
			consumer(func(c *record.Consumer, n int) { c.Name = text(n) }), key(func(k *record.APIKey, n int) { k.Name = text(n) }),
			func(n int) error { return (&record.DefinedRole{ID: "r", Name: text(n)}).Check() },
		},
		"tags": {consumer(func(c *record.Consumer, n int) { c.Tags = each(n, "t%d") })},
		"managers": {consumer(func(c *record.Consumer, n int) {
			for _, s := range each(n, "s%d") {
				c.Managers = append(c.Managers, record.Person{Issuer: "i", Subject: s})
			}
		})},
		"max_keys": {consumer(func(c *record.Consumer, n int) { c.MaxKeys = uint32(n) })},
		"roles": {key(func(k *record.APIKey, n int) {
			for _, r := range each(n, "r%d") {
				k.Roles = append(k.Roles, record.Role(r))
			}
		})},
		"hint": {key(func(k *record.APIKey, n int) { k.Imported, k.Hint = true, text(n) })},
		"burst": {func(n int) error {
			return (&limit.Limits{Rate: limit.Rate{Requests: 1, Seconds: 1}, Burst: uint32(n)}).Check()
		}},
		"reason": {func(n int) error {
			return (&record.Revocation{Name: record.Name{Target: record.TargetConsumer, Value: "c"}, Reason: text(n)}).Check()
		}},
		"token": {parse(func(n int) string { return `{"token":"` + text(n) + `"}` })},
		"and": {parse(func(n int) string {
			return `{"and":[` + strings.Join(each(n, `{"target":"client","value":"%d"}`), ",") + `]}`
		})},
		"Put-roleRequest.scopes": {func(n int) error { return (&record.DefinedRole{ID: "r", Scopes: each(n, "s%d")}).Check() }},
		"cost":                   {atMost(limit.MaxCost)},
		"requests":               {atMost(data.MaxBatch)},
		"Question.scopes":        {atMost(data.MaxScopes)},
	}
}

// noOther is of a bound that is the description's alone; a shared secret's is of its bytes, and that of its text somewhat wider.
func noOther() []func(int) error { return []func(int) error{} }

// The description says the bounds that hold everywhere: what it allows is taken, and no more.
func TestDescribedBoundsAreThoseThatHold(t *testing.T) {
	type bounds struct {
		MaxLength *int `json:"maxLength"`
		MaxItems  *int `json:"maxItems"`
		Maximum   *int `json:"maximum"`
	}
	held, seen := bounded(), map[string]bool{}
	held["Found.type"], held["Rules.shared_secret"] = noOther(), noOther()
	for name, raw := range describedBy(open(t)).Components.Schemas {
		var schema struct {
			Properties map[string]bounds `json:"properties"`
		}
		if err := json.Unmarshal(raw, &schema); err != nil {
			t.Fatal(name, err)
		}
		for member, b := range schema.Properties {
			for _, most := range []*int{b.MaxLength, b.MaxItems, b.Maximum} {
				if most == nil {
					continue
				}
				at := member
				if held[at] == nil {
					at = name + "." + member
				}
				seen[at] = true
				for i, fits := range held[at] {
					if below, above := fits(*most), fits(*most+1); below != nil || above == nil {
						t.Errorf("%s of %s is described to end at %d; the %d. of those who hold it says of that %v, and of one more %v", member, name, *most, i+1, below, above)
					}
				}
				if held[at] == nil {
					t.Errorf("nobody holds the bound of %s", at)
				}
			}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(held)) {
		if !seen[at] {
			t.Errorf("%s has no described bound", at)
		}
	}
}
