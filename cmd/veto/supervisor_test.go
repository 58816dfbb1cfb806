package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"veto/test/ports"
	"veto/test/said"
)

// notifications is systemd's end of NOTIFY_SOCKET.
type notifications struct {
	t    *testing.T
	conn *net.UnixConn
	path string
	past strings.Builder // what came before what was waited for
}

func newNotifications(t *testing.T) *notifications {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &notifications{t: t, conn: conn, path: path}
}

// await reads until something is said, and gives all that was before it.
func (n *notifications) await(what string) string {
	n.t.Helper()
	_ = n.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	n.past.Reset()
	for b := make([]byte, 4096); ; {
		size, err := n.conn.Read(b)
		if err != nil {
			n.t.Fatalf("%s was not said, but: %s: %v", what, n.past.String(), err)
		}
		if strings.Contains(string(b[:size]), what) {
			return n.past.String()
		}
		n.past.Write(append(b[:size:size], '\n'))
	}
}

// The node tells systemd that it is ready once it has caught up, and not when it listens; then it
// feeds the watchdog, also without a quorum; and it says when it stops.
func TestSystemdIsTold(t *testing.T) {
	n := newNotifications(t)
	t.Setenv("NOTIFY_SOCKET", n.path)
	t.Setenv("WATCHDOG_USEC", "200000")
	c := &cluster{t: t, dir: t.TempDir()}
	if out, code := execute(t, nil, "", "certs", "authority", "--dir", filepath.Join(c.dir, "certs")); code != exitOK {
		t.Fatal(out)
	}
	port := ports.Take(t)
	for i := range 2 {
		c.add(port+10*i, "--bootstrap-expect", "2")
	}
	c.start(0)
	n.await("waits until it has caught up")
	c.until("the data plane answers", func() bool {
		r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/livez", port))
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	_ = n.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if size, err := n.conn.Read(make([]byte, 64)); err == nil {
		t.Fatalf("a node that has met nobody said %d bytes more", size)
	}
	if err := os.Unsetenv("NOTIFY_SOCKET"); err != nil { // the second node tells nobody
		t.Fatal(err)
	}
	c.start(1)
	if before := n.await("READY=1"); strings.Contains(before, "WATCHDOG") {
		t.Error("the watchdog was fed before the node was ready")
	}
	n.await("WATCHDOG=1")
	c.kill(1, syscall.SIGKILL)
	c.until("the node is not ready", func() bool {
		r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", port))
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusServiceUnavailable
	})
	for range 3 {
		n.await("WATCHDOG=1")
	}
	if err := c.nodes[0].cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.await("STOPPING=1")
}

// The first admin's key goes into a file where that is asked for, and then not into the output.
func TestAdminTokenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	c := &cluster{t: t, dir: dir, nodes: []*process{{port: ports.Take(t), out: &said.Output{}}}}
	start := func() {
		c.nodes[0].cmd = exec.Command(program(t), "serve", "--node-id", "n1", "--data-dir", filepath.Join(dir, "n1"),
			"--port", fmt.Sprint(c.nodes[0].port), "--admin-token-file", path)
		c.nodes[0].cmd.Stdout, c.nodes[0].cmd.Stderr = c.nodes[0].out, c.nodes[0].out
		if err := c.nodes[0].cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { c.kill(0, syscall.SIGKILL) })
	if err := os.WriteFile(path, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	start()
	c.until("the key is kept", func() bool { return strings.Contains(c.nodes[0].out.String(), "could not be handed over") })
	c.kill(0, syscall.SIGTERM)
	if b, err := os.ReadFile(path); err != nil || string(b) != "another's" {
		t.Fatalf("a file that was there was overwritten: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	start()
	c.ready(0)
	secret, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if strings.Contains(c.nodes[0].out.String(), strings.TrimSpace(string(secret))) {
		t.Error("the output has the key, too")
	}
	c.env = []string{"VETO_TOKEN_FILE=" + path}
	c.veto(0, "", "cluster")
}

// Every command has a manual page.
func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	if out, code := execute(t, nil, "", "man", dir); code != exitOK {
		t.Fatal(out)
	}
	for _, name := range []string{"veto.1", "veto-serve.1", "veto-keys-create.1"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(b), ".SH OPTIONS") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
