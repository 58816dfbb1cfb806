package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"veto/node"
	"veto/node/recovery"
)

func newRestore() *cobra.Command {
	var identityFile string
	var survivors []string
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make the first node of a new cluster from a backup", Args: cobra.ExactArgs(1),
		Long: "Makes a new data directory from a backup. Give the settings that the node will have, as flags, VETO_*\n" +
			"variables or --config, just as to `veto serve`. Start that node next, then the others, each with an empty\n" +
			"data directory and this one in --join: they get the state from it.\n\n" +
			"What was changed after the backup is missing. So that no revocation is, give what nodes of the old cluster\n" +
			"still know: --merge with the data directory of a node that is stopped, or with a file of\n" +
			"`veto revocations export`; more than once, if there are several. What they know to be revoked is revoked\n" +
			"from the first start on. What had been lifted after the backup is revoked again: lift it again.\n\n" +
			"The cluster that is made is another one: nodes of the old one are not let in. See docs/backup.md.",
	}
	configFlags(c.Flags())
	c.Flags().StringVar(&identityFile, "identity-file", "", "file with the age identity that opens the backup, if it is encrypted")
	c.Flags().StringArrayVar(&survivors, "merge", nil, "what a node of the old cluster knows to be revoked: its data directory, or an export; may be given more than once")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		config, out, err := offline(cmd)
		if err != nil {
			return err
		}
		in, closer, err := openBackup(cmd.Context(), args[0], identityFile)
		if err != nil {
			return err
		}
		restored, err := recovery.Restore(cmd.Context(), config, in, survivors)
		if err = errors.Join(err, closer.Close()); err != nil {
			return notWhole(err)
		}
		return showRestored(out, restored, config.Node)
	}
	return c
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

func showRestored(out *printer, r recovery.Restored, c node.Config) error {
	err := out.fields(r, "restored", c.DataDir, "node", r.Node, "cluster", r.Cluster, "was", r.Was,
		"backup", fmt.Sprintf("revision %d, complete as of %s", r.From, moment(r.Backup.AsOf)), "begins at", fmt.Sprintf("revision %d", r.Begins))
	through := r.From
	for _, m := range r.Merged {
		through = max(through, m.Through)
		if err == nil {
			err = out.line("%-14s%s: %d revocations, %d of them not in the backup and now revoked, %d refused", "merged", visible(m.From), m.Revocations, m.Added, m.Refused)
		}
		for _, why := range m.Refusals {
			if err == nil {
				err = out.line("%14s%s", "", visible(why))
			}
		}
	}
	if err != nil {
		return err
	}
	known := ""
	if len(r.Merged) > 0 {
		known = ", but for what it revoked"
	}
	if through > r.From {
		known += fmt.Sprintf("; it came to revision %d at least", through)
	}
	err = out.line("\nWhat the old cluster did after revision %d is missing%s.\n"+
		"Keys that were deleted, disabled or rolled since are as they were then: `veto audit export` of an old node\n"+
		"tells of them. What was lifted since is revoked.", r.From, known)
	if err == nil {
		err = out.line("\nStart this node, and then the others with empty data directories.")
	}
	return err
}
