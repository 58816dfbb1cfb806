package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"veto/node"
)

func newServe() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run one node",
		Long: "Runs a node until it is told to stop. A node alone:\n\n  veto serve --data-dir /var/lib/veto\n\n" +
			"One of three, with the same line on each but for its id:\n\n" +
			"  veto serve --data-dir /var/lib/veto --node-id n1 --bind 10.0.0.1 --certs-dir /etc/veto/certs \\\n" +
			"    --bootstrap-expect 3 --join 10.0.0.1,10.0.0.2,10.0.0.3\n\n" +
			"A restart takes the same line. Settings come from flags, then VETO_* variables, then the file.",
		Args: cobra.NoArgs,
	}
	configFlags(c.Flags())
	var adminFile string
	c.Flags().StringVar(&adminFile, "admin-token-file", "", "file to make with the first admin's key, where the output is kept in a log; otherwise the key is shown")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		config, _, err := loadConfig(cmd.Flags())
		if err != nil {
			return &exit{exitUsage, err}
		}
		log := newLog(cmd.ErrOrStderr(), config)
		if err := keepMemory(); err != nil {
			log.Warn("the memory of this process, and so secrets, may be written to disk if it crashes", "error", err)
		}
		return serve(cmd.Context(), config, log, handOver(adminFile, cmd.OutOrStdout()))
	}
	return c
}

func newLog(w io.Writer, c node.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // the configuration is complete: it is one of four
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// handOver gives the first admin's key to whoever founded the cluster: in a file that only they can
// read, or on their terminal, and in no log.
func handOver(path string, out io.Writer) func(secret string) error {
	if path == "" {
		return func(secret string) error {
			_, err := fmt.Fprintf(out, "The cluster is founded. Its first admin's API key, shown once:\n\n  %s\n\n", secret)
			return err
		}
	}
	return func(secret string) error {
		if was, err := os.ReadFile(path); err == nil && string(was) == secret+"\n" {
			return nil // the node was killed just after it had been written
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("--admin-token-file: %w", err)
		}
		_, err = f.WriteString(secret + "\n")
		return errors.Join(err, f.Sync(), f.Close())
	}
}

// serve runs the node until the context ends or it fails.
func serve(ctx context.Context, c node.Config, log *slog.Logger, admin func(secret string) error) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // before the start, which it would end
	defer signal.Stop(reload)
	n, err := node.Start(c, node.Surroundings{
		Version: version, Now: clock(), Log: log,
		AdminToken: admin,
		Fatal: func(why string) {
			_, _ = fmt.Fprintf(os.Stderr, "veto: the disk failed: %s; nothing that was answered is lost: make room or mend the disk, and start the node again\n", why)
			os.Exit(exitError)
		},
	})
	if err != nil {
		return err
	}
	system, err := supervise(ctx, n.Ready)
	if err != nil {
		return errors.Join(fmt.Errorf("systemd cannot be told how the node is: %w", err), n.Close())
	}
	log.Info("the node answers", "node", c.NodeID, "data_dir", c.DataDir)
	err = stay(ctx, n, reload, log)
	system.stopping()
	if closeErr := n.Close(); err == nil {
		err = closeErr
	}
	return err
}

// leaveLimit is how long a node that leaves waits for the others.
const leaveLimit = 30 * time.Second

// stay waits until the node is to stop, and has it leave first if that is wanted.
func stay(ctx context.Context, n *node.Node, reload <-chan os.Signal, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			log.Info("stopping")
			return nil
		case err := <-n.Failed():
			log.Error("the node cannot go on", "error", err)
			return err
		case <-n.Leaving():
			log.Info("leaving the cluster")
			ctx, cancel := context.WithTimeout(ctx, leaveLimit)
			defer cancel()
			err := n.Leave(ctx)
			if err == nil {
				log.Info("this node has left its cluster; what is in its data directory is of no more use")
			}
			return err
		case <-reload:
			n.Reload()
		}
	}
}
