package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/record"
)

func newCluster(r *remote) *cobra.Command {
	c := r.command("cluster", "Show the nodes, and what is wrong with them", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		s, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		var rows [][]any
		for _, n := range s.Nodes {
			role := string(n.Role)
			if n.ID == s.Leader {
				role = "leader"
			}
			lag := "?"
			if n.LagMillis >= 0 {
				lag = fmt.Sprintf("%d ms", n.LagMillis)
			}
			p50, p99, failed := propagation(n.Propagation)
			rows = append(rows, []any{n.ID, role, n.Region, n.Address, n.State, n.Applied, lag, p50, p99, failed, n.Pepper, n.Version})
		}
		if err := out.show(s, []string{"node", "role", "region", "address", "state", "applied", "lag", "p50", "p99", "failed", "pepper", "version"}, rows); err != nil {
			return err
		}
		return out.line("\n%s%s%s", remark(s), leaked(s), withoutPepper(s))
	})
	c.Long = "Shows the nodes, and what is wrong with them.\n\n" +
		"pepper is whether a node has what API keys are stored by: held; locked if it lacks the key of one; none\n" +
		"if it was given no key, and then keys are stored by the SHA-256 of their secrets alone.\n\n" +
		"p50 and p99 are how long the last revocations took to each node: from when the node that is asked\n" +
		"had taken one until it had the other's word that it denies it, the way back included. They are of\n" +
		"its canary's, as many as failed is of. With ? a node has not confirmed so many, or not the last.\n\n" +
		"When the audit trail of one is not the one that the node which is asked has, that is said below."
	c.AddCommand(newRecover())
	return c
}

// propagation shows what was measured of a node; nothing of the one that was asked.
func propagation(p *record.Propagation) (p50, p99, failed string) {
	if p == nil {
		return "", "", ""
	}
	show := func(millis float64) string {
		if millis < 0 {
			return "?"
		}
		return fmt.Sprintf("%.1f ms", millis)
	}
	return show(p.P50Millis), show(p.P99Millis), fmt.Sprintf("%d of %d", p.Failed, p.Failed+p.Samples)
}

// leaked says that there are keys that whoever has found them can use.
func leaked(s record.ClusterStatus) string {
	if s.LeakedKeys == 0 {
		return ""
	}
	return fmt.Sprintf("\nAPI keys that go on though anyone can read them somewhere: %d; `veto keys list --state leaked` shows which. Roll or revoke them; of the last admin's make another first.", s.LeakedKeys)
}

// withoutPepper says that API keys are stored by a hash that needs no secret, and which nodes lack what
// would change that.
func withoutPepper(s record.ClusterStatus) string {
	var without []string
	for _, n := range s.Nodes {
		if n.Pepper == record.PepperNone {
			without = append(without, n.ID)
		}
	}
	if len(without) == 0 {
		return ""
	}
	return fmt.Sprintf("\nAPI keys are stored by the SHA-256 of their secrets alone, without a pepper: give %s a pepper_key_file, the same as on all nodes, to change that.", words(without))
}

// older are the nodes whose programs know less than others', and newest is the highest level that one knows.
func older(s record.ClusterStatus) (nodes []string, newest record.Level) {
	for _, n := range s.Nodes {
		newest = max(newest, n.Level)
	}
	for _, n := range s.Nodes {
		if n.Level != 0 && n.Level < newest {
			nodes = append(nodes, n.ID)
		}
	}
	return nodes, newest
}

// slowMillis is the lag from which a node is worth a look.
const slowMillis = 5000

// remark says what is wrong and what to do.
func remark(s record.ClusterStatus) string {
	voters, alive := 0, 0
	var slow, silent, other, locked []string
	behind, newest := older(s)
	for _, n := range s.Nodes {
		if n.Pepper == record.PepperLocked {
			locked = append(locked, n.ID)
		}
		if n.Audit == record.AuditDiffers {
			other = append(other, n.ID)
		}
		if n.Propagation != nil && n.Propagation.P50Millis < 0 {
			silent = append(silent, n.ID)
		}
		if n.Role != record.NodeVoter {
			continue
		}
		voters++
		if n.State == "alive" && n.LagMillis >= 0 {
			alive++
		}
		if n.LagMillis > slowMillis {
			slow = append(slow, n.ID)
		}
	}
	switch {
	case len(other) > 0:
		return fmt.Sprintf("The audit trail of %s is not the one that the node which was asked has: one of them was altered. `veto audit verify --head` with a head that was written down tells which; keep both disks.", words(other))
	case s.Leader == "":
		return fmt.Sprintf("No leader: %d of %d voters answer, %d are needed. Nothing can be changed until more are started; nodes answer from what they have until it is too stale.", alive, voters, voters/2+1)
	case alive <= voters/2+1 && voters > 1 && alive < voters:
		return fmt.Sprintf("%d of %d voters answer: losing one more stops all changes. Start the missing ones.", alive, voters)
	case alive < voters:
		return fmt.Sprintf("%d of %d voters answer. Start the missing ones.", alive, voters)
	case len(slow) > 0:
		return fmt.Sprintf("%s lag behind: look at their logs and their network.", words(slow))
	case len(silent) > 0:
		return fmt.Sprintf("%s did not confirm within 10 s what was revoked here: look at their logs and their network.", words(silent))
	case len(locked) > 0:
		return fmt.Sprintf("%s cannot read a pepper, and so check no API key: give them the pepper_key_file of the others and start them again; their logs name the key.", words(locked))
	case len(behind) > 0:
		return fmt.Sprintf("An older version runs on %s than on others: what needs level %d is refused until the newer one runs on all. Upgrade them.", words(behind), newest)
	case voters == 1 && len(s.Nodes) == 1:
		return "All is well, with one node: nothing survives the loss of its disk."
	}
	return "All is well."
}
