package apikey

import (
	"strings"
	"testing"
)

func TestKinds(t *testing.T) {
	const few = "abcdefghijklmnopqrstuvwxyz0123456789"
	for i := range 256 {
		c := byte(i)
		if got, want := lower(c), strings.IndexByte(few, c) >= 0; got != want {
			t.Errorf("lower(%q): %t", c, got)
		}
		if got, want := letter(c), strings.IndexByte(alphabet, c) >= 0; got != want {
			t.Errorf("letter(%q): %t", c, got)
		}
	}
}
