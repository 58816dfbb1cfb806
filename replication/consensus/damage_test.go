package consensus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// C6
func TestDamagedLogIsRefused(t *testing.T) {
	const small = 64 << 10
	m := alone(t, Timing{SegmentBytes: small})
	m.propose(t, 40)
	dir := filepath.Join(m.dir, "log")
	m.stop(t)
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	whole, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	end := len(strings.TrimRight(string(whole), "\x00"))
	open := func(content []byte) error {
		if err := os.WriteFile(segments[0], content, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := openLog(dir, small)
		if err != nil {
			return err
		}
		return l.Close()
	}
	for at := 0; at < end*3/4; at++ {
		changed := append([]byte(nil), whole...)
		changed[at] ^= 0x10
		err := open(changed)
		if err == nil || !strings.Contains(err.Error(), "empty the data directory") {
			t.Fatalf("byte %d of %d was changed: %v", at, end, err)
		}
	}
	// A torn last write is no damage: whatever part of it is on disk.
	last := end - 8
	for last > 0 && !(whole[last] == frameCommit && last < end-8) {
		last -= 8
	}
	for at := last + 8; at < end; at++ {
		torn := append([]byte(nil), whole...)
		clear(torn[at:end])
		if err := open(torn); err != nil {
			t.Fatalf("torn at %d of %d: %v", at, end, err)
		}
	}
	if err := open(whole); err != nil {
		t.Error(err)
	}
}

// C6
func FuzzDamage(f *testing.F) {
	f.Add([]byte{})
	f.Add(append(make([]byte, segmentHeader), 1, 0, 0, 0, 3, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, _ := damage(b); at < 0 || at > len(b) {
			t.Errorf("%d of %d", at, len(b))
		}
	})
}
