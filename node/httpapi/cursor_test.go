package httpapi_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"veto/node/httpapi"
	"veto/record"
)

// H5
func TestCursor(t *testing.T) {
	ours, other := record.DigestKey{1}, record.DigestKey{2}
	for _, place := range []string{"key_1", "a", strings.Repeat("x", 100), "\x00\xff"} {
		c := httpapi.Cursor(ours, "keys", place)
		if got, err := httpapi.Place(ours, "keys", c); err != nil || got != place {
			t.Errorf("%q: %q %v", place, got, err)
		}
		refused := map[string]struct {
			by     httpapi.Sealer
			list   string
			cursor string
		}{
			"another cluster": {other, "keys", c}, "another list": {ours, "consumers", c}, "another filter": {ours, `keys {"shop"}`, c},
			"a plain place": {ours, "keys", place}, "cut": {ours, "keys", c[:len(c)-2]}, "longer": {ours, "keys", c + "AA"},
			"padded": {ours, "keys", c + "="}, "too long": {ours, "keys", c + strings.Repeat("A", 256)}, "a line end": {ours, "keys", c + "\n"},
		}
		raw, _ := base64.RawURLEncoding.DecodeString(c)
		for i := range raw {
			raw[i] ^= 1
			refused["altered at "+string(rune('A'+i))] = struct {
				by     httpapi.Sealer
				list   string
				cursor string
			}{ours, "keys", base64.RawURLEncoding.EncodeToString(raw)}
			raw[i] ^= 1
		}
		for name, r := range refused {
			_, err := httpapi.Place(r.by, r.list, r.cursor)
			var problem *httpapi.Problem
			if !errors.As(err, &problem) || problem.Code != "bad_cursor" {
				t.Errorf("%s of %q: %v", name, place, err)
			}
		}
	}
	if httpapi.Cursor(ours, "keys", "") != "" {
		t.Error("the last page has a cursor")
	}
	if place, err := httpapi.Place(ours, "keys", ""); place != "" || err != nil {
		t.Error(place, err)
	}
}

func FuzzPlace(f *testing.F) {
	f.Add(httpapi.Cursor(record.DigestKey{1}, "keys", "key_1"))
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		place, err := httpapi.Place(record.DigestKey{1}, "keys", cursor)
		if err == nil && httpapi.Cursor(record.DigestKey{1}, "keys", place) != cursor {
			t.Errorf("%q is taken for %q", cursor, place)
		}
	})
}
