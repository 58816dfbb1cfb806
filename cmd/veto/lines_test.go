package main

import (
	"io"
	"strings"
	"testing"
)

// A dump in which secrets were found has lines of any length.
func TestLongLines(t *testing.T) {
	check := func(line string) (string, error) {
		var out strings.Builder
		c := newRoot()
		c.SetArgs([]string{"keys", "check"})
		c.SetIn(strings.NewReader(line + "\nveto_0123456789ABCDEFGHIJKLMNOPQRST2GaIGv\n"))
		c.SetOut(&out)
		c.SetErr(io.Discard)
		err := c.Execute()
		return out.String(), err
	}
	if said, err := check(strings.Repeat("x", 200<<10)); err == nil || !strings.Contains(err.Error(), "1 of 2 are not keys") || !strings.Contains(said, "well-formed") {
		t.Errorf("%v\n%s", err, said)
	}
	if _, err := check(strings.Repeat("x", longestLine+1)); err == nil || !strings.Contains(err.Error(), "longer than 1 MiB") {
		t.Errorf("%v", err)
	}
}
