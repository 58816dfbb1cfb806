package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/record"
)

func newConsumers(r *remote) *cobra.Command {
	c := &cobra.Command{Use: "consumers", Short: "Make, see and change consumers"}
	c.AddCommand(findConsumers(r), onlyIf(putConsumer(r)), onlyIf(setConsumer(r)),
		consumerSwitch(r, "disable ID", "Deny a consumer's keys until it is enabled again", true),
		consumerSwitch(r, "enable ID", "Admit a disabled consumer's keys again", false),
		r.command("get ID", "Show a consumer", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.Consumer(ctx, args[0])
			return showConsumers(v, []record.Consumer{v}, err, out)
		}),
		onlyIf(r.command("delete ID", "Delete a consumer and its keys", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.DeleteConsumer(ctx, args[0])
			if err != nil {
				return err
			}
			return out.fields(v, "deleted", args[0], "revision", v.Revision)
		})))
	return c
}

func findConsumers(r *remote) *cobra.Command {
	var l client.List
	var q record.ConsumerQuery
	var disabled bool
	c := r.command("list", "Find consumers", cobra.NoArgs, nil)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("disabled") {
			q.Disabled = &disabled
		}
		return r.command("", "", nil, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
			page, err := search(l, func(l client.List) (client.Page[record.Consumer], error) { return c.Consumers(ctx, q, l) })
			return showConsumers(page, page.Items, err, out)
		}).RunE(cmd, args)
	}
	c.Flags().StringVar(&q.Text, "find", "", "only those with this in the id or the name")
	c.Flags().StringSliceVar(&q.Tags, "tag", nil, "only those that have all of these")
	c.Flags().BoolVar(&disabled, "disabled", false, "only those that are disabled; =false: only those that are not")
	listFlags(c, &l)
	return c
}

// consumerFlags are what a consumer is given by.
type consumerFlags struct {
	name, metadata string
	managers, tags []string
}

func (f *consumerFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "a name for people")
	c.Flags().StringVar(&f.metadata, "metadata", "", "a JSON object that comes with every verdict")
	c.Flags().StringSliceVar(&f.managers, "manager", nil, "subjects who may manage its keys")
	c.Flags().StringSliceVar(&f.tags, "tag", nil, "to find it by")
}

func (f *consumerFlags) object() (json.RawMessage, error) {
	if f.metadata != "" && !json.Valid([]byte(f.metadata)) {
		return nil, &exit{exitUsage, fmt.Errorf("--metadata: is not JSON")}
	}
	return json.RawMessage(f.metadata), nil
}

func putConsumer(r *remote) *cobra.Command {
	var f consumerFlags
	c := r.command("put ID", "Make a consumer, or replace one", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		metadata, err := f.object()
		if err != nil {
			return err
		}
		v, err := c.PutConsumer(ctx, args[0], client.ConsumerFields{Name: f.name, Metadata: metadata, Managers: f.managers, Tags: f.tags})
		return showConsumers(v, []record.Consumer{v}, err, out)
	})
	f.add(c)
	return c
}

func setConsumer(r *remote) *cobra.Command {
	var f consumerFlags
	c := r.command("set ID", "Change what is given of a consumer, and nothing else", cobra.ExactArgs(1), nil)
	f.add(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		metadata, err := f.object()
		if err != nil {
			return err
		}
		change := client.ConsumerChange{Metadata: metadata}
		if cmd.Flags().Changed("name") {
			change.Name = &f.name
		}
		if cmd.Flags().Changed("manager") {
			change.Managers = &f.managers
		}
		if cmd.Flags().Changed("tag") {
			change.Tags = &f.tags
		}
		return r.command("", "", nil, func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.UpdateConsumer(ctx, args[0], change)
			return showConsumers(v, []record.Consumer{v}, err, out)
		}).RunE(cmd, args)
	}
	return c
}

func consumerSwitch(r *remote, use, short string, disabled bool) *cobra.Command {
	return onlyIf(r.command(use, short, cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		v, err := c.UpdateConsumer(ctx, args[0], client.ConsumerChange{Disabled: &disabled})
		return showConsumers(v, []record.Consumer{v}, err, out)
	}))
}

func showConsumers(v any, items []record.Consumer, err error, out *printer) error {
	if err != nil {
		return err
	}
	var rows [][]any
	for _, c := range items {
		rows = append(rows, []any{c.ID, c.Name, words(c.Tags), enabledOr(c.Disabled), words(c.Managers), string(c.Metadata), moment(c.CreatedAt), c.Revision})
	}
	return out.show(v, []string{"id", "name", "tags", "state", "managers", "metadata", "created", "revision"}, rows)
}

func enabledOr(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}
