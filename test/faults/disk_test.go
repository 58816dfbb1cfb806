//go:build faults

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// disk is the file system of one node, small enough to be filled.
type disk struct {
	t   *testing.T
	dir string
}

// diskSize is enough for a log of two files, the state, and its write-ahead logs.
const diskSize = "1g"

func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	d := &disk{t: t, dir: dir}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+diskSize, name(), dir).CombinedOutput(); err != nil {
		t.Fatalf("a disk cannot be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("%s stays mounted: %v", dir, err)
		}
	})
	return d
}

func (d *disk) balloon() string { return filepath.Join(d.dir, "balloon") }

// fill takes all the room that there is.
func (d *disk) fill() {
	f, err := os.OpenFile(d.balloon(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return // there is not even room for its name: so it is full
	}
	defer f.Close()
	for piece := 8 << 20; piece >= 1<<9; piece /= 2 {
		for {
			if _, err := f.Write(make([]byte, piece)); err != nil {
				break
			}
		}
	}
}

func (d *disk) free() { _ = os.Remove(d.balloon()) }

// sickness is what befalls whatever a process asks its disk to make durable, until it is cured. It
// comes by strace, which answers in the place of the kernel.
type sickness struct{ cmd *exec.Cmd }

func sicken(pid int, delay time.Duration, failure string) (*sickness, error) {
	if pid == 0 {
		return nil, fmt.Errorf("the process is gone")
	}
	const calls = "fsync,fdatasync,sync_file_range"
	how := fmt.Sprintf("delay_enter=%d", delay.Microseconds())
	if failure != "" {
		how = "error=" + failure
	}
	cmd := exec.Command("strace", "-f", "-qqq", "-o", os.DevNull, "-e", "trace="+calls, "-e", "inject="+calls+":"+how, "-p", strconv.Itoa(pid))
	return &sickness{cmd}, cmd.Start()
}

func (s *sickness) cure() {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // it lets go of the process, which may be gone
	_ = s.cmd.Wait()
}
