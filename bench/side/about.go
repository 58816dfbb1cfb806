package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"veto/bench/side/report"
)

// about says when, where and of what something is measured.
func about(ctx context.Context, o options, when time.Time) report.Run {
	r := report.Run{
		When: when.UTC().Format("2006-01-02 15:04 MST"), Commit: o.commit, Quick: o.quick,
		Command:  "make bench",
		Versions: map[string]string{"Go": strings.TrimPrefix(runtime.Version(), "go"), "Redis": first(ctx, "redis-server", "--version"), "etcd": first(ctx, "etcd", "--version")},
		Machine: []string{
			fmt.Sprintf("%d cores of %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name")), "memory: " + field("/proc/meminfo", "MemTotal"),
			"kernel: " + first(ctx, "uname", "-sr"), "file system: " + first(ctx, "stat", "-f", "-c", "%T", os.TempDir()), "load before: " + strings.Join(strings.Fields(text("/proc/loadavg"))[:min(3, len(strings.Fields(text("/proc/loadavg"))))], " "),
		},
	}
	if o.only != "" {
		r.Command += " ONLY=" + o.only
	}
	if o.quick {
		r.Command += " QUICK=1"
	}
	if o.scale != defaultScale {
		r.Command += fmt.Sprint(" SCALE=", o.scale)
	}
	if o.keys > 0 {
		r.Command += fmt.Sprint(" KEYS=", o.keys)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			for _, ours := range []string{"golang-jwt/jwt/v5", "lestrrat-go/jwx/v3", "redis/go-redis/v9", "etcd/client/v3", "open-policy-agent/opa", "ory/fosite", "valyala/fasthttp"} {
				if strings.HasSuffix(d.Path, ours) {
					r.Versions[d.Path] = d.Version
				}
			}
		}
	}
	return r
}

func text(file string) string {
	b, _ := os.ReadFile(file) // what cannot be read is not told
	return string(b)
}

// field is what a line of a file in /proc says.
func field(file, name string) string {
	for line := range strings.Lines(text(file)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// first is the first line that a program writes.
func first(ctx context.Context, program string, args ...string) string {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return string(line)
}
