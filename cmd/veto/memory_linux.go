package main

import (
	"errors"
	"fmt"
	"syscall"
)

// prSetDumpable is PR_SET_DUMPABLE of prctl(2), which the standard library does not name.
const prSetDumpable = 4

// keepMemory has the kernel write no core of this process, and lets no other process of the same user
// read its memory: both hold secrets. A limit of zero alone does not keep it from a program that
// core_pattern pipes cores to.
func keepMemory() error {
	var failed error
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		failed = fmt.Errorf("no limit for cores: %w", err)
	}
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0); e != 0 {
		failed = errors.Join(failed, fmt.Errorf("memory is open to debuggers: %w", e))
	}
	return failed
}
