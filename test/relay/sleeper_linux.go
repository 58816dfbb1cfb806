package relay

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Sleeper sleeps to the microsecond, and holds no processor: its timer is the kernel's, and the runtime waits
// for it as for any other file. The runtime's own timers go by whole milliseconds where nothing else happens,
// and a sleep in a system call keeps a processor from all others for up to 10 ms.
type Sleeper struct {
	f    *os.File
	fd   int
	room [8]byte
}

// NewSleeper makes one, for one goroutine at a time. Whoever made it closes it.
func NewSleeper() (*Sleeper, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &Sleeper{f: os.NewFile(uintptr(fd), "timer"), fd: fd}, nil
}

// Sleep blocks for the duration; not at all if there is none left.
func (s *Sleeper) Sleep(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	err := unix.TimerfdSettime(s.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}, nil)
	if err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	_, err = s.f.Read(s.room[:])
	return err
}

// Close ends it, and a Sleep that is under way.
func (s *Sleeper) Close() error { return s.f.Close() }
