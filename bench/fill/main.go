package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"veto/record"
	"veto/replication/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, say io.Writer) (err error) {
	f := flag.NewFlagSet("fill", flag.ContinueOnError)
	f.SetOutput(say)
	dir := f.String("data-dir", "", "data directory of the node, which does not run")
	what := f.String("what", "", "revocations or keys")
	first := f.Int("first", 0, "number of the first")
	count := f.Int("count", 0, "how many")
	of := f.String("of", "", "the iss of revocations, the consumer of keys")
	form := f.String("form", "", "the jti of a revocation, or the secret of a key, with a place for its number, as in fmt.Sprintf")
	if err := f.Parse(args); err != nil {
		return err
	}
	w := &filler{first: *first, count: *count, of: *of, form: *form, stamp: time.Now().UTC().Truncate(time.Millisecond), say: say}
	switch *what {
	case "revocations":
		w.write, w.atOnce = w.revocations, record.MaxImport
	case "keys":
		w.write, w.atOnce = w.keys, keysAtOnce
	default:
		return fmt.Errorf("-what: %q is neither revocations nor keys", *what)
	}
	// Opened only where a node was: a new directory would be a state without a cluster.
	if _, known, err := store.ReadIdentity(*dir); err != nil || !known {
		return errors.Join(fmt.Errorf("-data-dir: %q is no node's", *dir), err)
	}
	if w.store, err = store.Open(filepath.Join(*dir, stateDir), store.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.store.Close()) }()
	return w.fill(ctx)
}

// stateDir is room node's name of it.
const stateDir = "state"
