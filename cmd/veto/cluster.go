package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
			p50, p99, failed := propagation(n.Propagation)
			clock, disk, ends := stands(n)
			rows = append(rows, []any{n.ID, part(n, s.Leader), n.Region, n.Address, n.State, n.Applied, lag(n), p50, p99, failed, clock, disk, ends, n.Pepper, n.Version})
		}
		if err := out.show(s, []string{"node", "role", "region", "address", "state", "applied", "lag", "p50", "p99", "failed", "clock", "disk free", "certificate", "pepper", "version"}, rows); err != nil {
			return err
		}
		return out.line("\n%s", summary(s))
	})
	c.Long = "Shows the nodes, and what is wrong with them.\n\n" +
		"pepper is whether a node has what API keys are stored by: held; locked if it lacks the key of one; none\n" +
		"if it was given no key, and then keys are stored by the SHA-256 of their secrets alone.\n\n" +
		"p50 and p99 are how long the last revocations took to each node: from when the node that is asked\n" +
		"had taken one until it had the other's word that it denies it, the way back included. They are of\n" +
		"its canary's, as many as failed is of. With ? a node has not confirmed so many, or not the last.\n\n" +
		"clock is how far that of a node is ahead of the one that is asked, and certificate until when it has one.\n" +
		"A waiting node becomes a voter when one is needed (voters); one that is joining is not let in yet.\n\n" +
		"What is wrong is said below, the graver first, each with what mends it."
	c.AddCommand(
		r.member("leave", "Have a node leave in order, and stop",
			"It takes nothing in any more, gives the others what it alone has, and the leadership if it has that, and\n"+
				"stops with exit code 0. What is in its data directory is of no more use then.",
			(*client.Client).LeaveCluster),
		r.member("promote", "Make a node a voter, for good", "The node keeps that in its data directory, over what is configured.", (*client.Client).PromoteNode),
		r.member("demote", "Make a node a replica, for good", "The node keeps that in its data directory, over what is configured.", (*client.Client).DemoteNode),
		newRemove(r), newRecover())
	return c
}

// part is what a node is in its cluster.
func part(n record.NodeStatus, leader string) string {
	switch {
	case n.ID == leader:
		return "leader"
	case !n.Member:
		return "joining"
	case n.Role == record.NodeReplica && n.Wants == record.NodeVoter:
		return "waiting"
	}
	return string(n.Role)
}

func lag(n record.NodeStatus) string {
	if n.LagMillis < 0 {
		return "?"
	}
	return fmt.Sprintf("%d ms", n.LagMillis)
}

// stands shows what a node stands on; nothing of one that was not heard.
func stands(n record.NodeStatus) (clock, disk, ends string) {
	if n.Host == nil {
		return "", "", ""
	}
	if n.Host.DiskSize > 0 {
		disk = fmt.Sprintf("%d %%", n.Host.DiskFree*100/n.Host.DiskSize)
	}
	return fmt.Sprintf("%+d ms", n.ClockMillis), disk, n.Host.NodeEndsAt.UTC().Format(time.DateOnly)
}

// summary says how many voters may be lost, and what is wrong and what mends it.
func summary(s record.ClusterStatus) string {
	var b strings.Builder
	switch {
	case s.CanLose >= 0 && s.Leader != "":
		fmt.Fprintf(&b, "%d of %d voters answer: the cluster can lose %d more, and go on.", s.Answer, s.Voters, s.CanLose)
	default:
		fmt.Fprintf(&b, "%d of %d voters answer: the cluster can change nothing.", s.Answer, s.Voters)
	}
	if !slices.ContainsFunc(s.Problems, func(p record.ClusterProblem) bool { return p.Severity != record.Note }) {
		b.WriteString(" All is well.")
	}
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "\n\n%-8s %s\n         %s", p.Severity, visible(p.What), visible(p.Mend))
	}
	return b.String()
}

// member makes a command that changes what a node is.
func (r *remote) member(name, short, long string, f func(c *client.Client, ctx context.Context, node string) (record.MemberChanged, error)) *cobra.Command {
	c := r.command(name+" NODE", short, cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		got, err := f(c, ctx, args[0])
		if err != nil {
			return err
		}
		return out.fields(got, got.Node, got.Detail)
	})
	c.Long = short + ".\n\n" + long
	return c
}

func newRemove(r *remote) *cobra.Command {
	force := false
	c := r.member("remove", "Remove a node that is gone for good",
		"What it had taken and nobody else was told of is lost with its disk. One that answers is to leave in order;\n"+
			"--force removes it all the same. With its old data directory it is not let in again as a voter.",
		func(c *client.Client, ctx context.Context, node string) (record.MemberChanged, error) {
			return c.RemoveNode(ctx, node, force)
		})
	c.Flags().BoolVar(&force, "force", false, "remove it though it answers")
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
