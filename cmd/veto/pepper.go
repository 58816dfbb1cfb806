package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/record"
)

func newPepper(r *remote) *cobra.Command {
	c := &cobra.Command{
		Use: "pepper", Short: "See and rotate the peppers that API keys are stored by",
		Long: "API keys are stored as HMAC-SHA-256 over the SHA-256 of their secrets, by a pepper: a secret of the\n" +
			"cluster, wrapped by the key in each node's pepper_key_file. A rotation makes another pepper, and all\n" +
			"keys are stored by it at once, on top of the one before; keys that are used are soon stored by the\n" +
			"new one alone. No key stops working.\n\n" +
			"To replace the key in the files: put a new one (openssl rand -base64 32) on a line above the old one\n" +
			"and start the nodes again, one after the other. When all have it the leader wraps the peppers by it,\n" +
			"as status shows; then take the old one out of the files.",
	}
	c.AddCommand(
		r.command("status", "Show the peppers, and how many secrets are stored by which", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
			s, err := c.Pepper(ctx)
			if err != nil {
				return err
			}
			return showPeppers(s, out)
		}),
		r.command("rotate", "Store all API keys by a new pepper", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
			v, err := c.RotatePepper(ctx)
			if err != nil {
				return err
			}
			return out.fields(v, "rotated", "the leader stores all keys by the new pepper now; `veto pepper status` shows how far it is", "revision", v.Revision)
		}))
	return c
}

func showPeppers(s record.PepperStatus, out *printer) error {
	if len(s.Peppers) == 0 && !out.json {
		return out.line("%s", noPepper(s.State))
	}
	rows := make([][]any, len(s.Peppers))
	for i, p := range s.Peppers {
		needed := 0
		for _, k := range s.Keys {
			if slices.Contains(k.Peppers, p.ID) {
				needed += k.Secrets
			}
		}
		rows[i] = []any{p.ID, moment(p.MadeAt), p.WrappedBy, moment(p.WrappedAt), needed}
	}
	if err := out.show(s, []string{"pepper", "made", "wrapped by", "wrapped", "secrets that need it"}, rows); err != nil || out.json {
		return err
	}
	var by []string
	for _, k := range s.Keys {
		by = append(by, fmt.Sprintf("%d by %s", k.Secrets, chain(k.Peppers)))
	}
	if s.State == record.PepperLocked {
		by = append(by, "the node that was asked cannot read a pepper: its log says what to do")
	}
	return out.line("\nSecrets are stored: %s.", strings.Join(by, "; "))
}

// chain names peppers that are used one after the other.
func chain(peppers []record.PepperID) string {
	if len(peppers) == 0 {
		return "none"
	}
	names := make([]string, len(peppers))
	for i, p := range peppers {
		names[i] = fmt.Sprint(p)
	}
	return strings.Join(names, " and then ")
}

func noPepper(s record.PepperState) string {
	if s == record.PepperHeld {
		return "There is no pepper yet: the leader makes one once every node has the same pepper_key_file; `veto cluster` shows which have one."
	}
	return "There is no pepper: API keys are stored by the SHA-256 of their secrets alone. Give every node a pepper_key_file to have one."
}
