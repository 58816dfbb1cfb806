package record_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"veto/record"
)

// A consumer of an older cluster, with managers of no issuer, still loads; nobody is its manager.
func TestConsumerOfAnOlderClusterLoads(t *testing.T) {
	old, err := record.Encode(map[int]any{1: "acme", 2: "Acme", 4: []string{"alice"}, 6: 7, 7: []string{"eu"}})
	if err != nil {
		t.Fatal(err)
	}
	var c record.Consumer
	if err := record.Decode(old, &c); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(record.Consumer{ID: "acme", Name: "Acme", Revision: 7, Tags: []string{"eu"}, Former: []string{"alice"}}, c); d != "" || c.KeysAtMost() != 100 {
		t.Error(d)
	}
}

func TestManagers(t *testing.T) {
	alice := record.Person{Issuer: "corp", Subject: "alice"}
	many := make([]record.Person, 101)
	for i := range many {
		many[i] = record.Person{Issuer: "corp", Subject: strings.Repeat("x", i+1)}
	}
	for name, c := range map[string]struct {
		consumer record.Consumer
		bad      bool
	}{
		"none":               {record.Consumer{}, false},
		"a hundred":          {record.Consumer{Managers: many[:100], MaxKeys: 10_000}, false},
		"too many":           {record.Consumer{Managers: many}, true},
		"one of no issuer":   {record.Consumer{Managers: []record.Person{{Subject: "alice"}}}, true},
		"one of an iss":      {record.Consumer{Managers: []record.Person{{Issuer: "https://corp.example", Subject: "alice"}}}, true},
		"nobody":             {record.Consumer{Managers: []record.Person{{Issuer: "corp"}}}, true},
		"too long a subject": {record.Consumer{Managers: []record.Person{{Issuer: "corp", Subject: strings.Repeat("x", 256)}}}, true},
		"one twice":          {record.Consumer{Managers: []record.Person{alice, alice}}, true},
		"too many keys":      {record.Consumer{MaxKeys: 10_001}, true},
		"grantable":          {record.Consumer{Grantable: &record.Grantable{Scopes: []string{"a:*"}, Roles: []record.Role{"reader"}}}, false},
		"Veto's own role":    {record.Consumer{Grantable: &record.Grantable{Roles: []record.Role{"admin"}}}, true},
		"no scope":           {record.Consumer{Grantable: &record.Grantable{Scopes: []string{"a*"}}}, true},
	} {
		c.consumer.ID = "acme"
		if err := c.consumer.Check(); (err != nil) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := record.Consumer{Managers: []record.Person{alice}}
	if !c.IsManager(alice) || c.IsManager(record.Person{Issuer: "other", Subject: "alice"}) || c.IsManager(record.Person{}) {
		t.Error("managers are not told apart")
	}
}

func TestGrantable(t *testing.T) {
	g := &record.Grantable{Scopes: []string{"orders:*", "users:read"}, Roles: []record.Role{"reader"}}
	for _, c := range []struct {
		scopes string
		roles  []record.Role
		of     *record.Grantable
		want   bool
	}{
		{"", nil, nil, true},
		{"users:read", nil, nil, false},
		{"", []record.Role{"reader"}, nil, false},
		{"", nil, g, true},
		{"users:read orders:x orders:x:y orders:*", []record.Role{"reader"}, g, true},
		{"users:*", nil, g, false},
		{"*", nil, g, false},
		{"orders:", nil, g, false},
		{"ordersx", nil, g, false},
		{"orders", nil, g, false},
		{"orders:x admin", nil, g, false},
		{"", []record.Role{"reader", "writer"}, g, false},
		{"*", nil, &record.Grantable{Scopes: []string{"*"}}, true},
		{"a:b", nil, &record.Grantable{Scopes: []string{"*"}}, true},
	} {
		k := &record.APIKey{Scopes: strings.Fields(c.scopes), Roles: c.roles}
		if got := c.of.Covers(k); got != c.want {
			t.Errorf("%q %v: %t", c.scopes, c.roles, got)
		}
	}
}

// The same person is the same wherever, and no two are.
func TestPersonID(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range []record.Person{{}, {Issuer: "a"}, {Subject: "a"}, {Issuer: "a", Subject: "b"}, {Issuer: "a", Subject: strings.Repeat("x", 255)}} {
		id := p.ID()
		if seen[id] || len(id) > 63 || id != p.ID() {
			t.Errorf("%+v: %s", p, id)
		}
		seen[id] = true
	}
}
