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
	veto, fill, inside, out, only, commit string
	quick                                 bool
	scale, keys                           int
}

// How long a section may take, quick or not, before it is given up: on a quiet machine all take far less.
const (
	quickLimit = 3 * time.Minute
	fullLimit  = 6 * time.Minute
	// each is how much longer for a revocation or key of those that are asked for.
	each = 60 * time.Microsecond
)

// section is a part of the report that is measured by itself.
type section struct {
	name string
	run  func(ctx context.Context, m *machine.Machine, o options) (any, error)
}

func all() []section {
	return []section{
		{"validate", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			return measure.RunValidate(ctx, m, o.sizes().validate)
		}},
		{"inside", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			return measure.RunInside(ctx, m, o.inside, o.sizes().inside)
		}},
		{"revoke", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			return measure.RunRevoke(ctx, m, o.sizes().revoke)
		}},
		{"denial", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			return measure.RunDenial(ctx, m, o.sizes().denial)
		}},
		{"scale", func(ctx context.Context, m *machine.Machine, o options) (any, error) {
			return measure.RunScale(ctx, m, o.sizes().scale)
		}},
	}
}

func sections(ctx context.Context, args []string) error {
	var o options
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	f.StringVar(&o.veto, "veto", "", "the program under test")
	f.StringVar(&o.fill, "fill", "", "the program that fills nodes, bench/fill")
	f.StringVar(&o.inside, "inside", "", "the test of room node, built: its benchmarks are run")
	f.StringVar(&o.out, "out", "results", "where what was measured goes, and the report of it")
	f.StringVar(&o.only, "only", "", "sections, with commas between them; all if empty")
	f.StringVar(&o.commit, "commit", "unknown", "what the program was built from")
	f.BoolVar(&o.quick, "quick", false, "less of everything: for trying out")
	f.IntVar(&o.scale, "scale", defaultScale, "how many revocations the scale curves go to, at least 10,000")
	f.IntVar(&o.keys, "keys", 0, "how many API keys the scale curves go to, 100,000 or more, if more than 20,000")
	if err := f.Parse(args); err != nil {
		return err
	}
	if !powerOfTen(o.scale) || o.scale < fewestRevocations {
		return errors.New("-scale: the curves begin at 10,000 and go by tens: give 100000, 1000000 and so on")
	}
	if o.keys != 0 && (!powerOfTen(o.keys) || o.keys < fewestFilled) {
		return errors.New("-keys: the curve goes by tens beyond what is made one by one: give 100000, 1000000 and so on")
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	began := time.Now()
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
	fmt.Fprintf(os.Stderr, "measured in %s: see %s\n", time.Since(began).Round(time.Second), filepath.Join(o.out, "README.md"))
	if o.quick {
		fmt.Fprintln(os.Stderr, "This was a quick run. Every system was held against what it must say, but rounds were few and short: its numbers are for looking, and not for quoting.")
	}
	return nil
}

// one measures a section and keeps what it found, so that another can be measured without it.
func one(ctx context.Context, s section, o options) (err error) {
	limit := fullLimit
	if s.name == "scale" {
		limit += time.Duration(o.scale+o.keys) * each
	}
	if o.quick {
		limit = quickLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := machine.New(o.veto, os.Stderr)
	if err != nil {
		return err
	}
	m.Fill = o.fill
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
