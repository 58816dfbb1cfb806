// Command side puts Veto beside what else people build, and makes a report of it. `make bench` runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"veto/bench/side/machine"
	"veto/bench/side/measure"
	"veto/bench/side/report"
)

func main() {
	redis.SetLogger(quiet{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch {
	case command == "load":
		return measure.RunLoad(ctx, os.Stdin, os.Stdout)
	case command == "peer" && len(args) == 2:
		return measure.RunPeer(ctx, args[1])
	case command == "report" && len(args) == 2:
		return report.Write(args[1])
	case command == "run":
		return sections(ctx, args[1:])
	}
	return errors.New("usage: side run [flags]; see side run -h")
}

// quiet keeps Redis' client from telling what comes back as an error, too.
type quiet struct{}

// Printf writes nothing.
func (quiet) Printf(context.Context, string, ...any) {}

// options are the flags of a run.
type options struct {
	veto, root, out, only, commit string
	quick                         bool
	scale                         int
}

// How long a section may take, quick or not, before it is given up: on a quiet machine all take far less.
const (
	quickLimit = 3 * time.Minute
	fullLimit  = 6 * time.Minute
)

// section is a part of the report that is measured by itself.
type section struct {
	name string
	run  func(ctx context.Context, m *machine.Machine, o options) (any, error)
}

func all() []section {
	return []section{
		{"validate", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			z := measure.Sizes{Rounds: 3, Round: 1500 * time.Millisecond, Step: time.Second, Revoked: 100_000}
			if o.quick {
				z = measure.Sizes{Rounds: 1, Round: 300 * time.Millisecond, Step: 200 * time.Millisecond, Revoked: 10_000}
			}
			return measure.RunValidate(ctx, m, z)
		}},
		{"inside", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			long := time.Second
			if o.quick {
				long = 100 * time.Millisecond
			}
			return measure.RunInside(ctx, m, o.root, long)
		}},
		{"revoke", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			z := measure.RevokeSizes{Rounds: 3, Round: 2 * time.Second, Writers: []int{1, 64, 512}, Bulk: 200_000}
			if o.quick {
				z = measure.RevokeSizes{Rounds: 1, Round: 400 * time.Millisecond, Writers: []int{1, 64, 512}, Bulk: 20_000}
			}
			return measure.RunRevoke(ctx, m, z)
		}},
		{"denial", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			ms := time.Millisecond
			z := measure.DenialSizes{Delays: []time.Duration{0, 10 * ms, 40 * ms, 80 * ms}, Counts: []int{300, 100, 60, 30}, Cached: true, Limit: 10 * time.Second}
			if o.quick {
				z = measure.DenialSizes{Delays: []time.Duration{0, 40 * ms}, Counts: []int{12, 4}, Limit: 3 * time.Second}
			}
			return measure.RunDenial(ctx, m, z)
		}},
		{"scale", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			z := measure.ScaleSizes{
				Round: time.Second, Keys: []int{1000, 5000, 20_000}, Issuers: []int{1, 10, 100, 1000},
				Voters: []int{1, 3, 5, 7}, Replicas: []int{1, 5, 15, 27}, Conns: []int{10, 100, 1000, 10_000},
			}
			for n := 10_000; n <= o.scale; n *= 10 {
				z.Revocations = append(z.Revocations, n)
			}
			if o.quick {
				z = measure.ScaleSizes{
					Round: 300 * time.Millisecond, Revocations: []int{1000, 10_000, 50_000}, Keys: []int{100, 500, 1000}, Issuers: []int{1, 10, 50},
					Voters: []int{3}, Replicas: []int{2}, Conns: []int{10, 100, 1000},
				}
			}
			return measure.RunScale(ctx, m, z)
		}},
	}
}

func sections(ctx context.Context, args []string) error {
	var o options
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	f.StringVar(&o.veto, "veto", "", "the program under test")
	f.StringVar(&o.root, "root", ".", "the directory of Veto's source")
	f.StringVar(&o.out, "out", "results", "where what was measured goes, and the report of it")
	f.StringVar(&o.only, "only", "", "sections, with commas between them; all if empty")
	f.StringVar(&o.commit, "commit", "unknown", "what the program was built from")
	f.BoolVar(&o.quick, "quick", false, "less of everything: for trying out")
	f.IntVar(&o.scale, "scale", 1_000_000, "how many revocations the scale curves go to")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	names := strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' })
	for _, s := range all() {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		if err := one(ctx, s, o); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := report.Write(o.out); err != nil {
			return err
		}
	}
	return nil
}

// one measures a section and keeps what it found, so that another can be measured without it.
func one(ctx context.Context, s section, o options) (err error) {
	limit := fullLimit
	if o.quick {
		limit = quickLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := machine.New(o.veto, os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	began := time.Now()
	m.Say("%s", s.name)
	found, err := s.run(ctx, m, o)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(report.Part[any]{Run: about(ctx, o, began), Found: found}, "", " ")
	if err != nil {
		return err
	}
	m.Say("  done in %s", time.Since(began).Round(time.Second))
	return os.WriteFile(filepath.Join(o.out, s.name+".json"), append(b, '\n'), 0o644)
}
