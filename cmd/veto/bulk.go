package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"veto/client"
)

// revokeFile sends a file of revocations, with a bar on a terminal.
type revokeFile struct {
	path, resume string
	in           io.Reader
	errors       io.Writer
	sent         atomic.Int64
}

func (f *revokeFile) given() bool { return f.path != "" || f.resume != "" }

// command is the command that was given --file.
func (f *revokeFile) command(r *remote, cmd *cobra.Command, args []string) error {
	if f.path == "" {
		return &exit{exitUsage, fmt.Errorf("--resume: goes with --file")}
	}
	if err := alone(cmd, "file", "resume"); err != nil {
		return err
	}
	f.in, f.errors = cmd.InOrStdin(), cmd.ErrOrStderr()
	return r.run(cmd, args, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		return f.run(ctx, c, out)
	})
}

// alone refuses flags of the command that would be for nothing beside those named.
func alone(cmd *cobra.Command, names ...string) (err error) {
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && !slices.Contains(names, f.Name) {
			err = &exit{exitUsage, fmt.Errorf("--%s: has no meaning with --%s, where each line says all of it", f.Name, names[0])}
		}
	})
	return err
}

func (f *revokeFile) run(ctx context.Context, c *client.Client, out *printer) error {
	key := f.resume
	if key == "" {
		key = "bulk-" + rand.Text()
	}
	bar, err := fileBar(f.path, f.errors)
	if err != nil {
		return err
	}
	last, err := c.RevokeAll(ctx, key, f.open, func(p client.Progress) {
		if p.Line > 0 {
			_ = bar.Clear() // a bar is for people who look on, and worth no error
			_, _ = fmt.Fprintf(f.errors, "line %d: %s\n", p.Line, p.Detail)
		}
		if p.Through > 0 {
			bar.Describe(fmt.Sprintf("%d lines", p.Through))
		}
		_ = bar.Set64(f.sent.Load())
	})
	_ = bar.Clear()
	var problem *client.Error
	if errors.As(err, &problem) && problem.Status == http.StatusConflict {
		return err // which would be said again
	}
	if err != nil {
		return fmt.Errorf("%w\nto go on where it was, within a day: veto revoke --file %s --resume %s", err, f.path, key)
	}
	err = out.fields(last, "lines", last.Through, "refused", last.Refused, "done before", last.Resumed, "revision", last.Revision)
	if err == nil && last.Refused > 0 {
		err = &exit{exitDeny, fmt.Errorf("%d of %d lines were refused", last.Refused, last.Through)}
	}
	return err
}

// fileBar shows how much of a file is sent; nothing where nobody looks on.
func fileBar(path string, to io.Writer) (*progressbar.ProgressBar, error) {
	size := int64(-1)
	if path != "-" {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		if info.IsDir() {
			return nil, &exit{exitUsage, fmt.Errorf("--file: %s is a directory", path)}
		}
		if info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	terminal, ok := to.(*os.File)
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(to), progressbar.OptionSetVisibility(ok && term.IsTerminal(int(terminal.Fd()))),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth(),
	), nil
}

// open begins at the beginning. Standard input has one beginning only.
func (f *revokeFile) open() (io.ReadCloser, error) {
	if f.path == "-" {
		if f.in == nil {
			return nil, fmt.Errorf("the node was lost, and standard input cannot be read again")
		}
		in := f.in
		f.in = nil
		return io.NopCloser(counted{in, &f.sent}), nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	f.sent.Store(0)
	return struct {
		io.Reader
		io.Closer
	}{counted{file, &f.sent}, file}, nil
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
