package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"veto/client"
)

func newWatch(r *remote) *cobra.Command {
	var after string
	c := &cobra.Command{
		Use: "watch", Short: "Show what happens, as it happens, one CloudEvent a line", Args: cobra.NoArgs,
		Long: "Prints revocations that are made and lifted, and API keys that are made, changed and deleted, until it\n" +
			"is stopped. It goes on by itself when a node is lost, without a gap and without a double.\n\n" +
			"  veto watch                       from now on\n" +
			"  veto watch --after 42.1          what happened after that event, of the last two days, and then on\n" +
			"  veto watch --after 0.0           all that there was, in a cluster that is younger than that",
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return r.run(cmd, args, func(ctx context.Context, c *client.Client, _ []string, _ *printer) error {
			lines := json.NewEncoder(cmd.OutOrStdout())
			place, err := c.Events(ctx, after, func(e client.Event) error { return lines.Encode(e) })
			if errors.Is(err, context.Canceled) {
				return nil // it was stopped
			}
			if place != after {
				err = fmt.Errorf("%w\nto go on where it was: veto watch --after %s", err, place)
			}
			return err
		})
	}
	c.Flags().StringVar(&after, "after", "", "the id of the last event that is known")
	return c
}
