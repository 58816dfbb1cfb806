package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Relay carries. Its addresses are open until Close.
type Relay struct {
	delay time.Duration
	wg    sync.WaitGroup
	stop  chan struct{}
}

// New makes one that carries nothing yet.
func New(delay time.Duration) *Relay { return &Relay{delay: delay, stop: make(chan struct{})} }

// Close ends all connections, and waits until they have.
func (r *Relay) Close() {
	close(r.stop)
	r.wg.Wait()
}

// TCP carries connections from one address to another.
func (r *Relay) TCP(from, to string) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", from)
	if err != nil {
		return err
	}
	r.wg.Go(func() { <-r.stop; _ = l.Close() })
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.carry(c, to) })
		}
	})
	return nil
}

func (r *Relay) carry(c net.Conn, to string) {
	defer c.Close()
	d, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, d}, {d, c}} {
		r.wg.Go(func() { r.pipe(way[0], way[1]); done <- struct{}{} })
	}
	select {
	case <-done:
	case <-r.stop:
	}
}

type piece struct {
	at   time.Time
	data []byte
}

func (r *Relay) pipe(from io.Reader, to io.Writer) {
	pieces := make(chan piece, 4096)
	r.wg.Go(func() {
		defer close(pieces)
		for {
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			pieces <- piece{time.Now().Add(r.delay), b[:n]}
		}
	})
	alarm, err := NewAlarm()
	if err == nil {
		defer func() { _ = alarm.Close() }()
	}
	for p := range pieces {
		if err != nil {
			continue // what is still read goes nowhere
		}
		if err = alarm.Wait(time.Until(p.at)); err == nil {
			_, err = to.Write(p.data)
		}
	}
}

// UDP carries packets to an address; answers find their way by themselves.
func (r *Relay) UDP(from, to string) error {
	in, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", from)
	if err != nil {
		return err
	}
	out, err := (&net.Dialer{}).DialContext(context.Background(), "udp", to)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	r.wg.Go(func() { <-r.stop; _ = in.Close(); _ = out.Close() })
	r.wg.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, _, err := in.ReadFrom(b)
			if err != nil {
				return
			}
			data := append([]byte(nil), b[:n]...)
			time.AfterFunc(r.delay, func() { _, _ = out.Write(data) })
		}
	})
	return nil
}
