package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"veto/test/ports"
)

// listening are the addresses at which somebody on this machine waits on the ports, by protocol and port.
func listening(t *testing.T, first, last int) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6"} {
		b, err := os.ReadFile("/proc/net/" + protocol)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			fields := strings.Fields(line)
			if len(fields) < 4 {
				continue
			}
			address, hexPort, _ := strings.Cut(fields[1], ":")
			port, err := strconv.ParseInt(hexPort, 16, 32)
			waits := fields[3] == "0A" || strings.HasPrefix(protocol, "udp")
			if err != nil || int(port) < first || int(port) > last || !waits {
				continue
			}
			name := fmt.Sprintf("%s+%d", protocol[:3], int(port)-first)
			all[name] = append(all[name], address)
		}
	}
	return all
}

// Whoever says nothing of addresses gets a node that this machine alone can reach, by each of its ports.
func TestListensOnLoopbackAlone(t *testing.T) {
	l := startLone(t)
	found := listening(t, l.nodes[0].port, l.nodes[0].port+5) // one more than it has
	for _, name := range []string{"tcp+0", "tcp+1", "tcp+2", "tcp+3", "udp+3", "tcp+4"} {
		loopback := hex.EncodeToString([]byte{1, 0, 0, 127}) // as the kernel writes it where the low byte is first
		if !slices.Equal(found[name], []string{strings.ToUpper(loopback)}) {
			t.Errorf("%s: at %v", name, found[name])
		}
		delete(found, name)
	}
	if len(found) > 0 {
		t.Errorf("more is listened on than is known: %v", found)
	}
}

// A secret in a file that anybody may read is refused, before anything is done.
func TestFilesThatOthersMayRead(t *testing.T) {
	dir := t.TempDir()
	certsDir := filepath.Join(dir, "certs")
	for _, args := range [][]string{{"certs", "authority"}, {"certs", "node", "n1"}} {
		if out, code := execute(t, nil, "", append(args, "--dir", certsDir)...); code != exitOK {
			t.Fatal(out)
		}
	}
	pepper, token := filepath.Join(dir, "pepper"), filepath.Join(dir, "token")
	for path, content := range map[string]string{pepper: "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=", token: "veto_op_x"} {
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(certsDir, "n1-key.pem")
	serve := []string{
		"serve", "--node-id", "n1", "--data-dir", filepath.Join(dir, "data"), "--port", fmt.Sprint(ports.Take(t)), "--certs-dir", certsDir,
		"--pepper-key-file", pepper, "--http-cert-file", filepath.Join(certsDir, "n1.pem"), "--http-key-file", key,
	}
	for path, c := range map[string][]string{
		pepper: serve, key: serve, filepath.Join(certsDir, "gossip.key"): serve,
		filepath.Join(certsDir, "ca-key.pem"): {"certs", "node", "n2", "--dir", certsDir}, token: {"cluster", "--token-file", token, "--address", "http://127.0.0.1:1"},
	} {
		info, err := os.Stat(path)
		if err == nil {
			err = os.Chmod(path, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		out, code := execute(t, nil, "", c...)
		if code == exitOK || !strings.Contains(out, path) || !strings.Contains(out, "chmod o=") {
			t.Errorf("%s: %d %s", path, code, out)
		}
		if err := os.Chmod(path, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}
