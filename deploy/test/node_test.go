package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// build builds the program.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "veto")
	c := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/veto")
	c.Dir = "../.."
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// start starts the program, and ends it with the test.
func start(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
}

// get asks until the answer is 200, for a minute.
func get(t *testing.T, url, bearer string) string {
	t.Helper()
	last := ""
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+bearer)
		w, err := http.DefaultClient.Do(r)
		if err == nil {
			b, _ := io.ReadAll(w.Body)
			_ = w.Body.Close()
			if last = string(b); w.StatusCode == http.StatusOK {
				return last
			}
		}
		select {
		case <-limit:
			t.Fatalf("%s: %v %s", url, err, last)
		case <-tick.C:
		}
	}
}

var metric = regexp.MustCompile(`\bveto_[a-z_]+[a-z]\b`)

// TestMetricsAreThere starts a cluster, has it do something, and holds every metric that is named
// against what it says.
func TestMetricsAreThere(t *testing.T) {
	const port = 23100
	veto := build(t)
	c := exec.CommandContext(t.Context(), veto, "dev", "--json", "--nodes", "2", "--port", fmt.Sprint(port))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, c)
	var dev struct {
		AdminToken string `json:"admin_token"`
		Token      string `json:"token"`
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, &dev); err != nil {
		t.Fatal(err)
	}
	revoke := exec.CommandContext(t.Context(), veto, "revoke", "token", "-", "--address", fmt.Sprintf("http://127.0.0.1:%d", port+1))
	revoke.Env, revoke.Stdin = append(os.Environ(), "VETO_TOKEN="+dev.AdminToken), strings.NewReader(dev.Token)
	if out, err := revoke.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/metrics", port+1)
	var there map[string]bool
	for deadline := time.Now().Add(time.Minute); !there["veto_propagation_failures_total"]; { // once the canary has flown
		if time.Now().After(deadline) {
			t.Fatal("the canary says nothing")
		}
		there = named(get(t, url, dev.AdminToken))
	}
	there["veto_events_reading"] = true // where a stream is set, which it is not here
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range append(files, "../prometheus/alerts.yaml", "../prometheus/alerts_test.yaml", "../grafana/veto.json", "../README.md", "../../README.md", "../../CHANGELOG.md") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metric.FindAllString(string(b), -1) {
			if strings.HasPrefix(name, "veto_op") || strings.HasPrefix(name, "veto_live") || strings.HasPrefix(name, "veto_portal") || name == "veto_index" {
				continue // what secrets begin with, and veto_index_*
			}
			seen++
			if !there[name] && !there[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s names %s, which no node has", path, name)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d names were looked at", seen)
	}
	lint := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	if lint.Err != nil {
		t.Log("SKIPPED: promtool check metrics; there is no promtool")
		return
	}
	lint.Stdin = strings.NewReader(get(t, url, dev.AdminToken))
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// named are the names of the metrics in an answer of /metrics.
func named(text string) map[string]bool {
	names := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if f := strings.Fields(line); len(f) > 3 && f[1] == "TYPE" {
			names[f[2]] = true
		}
	}
	return names
}

// TestRenderedSettingsRun starts three nodes by the file that the chart renders, with the variables
// that it sets. Flags put them on loopback and in directories of the test; everything else is as rendered.
func TestRenderedSettingsRun(t *testing.T) {
	manifest, err := render(t, "existingSecret=certs", "insecureHTTP=true", "region=eu-1", "config.max_staleness=20s", "pepperSecret=pepper")
	if err != nil {
		t.Fatal(err)
	}
	dir, veto := t.TempDir(), build(t)
	file, pepper, certs := filepath.Join(dir, "veto.yaml"), filepath.Join(dir, "pepper.key"), filepath.Join(dir, "certs")
	write(t, file, parse(t, manifest)["ConfigMap"].(*core.ConfigMap).Data["veto.yaml"])
	write(t, pepper, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")
	run := func(args ...string) {
		if out, err := exec.CommandContext(t.Context(), veto, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	run("certs", "authority", "--dir", certs)
	const port = 23200
	for i := range 3 {
		id := fmt.Sprintf("veto-%d", i)
		run("certs", "node", id, "--host", "127.0.0.1", "--dir", certs)
		c := exec.CommandContext(t.Context(), veto, "serve", "--config", file, "--admin-token-file", filepath.Join(dir, "token-"+id),
			"--data-dir", filepath.Join(dir, id), "--certs-dir", certs, "--pepper-key-file", pepper, "--bind", "127.0.0.1", "--port", fmt.Sprint(port+10*i),
			"--join", fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", port+3, port+13, port+23))
		c.Env = append(os.Environ(), "VETO_NODE_ID="+id, "VETO_ADVERTISE=127.0.0.1")
		var log bytes.Buffer
		c.Stdout, c.Stderr = &log, &log
		start(t, c)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s wrote:\n%s", id, log.String())
			}
		})
	}
	for i := range 3 {
		get(t, fmt.Sprintf("http://127.0.0.1:%d/readyz", port+10*i), "")
	}
	if tokens, _ := filepath.Glob(filepath.Join(dir, "token-*")); len(tokens) != 1 {
		t.Errorf("the first admin's key is in %v", tokens)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
