package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"veto/client"
)

// maxLeaked is how many secrets are reported at a time.
const maxLeaked = 512

// leakedType is what secrets that people report are taken for.
const leakedType = "veto_api_key"

func newKeysLeaked(r *remote) *cobra.Command {
	var where string
	var command *cobra.Command
	command = r.command("leaked", "Report secrets that were found where anyone can read them", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		var found []client.Leaked
		var lines []int
		in := linesOf(command.InOrStdin())
		for line := 1; in.Scan(); line++ {
			if text := strings.TrimSpace(in.Text()); text != "" {
				found, lines = append(found, client.Leaked{Token: text, Type: leakedType, URL: where}), append(lines, line)
			}
		}
		if err := in.Err(); err != nil {
			return fmt.Errorf("standard input: %w", lineError(err))
		}
		if len(found) == 0 || len(found) > maxLeaked {
			return &exit{exitUsage, fmt.Errorf("standard input has %d secrets; 1 to %d", len(found), maxLeaked)}
		}
		labels, err := c.ReportLeaked(ctx, found)
		if err != nil {
			return err
		}
		if len(labels) != len(found) {
			return fmt.Errorf("%d labels for %d secrets; is this the right address?", len(labels), len(found))
		}
		var rows [][]any
		for n, l := range labels {
			rows = append(rows, []any{lines[n], l.Hash, leakResult(l)})
		}
		return out.show(labels, []string{"line", "sha256", "result"}, rows)
	})
	command.Long = "Reads secrets from standard input, one a line, where others on this machine cannot see them. Those of\nAPI keys are revoked, or marked, as the node is set (leaked_keys); the last admin's is marked. Those of\nportal sessions are ended."
	command.Flags().StringVar(&where, "url", "", "where they were found")
	return command
}

// leakResult says whose a secret is, and what was done.
func leakResult(l client.LeakLabel) string {
	switch {
	case !l.Real():
		return "nobody's"
	case l.Done == "revoked":
		return "an API key's, which is revoked"
	case l.Done == "marked":
		return "an API key's, which goes on, and is marked: the node is set so, or it is the last admin's"
	case l.Done == "ended":
		return "a portal session's, which is ended"
	}
	return "was good once, and is no more"
}
