package relay

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm rings to the microsecond, and holds no processor: its timer is the kernel's, and the runtime waits
// for it as for any other file. The runtime's own timers go by whole milliseconds where nothing else happens,
// and a sleep in a system call keeps a processor from all others for up to 10 ms.
type Alarm struct {
	f    *os.File
	fd   int
	room [8]byte
}

// NewAlarm makes one, for one goroutine at a time. Whoever made it closes it.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &Alarm{f: os.NewFile(uintptr(fd), "timer"), fd: fd}, nil
}

// Wait blocks for the duration; not at all if there is none left.
func (a *Alarm) Wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	err := unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}, nil)
	if err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	_, err = a.f.Read(a.room[:])
	return err
}

// Close ends it, and a Wait that is under way.
func (a *Alarm) Close() error { return a.f.Close() }
