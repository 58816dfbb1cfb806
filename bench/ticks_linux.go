package bench

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timer is a timer of the kernel, that the runtime waits for as for any other file: it comes to the
// microsecond, and holds no thread.
type timer struct {
	f    *os.File
	room [8]byte
}

func newTicks(interval time.Duration) (ticks, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	every := unix.NsecToTimespec(interval.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &timer{f: os.NewFile(uintptr(fd), "timer")}, nil
}

func (t *timer) wait() error {
	_, err := t.f.Read(t.room[:])
	return err
}

func (t *timer) stop() { _ = t.f.Close() }
