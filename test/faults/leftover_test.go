//go:build faults

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// name is what this run's namespaces, links and disks are called.
func name() string { return fmt.Sprintf("veto%d", os.Getpid()) }

var ofARun = regexp.MustCompile(`\bveto([0-9]+)(-[0-9]+)?\b`)

// sweep takes away what runs have left that were killed before they could do it themselves. What is of
// a process that lives is left alone.
func sweep(t *testing.T) {
	t.Helper()
	spaces, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatalf("ip netns list: %v", err)
	}
	for line := range strings.Lines(string(spaces)) {
		found := ofARun.FindStringSubmatch(line)
		if found == nil || alive(found[1]) {
			continue
		}
		pids, _ := exec.Command("ip", "netns", "pids", found[0]).Output() // it may be gone by now
		for _, pid := range strings.Fields(string(pids)) {
			if number, err := strconv.Atoi(pid); err == nil {
				_ = syscall.Kill(number, syscall.SIGKILL)
			}
		}
		_ = exec.Command("ip", "netns", "del", found[0]).Run()
		_ = exec.Command("ip", "link", "del", "veto"+found[1]+"x").Run()
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if found := ofARun.FindStringSubmatch(fields[0]); found != nil && fields[2] == "tmpfs" && !alive(found[1]) {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH)
			_ = os.Remove(fields[1])
		}
	}
}

func alive(pid string) bool {
	_, err := os.Stat("/proc/" + pid)
	return err == nil
}
