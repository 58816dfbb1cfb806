package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"veto/node/recovery"
)

func newRecover() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "recover", Short: "Go on with one node, after the quorum was lost for good", Args: cobra.NoArgs,
		Long: "Makes a node that is stopped the only one of a new cluster, with all that it has: its state, its log, and\n" +
			"the revocations that it took and could bring to nobody. Give its settings, just as to `veto serve`.\n\n" +
			"Only when a majority of the voters is lost for good: if they can be started again, start them. Nothing is\n" +
			"changed without --yes. Without it, it shows what the node has: do so on each that is left, and go on with\n" +
			"the one that has the highest log term, and of those the highest log end. What only lost nodes had is lost.\n" +
			"What the log has and was never committed is in force afterwards.\n\n" +
			"Then start that node, and the others with empty data directories, once no node runs any more with what it had:\n" +
			"the new cluster does not hear such a node, but it answers whoever asks it, and draws empty ones to itself.\n" +
			"See docs/backup.md.",
	}
	configFlags(c.Flags())
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		config, out, err := offline(cmd)
		if err != nil {
			return err
		}
		if !yes {
			last, err := recovery.Look(config)
			if err != nil {
				return err
			}
			if err := showLast(out, last); err != nil {
				return err
			}
			return &exit{exitError, errors.New("nothing was changed; to go on with this node alone, give --yes")}
		}
		r, err := recovery.Recover(config)
		if err != nil {
			return err
		}
		err = out.fields(r, "recovered", config.Node.DataDir, "node", r.Node, "cluster", r.Cluster, "was", r.Was,
			"had", fmt.Sprintf("revision %d, and %d entries of the log that its state had not", r.From, r.Replayed),
			"pending", fmt.Sprintf("%d revocations, which it proposes when it starts", r.Had.Pending), "begins at", fmt.Sprintf("revision %d", r.Begins),
			"last entry", moment(r.Had.LogAt), "left", left(r.Had.LeftAt), "empty", lacking(r.Had.Lacks))
		if err == nil {
			err = out.line("\nStart this node, and then the others with empty data directories: what they have is of the old cluster.\n" +
				"Recover none of them: that would be a third cluster, which gives the same revisions and hears nothing of this one.")
		}
		return err
	}
	return c
}

func showLast(out *printer, l recovery.Last) error {
	var nodes []string
	for _, s := range l.Servers {
		role := "replica"
		if s.Voter {
			role = "voter"
		}
		nodes = append(nodes, fmt.Sprintf("%s (%s, %s)", s.ID, role, s.Address))
	}
	return out.fields(l, "node", l.Node, "cluster", l.Cluster, "state", fmt.Sprintf("revision %d", l.Revision), "log term", l.LogTerm, "log end", l.Log,
		"last entry", moment(l.LogAt), "pending", fmt.Sprintf("%d revocations", l.Pending), "nodes", strings.Join(nodes, ", "), "left", left(l.LeftAt), "empty", lacking(l.Lacks))
}

// lacking warns of parts of a data directory in which there is nothing; empty if there are none.
func lacking(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, " and ") + ": what the node had there is missing; see that its disk is mounted"
}

// left warns of a node without which its cluster went on; empty if it did not.
func left(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return moment(at) + ": the cluster went on without this node, and whatever it revoked since is missing"
}
