package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Core is where a process runs: a list of cores as taskset takes it; empty is anywhere.
type Core string

// Machine is this one. What starts something may be called by many goroutines at once, and StopAll when they are done.
type Machine struct {
	// Veto is the program under test, Self this one, and Fill the one that fills nodes.
	Veto, Self, Fill string
	// Server is the core of what answers, Client that of who asks, Store that of Redis and etcd. With two
	// cores Store and Client share one: so that what answers always has one for itself.
	Server, Client, Store Core

	dir string

	mu   sync.Mutex // guards what follows
	say  io.Writer
	open []*Process
	port int
}

// New makes a directory for what runs.
func New(veto string, say io.Writer) (*Machine, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "veto-bench-")
	if err != nil {
		return nil, err
	}
	m := &Machine{Veto: veto, Self: self, dir: dir, say: say, Server: "0", Client: "1", Store: "1", port: firstPort + os.Getpid()%50*100}
	switch n := runtime.NumCPU(); {
	case n == 1:
		m.Client, m.Store = "0", "0"
	case n > 2:
		m.Store = "2"
	}
	return m, nil
}

// Close stops all that runs, and removes what it wrote.
func (m *Machine) Close() error {
	m.StopAll()
	return os.RemoveAll(m.dir)
}

// StopAll ends all that runs, at once: nobody will ask it, or read its files.
func (m *Machine) StopAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.open {
		p.Kill()
	}
	m.open = nil
}

// Say tells whoever looks on what is done.
func (m *Machine) Say(format string, args ...any) {
	_, _ = fmt.Fprintf(lockedWriter{m}, format+"\n", args...) // nobody has to look on
}

// lockedWriter writes to whoever looks on, from many goroutines.
type lockedWriter struct{ m *Machine }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	return w.m.say.Write(p)
}

// Progress tells whoever looks on how far something is, now and then.
func (m *Machine) Progress() func(format string, args ...any) {
	said := time.Now()
	return func(format string, args ...any) {
		if time.Since(said) >= sayEvery {
			said = time.Now()
			m.Say(format, args...)
		}
	}
}

// Room refuses to begin what would fill the disk.
func (m *Machine) Room(bytes int64) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(m.dir, &s); err != nil {
		return err
	}
	if free := int64(s.Bavail) * s.Bsize; free < bytes {
		return fmt.Errorf("this takes some %d GB of disk, and %s has %d free: set TMPDIR to where there is more, or ask for less", bytes>>30, m.dir, free>>30)
	}
	return nil
}

// Dir is a new directory that goes with the machine's.
func (m *Machine) Dir(name string) (string, error) { return os.MkdirTemp(m.dir, name+"-") }

const (
	firstPort = 21000 // below those that the kernel gives to whoever dials
	portStep  = 10
	dialLimit = 10 * time.Second
	// stopLimit is for nodes that have gigabytes: those that are killed start more slowly, which is measured.
	stopLimit = time.Minute
	startTick = 20 * time.Millisecond
	sayEvery  = 5 * time.Second
)

// Ports gives the first of ten that are free on all the hosts.
func (m *Machine) Ports(hosts ...string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		m.port += portStep
		free := true
		for _, host := range hosts {
			for p := m.port; p < m.port+portStep && free; p++ {
				l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(p)))
				if free = err == nil; free {
					_ = l.Close()
				}
			}
		}
		if free {
			return m.port
		}
	}
}

// Process is one that runs.
type Process struct {
	Name string
	cmd  *exec.Cmd
	log  string
	gone chan struct{}
	once sync.Once
}

// Start starts a program on a core. What it writes is kept, and told if it fails.
func (m *Machine) Start(name string, core Core, program string, args ...string) (*Process, error) {
	if core != "" {
		args = append([]string{"-c", string(core), program}, args...)
		program = "taskset"
	}
	log, err := os.CreateTemp(m.dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Process{Name: name, cmd: exec.Command(program, args...), log: log.Name(), gone: make(chan struct{})} //nolint:noctx // it is stopped by Stop
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// It goes when this program does, whatever becomes of it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() { _ = p.cmd.Wait(); close(p.gone) }()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = append(m.open, p)
	return p, nil
}

// Stop asks it to end, and ends it after a while.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(stopLimit, p.Kill)
	<-p.gone
	late.Stop()
}

// Kill ends it at once.
func (p *Process) Kill() {
	p.once.Do(func() { _ = p.cmd.Process.Kill() })
	<-p.gone
}

// Await waits until it is so, or the process has ended.
func (p *Process) Await(ctx context.Context, what string, so func() bool) error {
	tick := time.NewTicker(startTick)
	defer tick.Stop()
	for !so() {
		select {
		case <-p.gone:
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("%s ended: %s", p.Name, text)
		case <-ctx.Done():
			text, _ := os.ReadFile(p.log)
			return errors.Join(fmt.Errorf("%s: not %s in time: %s", p.Name, what, text), ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// ticksPerSecond is what Linux counts processor time in, on all that Go runs on.
const ticksPerSecond = 100

// CPU is how much processor time it has used.
func (p *Process) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// Memory is how many bytes it has resident.
func (p *Process) Memory() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// Write puts a file into the machine's directory and gives its path.
func (m *Machine) Write(name string, b []byte) (string, error) {
	path := filepath.Join(m.dir, name)
	return path, os.WriteFile(path, b, 0o600)
}
