package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"veto/client"
	"veto/record"
)

func newConsumers(r *remote) *cobra.Command {
	c := &cobra.Command{Use: "consumers", Short: "Make, see and change consumers"}
	c.AddCommand(findConsumers(r), onlyIf(putConsumer(r)), onlyIf(setConsumer(r)), openSession(r), endSession(r),
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
		return r.run(cmd, args, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
			page, err := search(l, func(l client.List) (client.Page[record.Consumer], error) { return c.Consumers(ctx, q, l) })
			return showConsumers(page, page.Items, err, out)
		})
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
	scopes, roles  []string
	maxKeys        uint32
}

func (f *consumerFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "a name for people; '' for none")
	c.Flags().StringVar(&f.metadata, "metadata", "", "a JSON object that comes with every verdict")
	c.Flags().StringSliceVar(&f.managers, "manager", nil, "ISSUER_ID/SUBJECT: who may manage its keys; '' for nobody")
	c.Flags().StringSliceVar(&f.scopes, "grantable-scope", nil, "scopes that managers may give; '' for none")
	c.Flags().StringSliceVar(&f.roles, "grantable-role", nil, "roles that managers may give; '' for none")
	c.Flags().Func("max-keys", fmt.Sprintf("how many keys it has at most for managers to make another: a `number` (%d if not given)", record.DefaultMaxKeys), fromOne(&f.maxKeys, record.MostMaxKeys))
	c.Flags().StringSliceVar(&f.tags, "tag", nil, "to find it by; '' for none")
}

func (f *consumerFlags) object() (json.RawMessage, error) {
	if f.metadata != "" && !json.Valid([]byte(f.metadata)) {
		return nil, &exit{exitUsage, fmt.Errorf("--metadata: is not JSON")}
	}
	return json.RawMessage(f.metadata), nil
}

// people reads ISSUER_ID/SUBJECT. An issuer's id has no slash.
func (f *consumerFlags) people() ([]record.Person, error) {
	people := []record.Person{}
	for _, m := range filled(f.managers) {
		issuer, subject, ok := strings.Cut(m, "/")
		if !ok {
			return nil, &exit{exitUsage, fmt.Errorf("--manager: give ISSUER_ID/SUBJECT, such as corp/alice")}
		}
		people = append(people, record.Person{Issuer: issuer, Subject: subject})
	}
	return people, nil
}

func (f *consumerFlags) grantable() *record.Grantable {
	g := &record.Grantable{Scopes: filled(f.scopes)}
	for _, r := range filled(f.roles) {
		g.Roles = append(g.Roles, record.Role(r))
	}
	return g
}

// filled leaves out what stands for nothing.
func filled(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
}

func putConsumer(r *remote) *cobra.Command {
	var f consumerFlags
	c := r.command("put ID", "Make a consumer, or replace one", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		metadata, err := f.object()
		if err != nil {
			return err
		}
		managers, err := f.people()
		if err != nil {
			return err
		}
		fields := client.ConsumerFields{Name: f.name, Metadata: metadata, Managers: managers, MaxKeys: f.maxKeys, Tags: f.tags}
		if len(f.scopes)+len(f.roles) > 0 {
			fields.Grantable = f.grantable()
		}
		v, err := c.PutConsumer(ctx, args[0], fields)
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
		given := false
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { given = given || f.Changed && f.Name != ifRevisionFlag })
		if !given {
			return &exit{exitUsage, fmt.Errorf("give what is to be changed; see `%s --help`", cmd.CommandPath())}
		}
		metadata, err := f.object()
		if err != nil {
			return err
		}
		change := client.ConsumerChange{Metadata: metadata}
		if cmd.Flags().Changed("name") {
			change.Name = &f.name
		}
		if cmd.Flags().Changed("manager") {
			managers, err := f.people()
			if err != nil {
				return err
			}
			change.Managers = &managers
		}
		if cmd.Flags().Changed("grantable-scope") || cmd.Flags().Changed("grantable-role") {
			change.Grantable = f.grantable()
		}
		if cmd.Flags().Changed("max-keys") {
			change.MaxKeys = &f.maxKeys
		}
		if cmd.Flags().Changed("tag") {
			change.Tags = &f.tags
		}
		return r.run(cmd, args, func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.UpdateConsumer(ctx, args[0], change)
			return showConsumers(v, []record.Consumer{v}, err, out)
		})
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
		rows = append(rows, []any{c.ID, c.Name, words(c.Tags), enabledOr(c.Disabled), managersOf(&c), string(c.Metadata), moment(c.CreatedAt), c.Revision})
	}
	return out.show(v, []string{"id", "name", "tags", "state", "managers", "metadata", "created", "revision"}, rows)
}

func managersOf(c *record.Consumer) string {
	var all []string
	for _, m := range c.Managers {
		all = append(all, m.Issuer+"/"+m.Subject)
	}
	return words(all)
}

func enabledOr(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}
