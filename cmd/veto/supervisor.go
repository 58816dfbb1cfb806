package main

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// readyPoll is how often a node that starts is asked whether it is ready.
const readyPoll = 100 * time.Millisecond

// supervisor tells systemd how the node is, if that has started it (Type=notify). Without systemd
// it does nothing.
type supervisor struct {
	// ready asks the node. Whatever it says, that it answers shows that it is not stuck.
	ready func() bool
	done  chan struct{}
	stop  context.CancelFunc
}

// supervise says READY=1 once the node is ready, and from then on feeds the watchdog. A node that
// is no longer ready is fed, too: to start it again would bring no quorum nearer. The caller stops it.
func supervise(ctx context.Context, ready func() bool) (*supervisor, error) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, err
	}
	told, err := daemon.SdNotify(false, "STATUS=The node answers, and waits until it has caught up with its cluster")
	if err != nil {
		return nil, err
	}
	s := &supervisor{ready: ready, done: make(chan struct{})}
	ctx, s.stop = context.WithCancel(ctx)
	go func() {
		defer close(s.done)
		if told {
			s.run(ctx, every/2)
		}
	}()
	return s, nil
}

func (s *supervisor) run(ctx context.Context, feed time.Duration) {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for !s.ready() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	_, _ = daemon.SdNotify(false, "READY=1\nSTATUS=The node is ready") // systemd that does not listen ends the wait by itself
	if feed == 0 {
		return
	}
	tick.Reset(feed)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.ready()
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		}
	}
}

// stopping says that the node stops, and ends what supervise began.
func (s *supervisor) stopping() {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	s.stop()
	<-s.done
}
