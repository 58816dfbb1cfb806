package natsproc

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"veto/test/ports"
)

// Server is a NATS server with JetStream.
type Server struct {
	URL string

	t       testing.TB
	binary  string
	config  string
	address string
	cmd     *exec.Cmd
}

const startLimit = 20 * time.Second

// Start builds a server and runs it on loopback. The configuration is added to what it needs.
func Start(t testing.TB, config string) *Server {
	t.Helper()
	return StartAt(t, "127.0.0.1", config)
}

// StartAt is Start, on an address of this machine.
func StartAt(t testing.TB, host, config string) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{t: t, binary: filepath.Join(dir, "nats-server"), config: filepath.Join(dir, "nats.conf")}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", s.binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("the server cannot be built: %v\n%s", err, out)
	}
	s.address = net.JoinHostPort(host, strconv.Itoa(ports.Take(t)))
	s.URL = "nats://" + s.address
	s.Configure(config)
	t.Cleanup(s.Kill)
	s.Run()
	return s
}

// Configure is what holds from the next Run on, beside what the server needs.
func (s *Server) Configure(config string) {
	s.t.Helper()
	text := fmt.Sprintf("listen: %q\njetstream: {store_dir: %q, sync_interval: always}\n%s\n", s.address, filepath.Join(filepath.Dir(s.config), "data"), config)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Run starts the process, again if it was killed, and waits until it answers.
func (s *Server) Run() {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, "-c", s.config) //nolint:gosec,noctx // our own; Kill ends it
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	limit := time.After(startLimit)
	for {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(s.t.Context(), "tcp", s.address)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-limit:
			s.t.Fatal("the server does not answer")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Kill ends the process as a crash would.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may be gone already
	_ = s.cmd.Wait()
	s.cmd = nil
}
