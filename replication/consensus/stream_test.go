package consensus

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"veto/replication/store"
)

// What a node's machine does.
type machine int

const (
	there machine = iota
	refuses
	off
	silent // off, and what it was connected with does not know
)

// wires carry Raft between nodes in made-up time.
type wires struct {
	mu      sync.Mutex
	ends    map[string]*wire
	tries   map[[2]string]int // from whom, to whom
	longest time.Duration     // that a try was given
	said    bytes.Buffer      // by all nodes
}

// wire is one node's end.
type wire struct {
	*wires
	id       string
	accepted chan net.Conn
	closed   chan struct{}
	close    sync.Once
	machine  machine
	conns    []net.Conn
}

func (w *wire) Raft() net.Listener { return w }
func (w *wire) Addr() net.Addr     { return &net.UnixAddr{Name: w.id} }
func (w *wire) Close() error       { w.close.Do(func() { close(w.closed) }); return nil }

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.accepted:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) DialRaft(_, id string, limit time.Duration) (net.Conn, error) {
	w.mu.Lock()
	to := w.ends[id]
	w.tries[[2]string{w.id, id}]++
	w.longest = max(w.longest, limit)
	way := max(w.machine, to.machine)
	near, far := net.Pipe()
	near, far = &lossy{near, w, to}, &lossy{far, w, to}
	w.conns, to.conns = append(w.conns, near), append(to.conns, far)
	w.mu.Unlock()
	switch way {
	case refuses:
		return nil, syscall.ECONNREFUSED
	case off, silent:
		<-time.After(limit)
		return nil, os.ErrDeadlineExceeded
	}
	select {
	case to.accepted <- far:
		return near, nil
	case <-to.closed:
		return nil, syscall.ECONNREFUSED
	}
}

// lossy is a connection that takes what is written to it, and loses it, while a machine at an end of it is silent.
type lossy struct {
	net.Conn
	near, far *wire
}

func (l *lossy) Write(b []byte) (int, error) {
	l.near.mu.Lock()
	lost := max(l.near.machine, l.far.machine) == silent
	l.near.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return l.Conn.Write(b)
}

// put has a node's machine do something else from now on, and breaks its connections, unless these hear of nothing.
func (w *wires) put(id string, m machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := w.ends[id]
	was := end.machine
	if end.machine = m; m == silent || was == silent {
		return
	}
	for _, c := range end.conns {
		_ = c.Close()
	}
	end.conns = nil
}

func (w *wires) tried(from, to *member) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tries[[2]string{from.id, to.id}]
}

// wired are three voters, the first of which leads.
func wired(t *testing.T) (w *wires, leader, other, away *member) {
	t.Helper()
	w = &wires{ends: map[string]*wire{}, tries: map[[2]string]int{}}
	log := slog.New(slog.NewTextHandler(&w.said, nil))
	var servers []Server
	var all []*member
	for _, id := range []string{"a", "b", "c"} {
		w.ends[id] = &wire{wires: w, id: id, accepted: make(chan net.Conn), closed: make(chan struct{})}
		servers = append(servers, Server{ID: id, Address: id, Voter: true})
	}
	for _, s := range servers {
		m := w.start(t, s.ID, log)
		t.Cleanup(func() { m.stop(t) })
		all = append(all, m)
		if err := m.Bootstrap(servers); err != nil {
			t.Fatal(err)
		}
	}
	all[0].stand()
	lead(t, all[0])
	all[0].propose(t, 1)
	return w, all[0], all[1], all[2]
}

func (w *wires) start(t *testing.T, id string, log *slog.Logger) *member {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{CacheBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{journal: &journal{store: s}, failed: make(chan error, 1), address: id}
	m.Node, err = Open(Config{
		ID: id, Dir: t.TempDir(), Journal: memory{raft.NewInmemStore()}, Address: id, Store: s, Machine: m.journal, Peers: w.ends[id],
		Resolve: func(id string) (string, bool) { return id, true }, Failed: func(err error) { m.failed <- err }, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// C16
func TestWhoWasAwayIsReachedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		machine machine
		away    time.Duration
		within  time.Duration
	}{
		"and its machine refused":            {refuses, 10 * time.Minute, 600 * time.Millisecond},
		"and its machine was off":            {off, 10 * time.Minute, 3600 * time.Millisecond},
		"and its machine was silent":         {silent, 10 * time.Minute, 3600 * time.Millisecond},
		"and its machine was silent shortly": {silent, time.Second, 10600 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, leader, _, away := wired(t)
				term := leader.Term()
				w.put(away.id, c.machine)
				leader.propose(t, 1)
				<-time.After(c.away)
				leader.propose(t, 1)
				w.put(away.id, there)
				<-time.After(c.within)
				if got, want := away.journal.contents(t), leader.journal.contents(t); got != want {
					t.Errorf("it has %q, not %q", got, want)
				}
				if leader.Term() != term {
					t.Errorf("term %d came after %d", leader.Term(), term)
				}
				if w.longest > dialLimit {
					t.Errorf("a try took %s", w.longest)
				}
				if said := strings.Count(w.said.String(), "it is tried again"); said > 1 || said == 0 && c.away > time.Minute {
					t.Errorf("it was said %d times:\n%s", said, &w.said)
				}
			})
		})
	}
}

// C16
func TestWhoNeedNotBeReachedIsLeftAlone(t *testing.T) {
	for name, ends := range map[string]func(t *testing.T, leader, other, away *member){
		"it was removed": func(t *testing.T, leader, _, away *member) {
			t.Helper()
			_, basedOn := leader.Servers()
			if err := leader.Remove(away.id, basedOn); err != nil {
				t.Error(err)
			}
			leader.propose(t, 1) // of which it is not told
		},
		"another leads": func(t *testing.T, leader, other, _ *member) {
			t.Helper()
			if err := leader.Handover(); err != nil {
				t.Error(err)
			}
			lead(t, other)
		},
		"the leader ends": func(t *testing.T, leader, _, _ *member) {
			t.Helper()
			begun := time.Now()
			if err := leader.Close(); err != nil || time.Since(begun) > 10*time.Second {
				t.Errorf("after %s: %v", time.Since(begun), err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, leader, other, away := wired(t)
				w.put(away.id, off)
				leader.propose(t, 1)
				<-time.After(time.Minute)
				ends(t, leader, other, away)
				<-time.After(10 * time.Second)
				tried := w.tried(leader, away)
				<-time.After(10 * time.Minute)
				if more := w.tried(leader, away) - tried; more > 0 {
					t.Errorf("it was tried %d times more", more)
				}
			})
		})
	}
}
