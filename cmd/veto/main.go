// Command veto runs nodes of a Veto cluster and talks to them.
//
// Each file holds one subcommand. Here is all that knows flags, the environment, signals and
// exit codes; what the subcommands do is in package node and package client.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes, and those of validate.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2

	exitDeny    = 1
	exitUnknown = 2
	exitAsk     = 3 // it could not be asked
)

// exit is an error that ends the program with a code; Err may be nil.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := newRoot().ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code, shown := exitError, err
	if e := (*exit)(nil); errors.As(err, &e) {
		code, shown = e.code, e.err
	}
	if shown != nil {
		fmt.Fprintln(os.Stderr, "veto:", shown)
	}
	return code
}
