package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/test/ports"
	"veto/test/said"
)

// interrupted runs `veto dev` until it has said what is awaited, and then ends it as Ctrl-C does. It must end as what
// was asked for.
func interrupted(t *testing.T, awaited string, args ...string) string {
	t.Helper()
	c := exec.Command(program(t), append([]string{"dev"}, args...)...)
	out := &said.Output{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); !strings.Contains(out.String(), awaited); {
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("it ended by itself: %v\n%s", err, out)
		case <-limit:
			_ = c.Process.Kill()
			<-ended
			t.Fatalf("it never said %q:\n%s", awaited, out)
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	return out.String()
}

func TestDevIsInterruptedWhileItStarts(t *testing.T) {
	out := interrupted(t, "Starting 3 nodes", "--port", fmt.Sprint(ports.Take(t)))
	if !strings.Contains(out, "Stopping") || strings.Contains(out, "veto:") {
		t.Errorf("it looks like a failure:\n%s", out)
	}
}

// The demo issuer is another one at another port, as its address is its name; it is trusted beside the first.
func TestDevOnAnotherPort(t *testing.T) {
	dir, port := t.TempDir(), ports.Take(t)
	for _, port := range []int{port, port + 20, port + 20, port} {
		out := interrupted(t, "Stop with Ctrl-C", "--nodes", "1", "--data-dir", dir, "--port", fmt.Sprint(port))
		if !strings.Contains(out, fmt.Sprintf("http://127.0.0.1:%d/token", port+6)) {
			t.Errorf("at port %d:\n%s", port, out)
		}
	}
}

func TestDevWithoutNodes(t *testing.T) {
	for _, nodes := range []string{"0", "-1", "10"} {
		if out, code := execute(t, nil, "", "dev", "--nodes", nodes); code != exitUsage || out != "veto: --nodes: a cluster on one machine has 1 to 9 nodes\n" {
			t.Errorf("%d: %s", code, out)
		}
	}
}

// What fails besides, when a start is interrupted, is said.
func TestBesidesTheInterruption(t *testing.T) {
	other := errors.New("the disk is full")
	err := errors.Join(errors.Join(fmt.Errorf("not ready: %w", context.Canceled), errors.Join(other, nil)), nil)
	if got := besides(context.Canceled, err); !slices.Equal(got, []error{other}) {
		t.Errorf("%v", got)
	}
}
