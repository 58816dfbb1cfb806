package ports_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"veto/test/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, port int) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

// What a test has is no other's, of this process or of another, though nobody listens there, and no less so at once.
func TestTakenPortsAreNoOthers(t *testing.T) {
	const inside = "VETO_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		fmt.Printf("taken %d\n", ports.Take(t))
		return
	}
	var all [8]int
	var takers sync.WaitGroup
	for i := range all {
		takers.Go(func() { all[i] = ports.Take(t) })
	}
	takers.Wait()
	seen := map[int]bool{}
	for _, first := range all {
		if seen[first] {
			t.Errorf("%v", all)
		}
		seen[first] = true
		for p := first; p < first+99; p++ {
			listen(t, p)
		}
	}
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTakenPortsAreNoOthers$")
	again.Env = append(os.Environ(), inside+"=1")
	out, err := again.CombinedOutput()
	_, said, _ := strings.Cut(string(out), "taken ")
	var first int
	if _, scan := fmt.Sscan(said, &first); err != nil || scan != nil || seen[first] {
		t.Errorf("%v has %s: %v %v", all, out, err, scan)
	}
}

// A port that somebody listens on is not given, and what a test had is another's when it has ended.
func TestPortsInUseAreNotTaken(t *testing.T) {
	var first int
	t.Run("a test", func(t *testing.T) { first = ports.Take(t) })
	listen(t, first+50)
	if other := ports.Take(t); other == first {
		t.Errorf("%d has one that is in use", other)
	}
	t.Run("the next", func(t *testing.T) {
		if ports.Take(t) == first {
			t.Error("it has one that is in use")
		}
	})
}
