package record_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"veto/record"
)

func TestKeysAreFound(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	past, ahead := now.Add(-time.Hour), now.Add(time.Hour)
	granted := new(record.Granted)
	granted.Set([]string{"own", "orders:*"})
	keys := map[string]record.APIKey{
		"plain":    {Consumer: "shop", Name: "Till One", Hint: "veto_live_…abcd", Environment: "live", Scopes: []string{"read"}, Chain: record.Chain{From: 1, To: 3}},
		"disabled": {Consumer: "shop", Name: "till two", Disabled: true},
		"expired":  {Consumer: "shop", ExpiresAt: past},
		"rotating": {Consumer: "kiosk", ExpiresAt: ahead, Rotating: &record.Rotating{Until: ahead, Chain: record.ChainOf(1)}, Chain: record.ChainOf(3)},
		"rotated":  {Consumer: "kiosk", Rotating: &record.Rotating{Until: past}},
		"revoked":  {Consumer: "kiosk", Scopes: []string{"*"}},
		"role":     {Consumer: "kiosk", Roles: []record.Role{"reader"}, Granted: granted},
		"admin":    {Roles: []record.Role{record.RoleAdmin}},
	}
	for _, c := range []struct {
		q    record.KeyQuery
		want string
	}{
		{record.KeyQuery{}, "admin disabled expired plain revoked role rotated rotating"},
		{record.KeyQuery{Consumer: "shop"}, "disabled expired plain"},
		{record.KeyQuery{Environment: "live"}, "plain"},
		{record.KeyQuery{Text: "TILL"}, "disabled plain"},
		{record.KeyQuery{Text: "ABCD"}, "plain"},
		{record.KeyQuery{Role: "reader"}, "role"},
		{record.KeyQuery{Role: "admin"}, "admin"},
		{record.KeyQuery{Scope: "read"}, "plain revoked"},
		{record.KeyQuery{Scope: "orders:read:own"}, "revoked role"},
		{record.KeyQuery{Scope: "orders"}, "revoked"},
		{record.KeyQuery{Pepper: 1}, "plain rotating"},
		{record.KeyQuery{Pepper: 2}, "plain"},
		{record.KeyQuery{Pepper: 3}, "plain rotating"},
		{record.KeyQuery{State: record.KeyActive}, "admin plain role rotated rotating"},
		{record.KeyQuery{State: record.KeyDisabled}, "disabled"},
		{record.KeyQuery{State: record.KeyExpired}, "expired"},
		{record.KeyQuery{State: record.KeyRotating}, "rotating"},
		{record.KeyQuery{State: record.KeyRevoked}, "revoked"},
		{record.KeyQuery{State: record.KeyActive, Consumer: "shop", Text: "one"}, "plain"},
	} {
		var found []string
		for name, k := range keys {
			is, err := c.q.Finds(&k, now, func() (bool, error) { return name == "revoked", nil })
			if err != nil {
				t.Fatal(err)
			}
			if is {
				found = append(found, name)
			}
		}
		slices.Sort(found)
		if got := strings.Join(found, " "); got != c.want {
			t.Errorf("%+v finds %s, want %s", c.q, got, c.want)
		}
	}
}

// A seal is of its purpose and text, and of the cluster's key.
func TestSeal(t *testing.T) {
	seen := map[[16]byte]string{}
	for _, k := range []record.DigestKey{{1}, {2}} {
		for _, of := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"", "abc"}, {"abc", ""}, {"b", "bc"}} {
			seal := k.Seal(of[0], of[1])
			if was, there := seen[seal]; there || seal != k.Seal(of[0], of[1]) {
				t.Errorf("%q has the seal of %s", of, was)
			}
			seen[seal] = of[0] + " " + of[1]
		}
	}
}
