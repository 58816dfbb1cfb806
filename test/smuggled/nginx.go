package smuggled

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"veto/test/ports"
)

const startLimit = 10 * time.Second

// Nginx runs nginx in front of the address, with one connection behind it that is used again and again, and gives where it
// listens. The test is skipped where there is no nginx.
func Nginx(t testing.TB, upstream string) string {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("there is no nginx here: " + err.Error())
	}
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Take(t))
	config := fmt.Sprintf(`daemon off; worker_processes 1; error_log %[1]s/error.log; pid %[1]s/pid;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream veto { server %[3]s; keepalive 1; }
  server { listen %[2]s; location / { proxy_pass http://veto; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; } }
}`, dir, addr, upstream)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "-c", file, "-e", filepath.Join(dir, "error.log"), "-p", dir)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait()
	})
	for end := time.Now().Add(startLimit); time.Now().Before(end); {
		if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr); err == nil {
			_ = c.Close()
			return addr
		}
	}
	said, _ := os.ReadFile(filepath.Join(dir, "error.log"))
	t.Fatalf("nginx does not listen: %s", said)
	return ""
}
