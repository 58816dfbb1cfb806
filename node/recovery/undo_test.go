package recovery_test

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"veto/node"
	"veto/node/recovery"
)

// D6: what a restore had made is taken away when the disk fails, though a database still makes files there.
func TestWhatWasMadeIsTakenAway(t *testing.T) {
	c := &recovery.Config{Node: node.Config{DataDir: t.TempDir()}}
	dir := filepath.Join(c.Node.DataDir, node.StateDir, "db-2")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var makers sync.WaitGroup
	begun := make(chan struct{}, 4)
	for maker := range cap(begun) {
		makers.Go(func() {
			for n := 0; os.WriteFile(filepath.Join(dir, strconv.Itoa(maker)+"-"+strconv.Itoa(n)), nil, 0o600) == nil; n++ {
				if n == 100 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	err := c.Undo()
	makers.Wait()
	left, errRead := os.ReadDir(c.Node.DataDir)
	if err != nil || errRead != nil || len(left) > 0 {
		t.Errorf("%v %v, %d left", err, errRead, len(left))
	}
}
