package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/record"
	"veto/record/trail"
)

func newAudit(r *remote) *cobra.Command {
	var l client.List
	c := r.command("audit", "List who changed what, and verify that nothing of it was altered", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		page, err := c.Audit(ctx, l)
		if err != nil {
			return err
		}
		var rows [][]any
		for _, e := range page.Items {
			rows = append(rows, []any{e.Revision, moment(e.At), whoOf(&e), wayOf(e.From), e.Action, recordsOf(&e)})
		}
		return out.show(page, []string{"revision", "at", "by", "from", "action", "records"}, rows)
	})
	listFlags(c, &l)
	c.AddCommand(newAuditHead(r), newAuditExport(r), newAuditVerify(r))
	return c
}

func whoOf(e *trail.Entry) string {
	switch {
	case e.From.Person != record.Person{}:
		return e.From.Person.Subject + " of " + e.From.Person.Issuer + " (" + e.By + ")"
	case e.By == "":
		return "the cluster"
	case e.ByName == "":
		return e.By
	}
	return e.ByName + " (" + e.By + ")"
}

func wayOf(o record.Origin) string {
	if o.Address == "" {
		return o.Node
	}
	return fmt.Sprintf("%s, %s at %s", o.Address, o.Way, o.Node)
}

func recordsOf(e *trail.Entry) string {
	if e.More == 0 {
		return words(e.Refs)
	}
	return fmt.Sprintf("%s and %d more", words(e.Refs), e.More)
}

func newAuditHead(r *remote) *cobra.Command {
	c := r.command("head", "Show the head of the audit trail's chain, to be written down outside", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		h, err := c.AuditHead(ctx)
		if err != nil {
			return err
		}
		return out.fields(h, "head", h.Text, "entries", h.Sequence, "began at", h.Began, "removed to", h.After)
	})
	c.Long = "Shows the last entry of the audit trail, as HASH@REVISION: a hash over it and all before it.\n\n" +
		"Write it down where nobody who holds the nodes can change it. `veto audit verify --head` then tells\n" +
		"whether the trail is still the one that it was written down of."
	return c
}

func newAuditExport(r *remote) *cobra.Command {
	var f trail.Filter
	var since, until string
	c := &cobra.Command{
		Use: "export", Short: "Write the audit trail, one entry a line", Args: cobra.NoArgs,
		Long: "Writes the audit trail, from its beginning to its head, for `veto audit verify --file` and others.\n\n" +
			"The first line says of which cluster it is and up to which head it reaches. With --by, --action,\n" +
			"--ref, --since or --until it writes only some entries, and says so there: they are no chain, and\n" +
			"cannot be verified.",
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if f.Since, err = timeOf("since", since); err != nil {
			return err
		}
		if f.Until, err = timeOf("until", until); err != nil {
			return err
		}
		if !f.Until.IsZero() && !f.Since.Before(f.Until) {
			return &exit{exitUsage, errors.New("--until: must be after --since")}
		}
		return r.run(cmd, args, func(ctx context.Context, c *client.Client, _ []string, _ *printer) error {
			return c.ExportAudit(ctx, cmd.OutOrStdout(), f)
		})
	}
	flags := c.Flags()
	flags.StringVar(&f.By, "by", "", "only what this API key did, by its id or name, or this person, by the subject; cluster for the cluster itself")
	flags.StringVar(&f.Action, "action", "", "only this, such as create_key")
	flags.StringVar(&f.Ref, "ref", "", "only what was done to the record with this id")
	flags.StringVar(&since, "since", "", "only from this time on, such as 2026-01-31T00:00:00Z")
	flags.StringVar(&until, "until", "", "only before this time")
	return c
}

func timeOf(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := record.ParseTime(text)
	if err != nil {
		return t, &exit{exitUsage, fmt.Errorf("--%s: %w", flag, err)}
	}
	return t, nil
}

func newAuditVerify(r *remote) *cobra.Command {
	var written []string
	var file string
	c := &cobra.Command{
		Use: "verify", Short: "Tell whether the audit trail is whole", Args: cobra.NoArgs,
		Long: "Reads the audit trail of a node, or a file of `veto audit export`, and follows its chain of hashes.\n" +
			"It ends with 0 if all is as it was made, and with 1 and the first entry that is wrong if not.\n\n" +
			"A chain can be made anew as a whole by whoever holds a node's disk. What was written down outside\n" +
			"cannot: give it with --head, as `veto audit head` showed it.\n\n" +
			"  veto audit verify --head 9f86d081...@1042\n" +
			"  veto audit verify --file trail.ndjson",
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var heads []trail.Head
		for _, w := range written {
			h, err := trail.ParseHead(w)
			if err != nil {
				return &exit{exitUsage, fmt.Errorf("--head: %w", err)}
			}
			heads = append(heads, h)
		}
		out, err := outputOf(cmd)
		if err != nil {
			return err
		}
		report, err := r.verify(cmd.Context(), file, cmd.InOrStdin(), heads)
		if err != nil {
			return err
		}
		before := ""
		if report.Before > 0 {
			before = fmt.Sprintf("%d from before the chain began: of these nothing can be said", report.Before)
		}
		removed := ""
		if report.Removed > 0 {
			removed = fmt.Sprintf("%d, through %s, as they were older than entries are kept", report.Removed, report.After)
		}
		return out.fields(report, "whole", fmt.Sprintf("%d entries, from revision %d on", report.Entries, report.Began), "head", report.Head, "not chained", before, "removed", removed)
	}
	c.Flags().StringArrayVar(&written, "head", nil, "a head that was written down; may be given more than once")
	c.Flags().StringVar(&file, "file", "", "an export to verify in place of a node's trail; - for standard input")
	return c
}

// verify reads a file, or, without one, what a node has.
func (r *remote) verify(ctx context.Context, file string, in io.Reader, heads []trail.Head) (trail.Report, error) {
	if file == "-" {
		return trail.Verify(in, heads...)
	}
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return trail.Report{}, fmt.Errorf("--file: %w", err)
		}
		defer func() { _ = f.Close() }()
		return trail.Verify(f, heads...)
	}
	c, err := r.client()
	if err != nil {
		return trail.Report{}, err
	}
	return c.VerifyAudit(ctx, heads...)
}
