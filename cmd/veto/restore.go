package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/node"
	"veto/node/recovery"
	"veto/record"
)

func newRestore() *cobra.Command {
	var identityFile, refusedFile string
	var survivors []string
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make the first node of a new cluster from a backup", Args: cobra.ExactArgs(1),
		Long: "Makes a new data directory from a backup. Give the settings that the node will have, as flags, VETO_*\n" +
			"variables or --config, just as to `veto serve`. Start that node next, then the others, each with an empty\n" +
			"data directory and this one in --join: they get the state from it.\n\n" +
			"What was changed after the backup is missing. So that no revocation is, give what nodes of the old cluster\n" +
			"still know: --merge with the data directory of a node that is stopped, or with a file of\n" +
			"`veto revocations export`; more than once, if there are several. What they know to be revoked is revoked\n" +
			"from the first start on. What had been lifted after the backup is revoked again: lift it again. What names\n" +
			"an issuer, key or consumer that the backup does not know is refused: --refused keeps it, one a line, for\n" +
			"`veto revoke --file` once you have made that again.\n\n" +
			"The cluster that is made is another one: nodes of the old one are not let in. See docs/backup.md.",
	}
	configFlags(c.Flags())
	c.Flags().StringVar(&identityFile, "identity-file", "", "file with the age identity that opens the backup, if it is encrypted")
	c.Flags().StringArrayVar(&survivors, "merge", nil, "what a node of the old cluster knows to be revoked: its data directory, or an export; may be given more than once")
	c.Flags().StringVar(&refusedFile, "refused", "", "file to make with the revocations that --merge refused; none is overwritten")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		config, out, err := offline(cmd)
		if err != nil {
			return err
		}
		in, closer, err := openBackup(cmd.Context(), args[0], identityFile)
		if err != nil {
			return err
		}
		restored, err := restore(cmd.Context(), config, in, survivors, refusedFile)
		if err = errors.Join(err, closer.Close()); err != nil {
			return notWhole(err)
		}
		return showRestored(out, restored, config.Node, refusedFile)
	}
	return c
}

// restore restores, and has what was refused in the file, if one is named, before the directory is a node's.
func restore(ctx context.Context, config recovery.Config, in io.Reader, survivors []string, refusedFile string) (out recovery.Restored, err error) {
	if refusedFile == "" {
		return recovery.Restore(ctx, config, in, survivors)
	}
	f, err := os.OpenFile(refusedFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator's own file
	if err != nil {
		return out, fmt.Errorf("--refused: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(refusedFile)
		}
	}()
	buffer := bufio.NewWriter(f)
	lines := json.NewEncoder(buffer)
	end := config.Fatal
	config.Fatal = func(why string) {
		_ = os.Remove(refusedFile)
		end(why)
	}
	config.Refused = func(r record.Revocation) error {
		l := client.RevokeRequest{Target: r.Target.String(), Issuer: r.Issuer, Value: r.Value, And: r.And, Reason: r.Reason}
		if !r.NotBefore.IsZero() {
			l.NotBefore = &r.NotBefore
		}
		return lines.Encode(l)
	}
	config.Merged = func() error { return errors.Join(buffer.Flush(), f.Sync()) }
	return recovery.Restore(ctx, config, in, survivors)
}

// offline is the configuration of a node that is worked on while it does not run.
func offline(cmd *cobra.Command) (recovery.Config, *printer, error) {
	config, _, err := loadConfig(cmd.Flags())
	if err != nil {
		return recovery.Config{}, nil, &exit{exitUsage, err}
	}
	out, err := outputOf(cmd)
	return recovery.Config{
		Node: config, Now: clock(), Log: newLog(cmd.ErrOrStderr(), config),
		Fatal: func(why string) {
			_, _ = fmt.Fprintf(os.Stderr, "veto: the disk failed: %s; make room or mend the disk, and do it again\n", why)
			os.Exit(exitError)
		},
	}, out, err
}

func showRestored(out *printer, r recovery.Restored, c node.Config, refusedFile string) error {
	err := out.fields(r, "restored", c.DataDir, "node", r.Node, "cluster", r.Cluster, "was", r.Was,
		"backup", fmt.Sprintf("revision %d, complete as of %s", r.From, moment(r.Backup.AsOf)), "begins at", fmt.Sprintf("revision %d", r.Begins))
	through, refused := r.From, uint64(0)
	for _, m := range r.Merged {
		through, refused = max(through, m.Through), refused+m.Refused
		if err == nil {
			err = out.line("%-14s%s: %d revocations, %d of them not in the backup and now revoked, %d refused", "merged", visible(m.From), m.Revocations, m.Added, m.Refused)
		}
		if err == nil && len(m.Lacks) > 0 {
			err = out.line("%14sempty: %s", "", lacking(m.Lacks))
		}
		for _, why := range m.Refusals {
			if err == nil {
				err = out.line("%14s%s", "", visible(why))
			}
		}
		if more := m.Refused - uint64(len(m.Refusals)); err == nil && more > 0 {
			err = out.line("%14sand %d more", "", more)
		}
	}
	if err != nil {
		return err
	}
	known := ""
	if len(r.Merged) > 0 {
		known = ", but for what it revoked"
	}
	if refused > 0 {
		known += " and was not refused"
	}
	if through > r.From {
		known += fmt.Sprintf("; it came to revision %d at least", through)
	}
	err = out.line("\nWhat the old cluster did after revision %d is missing%s.\n"+
		"Keys, consumers and issuers that were deleted, disabled or rolled since are as they were then, sessions that were\n"+
		"ended are open, roles and rules are the old ones: the audit trail of the old cluster tells of them (docs/backup.md).\n"+
		"What was lifted since is revoked.", r.From, known)
	if err == nil && refused > 0 {
		err = out.line("\n%s", aboutRefused(refusedFile))
	}
	if err == nil {
		err = out.line("\nStart this node, and then the others with empty data directories.")
	}
	return err
}

func aboutRefused(file string) string {
	if file == "" {
		return "What was refused is NOT revoked. If its issuers, keys or consumers are made again, it is to be revoked again,\n" +
			"before they are used: restore into an empty directory with --refused FILE to have all of it for `veto revoke --file`."
	}
	return fmt.Sprintf("What was refused is NOT revoked. If its issuers, keys or consumers are made again: `veto revoke --file %s`,\n"+
		"before they are used. A line that is no revocation is not in that file.", file)
}
