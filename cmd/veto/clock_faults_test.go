//go:build faults

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What the clock of test/faults shows is what a clock shows that was set.
func TestClockIsSet(t *testing.T) {
	for _, seconds := range []int64{0, 1, -1, 3600, -3600, 1e6, -1e6} {
		now := time.Now()
		then := set(now, seconds)
		if got := then.Round(0).Sub(now.Round(0)); got != time.Duration(seconds)*time.Second {
			t.Errorf("set by %d s, it shows %s", seconds, got)
		}
		if got := then.Sub(now); got != 0 {
			t.Errorf("set by %d s, it has measured %s", seconds, got)
		}
	}
	path := filepath.Join(t.TempDir(), "clock")
	t.Setenv(clockVariable, path)
	read := clock()
	for _, hours := range []string{"0", "7200", "-7200", "0"} {
		if err := os.WriteFile(path, []byte(hours), 0o600); err != nil {
			t.Fatal(err)
		}
		want := map[string]time.Duration{"0": 0, "7200": 2 * time.Hour, "-7200": -2 * time.Hour}[hours]
		for (read().Round(0).Sub(time.Now().Round(0)) - want).Abs() > time.Minute {
			<-time.After(time.Millisecond)
		}
	}
}
