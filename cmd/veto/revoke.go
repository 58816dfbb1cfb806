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

// longestWait is how long a node waits for others at most.
const longestWait = 30 * time.Second

// What --wait may wait for.
const (
	waitCommitted = "committed"
	waitEnforced  = "enforced"
)

func newRevoke(r *remote) *cobra.Command {
	var request client.RevokeRequest
	var until, wait string
	var and []string
	file := revokeFile{}
	c := &cobra.Command{
		Use:   "revoke TARGET VALUE",
		Short: "Take back a token, a key, or all tokens of someone",
		Long: "TARGET is jti, token, subject, client, session, signing_key, issuer, key or consumer.\n\n" +
			"  veto revoke token -                                  the JWT itself, from standard input\n" +
			"  veto revoke jti ID --issuer ISS                      one token by its jti\n" +
			"  veto revoke subject alice --issuer ISS               all of alice's tokens, for good\n" +
			"  veto revoke subject alice --issuer ISS --issued-before now   those she has now\n" +
			"  veto revoke subject alice --and client=app --issuer ISS      those that alice's app has\n" +
			"  veto revoke issuer ISS                               all tokens of an issuer\n" +
			"  veto revoke key key_01...                            an API key\n" +
			"  veto revoke --file FILE                              many, one a line, as JSON: {\"target\": \"jti\", \"issuer\": ISS, \"value\": ID}",
		Args: func(cmd *cobra.Command, args []string) error {
			if file.given() {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(2)(cmd, args)
		},
		ValidArgs: record.TargetNames(),
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if file.given() {
			return file.command(r, cmd, args)
		}
		if wait != waitCommitted && wait != waitEnforced {
			return &exit{exitUsage, fmt.Errorf("--wait: %q is neither committed nor enforced", wait)}
		}
		if err := readParts(&request, and); err != nil {
			return err
		}
		if err := readTarget(cmd, &request, args, until); err != nil {
			return err
		}
		return r.run(cmd, args, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
			receipt, err := c.Revoke(ctx, request, wait == waitEnforced, min(r.timeout/2, longestWait))
			if err != nil {
				return err
			}
			return showReceipt(receipt, out)
		})
	}
	c.Flags().StringVar(&request.Issuer, "issuer", "", "the iss within which VALUE has its meaning")
	c.Flags().StringVar(&file.path, "file", "", "revoke what the file says, one a line; - for standard input")
	c.Flags().StringVar(&file.resume, "resume", "", "with --file: go on with a stream that was cut off, by the name that was printed")
	c.Flags().StringArrayVar(&and, "and", nil, "what else a token must bear, as TARGET=VALUE; may be given several times")
	c.Flags().StringVar(&request.Reason, "reason", "", "why; people will read it")
	c.Flags().StringVar(&until, "issued-before", "", "deny only what was issued until then: now, or a time such as 2026-01-31T12:00:00Z")
	c.Flags().StringVar(&wait, "wait", waitCommitted, "answer when it is committed, or when every node has said that it is enforced")
	return c
}

func showReceipt(receipt record.Receipt, out *printer) error {
	if receipt.State == record.StatePending {
		return out.fields(receipt, "id", receipt.ID, "state", receipt.State, "durable on", words(receipt.DurableOn),
			"enforced on", words(receipt.EnforcedOn), "pending on", words(receipt.PendingOn))
	}
	return out.fields(receipt, "id", receipt.ID, "revision", receipt.Revision, "state", receipt.State, "kept", kept(receipt.KeptUntil),
		"enforced on", words(receipt.EnforcedOn), "pending on", words(receipt.PendingOn))
}

// readTarget fills in what the arguments say. A token is presented itself, not named.
func readTarget(cmd *cobra.Command, request *client.RevokeRequest, args []string, until string) error {
	target, value := args[0], args[1]
	switch {
	case !slices.Contains(record.TargetNames(), target):
		return &exit{exitUsage, fmt.Errorf("%q is no target; give one of %s", target, strings.Join(record.TargetNames(), ", "))}
	case target == "token" && (until != "" || request.Issuer != "" || len(request.And) > 0):
		return &exit{exitUsage, fmt.Errorf("a token says itself whose it is and when it was issued: leave out --issuer, --issued-before and --and")}
	case target == "token":
		token, err := secretArg(cmd.InOrStdin(), value)
		request.Token = token
		return err
	case target == "issuer" && request.Issuer != "" && request.Issuer != value:
		return &exit{exitUsage, fmt.Errorf("the issuer is given twice, and differently: leave out --issuer")}
	case target == "issuer":
		request.Target, request.Issuer = target, value
	default:
		request.Target, request.Value = target, value
	}
	if until == "" {
		return nil
	}
	at := time.Now().UTC()
	if until != "now" {
		var err error
		if at, err = record.ParseTime(until); err != nil {
			return &exit{exitUsage, fmt.Errorf("--issued-before: %q is neither now nor a time such as 2026-01-31T12:00:00Z", until)}
		}
	}
	request.NotBefore = &at
	return nil
}

func readParts(request *client.RevokeRequest, and []string) error {
	for _, text := range and {
		target, value, _ := strings.Cut(text, "=")
		part := record.Part{Value: value}
		if err := part.Target.UnmarshalText([]byte(target)); err != nil || value == "" {
			return &exit{exitUsage, fmt.Errorf("--and: %q is not TARGET=VALUE, such as client=app", text)}
		}
		request.And = append(request.And, part)
	}
	return nil
}

func newRevocations(r *remote) *cobra.Command {
	var l client.List
	var reason string
	all := r.command("list", "List revocations", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		page, err := c.Revocations(ctx, l)
		if err != nil {
			return err
		}
		return out.show(page, revocationHead, revocationRows(page.Items))
	})
	listFlags(all, &l)
	one := r.command("get ID", "Show a revocation", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		v, err := c.Revocation(ctx, args[0])
		if err != nil {
			return err
		}
		rows := revocationRows([]client.Revocation{v.Revocation})
		if v.State == record.StatePending {
			rows[0][keptColumn] = "not known yet"
		}
		rows[0] = append(rows[0], v.State, words(v.EnforcedOn), words(v.PendingOn), words(v.DurableOn))
		return out.show(v, append(slices.Clone(revocationHead), "state", "enforced on", "pending on", "durable on"), rows)
	})
	lift := r.command("lift ID", "Take a revocation back", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		if reason == "" {
			return &exit{exitUsage, fmt.Errorf("--reason: say why it is lifted")}
		}
		v, err := c.Lift(ctx, args[0], reason)
		if err != nil {
			return err
		}
		return out.fields(v, "lifted", args[0], "revision", v.Revision)
	})
	lift.Flags().StringVar(&reason, "reason", "", "why; it is kept in the audit trail")
	export := &cobra.Command{Use: "export", Short: "Write all revocations, one a line, as `veto revoke --file` takes them", Args: cobra.NoArgs}
	export.RunE = func(cmd *cobra.Command, args []string) error {
		return r.run(cmd, args, func(ctx context.Context, c *client.Client, _ []string, _ *printer) error {
			return c.Export(ctx, cmd.OutOrStdout())
		})
	}
	c := &cobra.Command{Use: "revocations", Short: "See revocations, and lift them"}
	c.AddCommand(all, one, onlyIf(lift), export)
	return c
}

// kept is until when the log keeps a revocation.
func kept(until time.Time) string {
	if until.IsZero() {
		return "until it is lifted"
	}
	return moment(until)
}

const keptColumn = 5

var revocationHead = []string{"id", "target", "issuer", "value", "not before", "kept until", "revision", "reason"}

func revocationRows(items []client.Revocation) [][]any {
	var rows [][]any
	for _, v := range items {
		value := v.Value
		for _, p := range v.And {
			value += fmt.Sprintf(" and %s %s", p.Target, p.Value)
		}
		rows = append(rows, []any{v.ID, v.Target, v.Issuer, value, moment(v.NotBefore), kept(v.KeptUntil), v.Revision, v.Reason})
	}
	return rows
}
