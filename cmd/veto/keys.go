package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/record"
)

func newKeys(r *remote) *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Make, see and change API keys"}
	c.AddCommand(newKeysCreate(r), newKeysList(r),
		r.command("get ID", "Show an API key", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			k, err := c.Key(ctx, args[0])
			return showKeys(k, []record.APIKey{k}, err, out)
		}),
		r.command("roles ID [ROLE...]", "Give a consumer's key these roles, and no others", cobra.MinimumNArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			roles := rolesOf(args[1:])
			k, err := c.UpdateKey(ctx, args[0], client.KeyChange{Roles: &roles})
			return showKeys(k, []record.APIKey{k}, err, out)
		}),
		keySwitch(r, "disable ID", "Deny a key until it is enabled again", true),
		keySwitch(r, "enable ID", "Allow a disabled key again", false),
		r.command("delete ID", "Delete an API key", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.DeleteKey(ctx, args[0])
			if err != nil {
				return err
			}
			return out.fields(v, "deleted", args[0], "revision", v.Revision)
		}),
	)
	return c
}

func newKeysCreate(r *remote) *cobra.Command {
	var fields client.KeyFields
	var roles []string
	var metadata string
	var life time.Duration
	c := r.command("create", "Make an API key; its secret is shown once", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		fields.Roles = rolesOf(roles)
		if metadata != "" {
			fields.Metadata = json.RawMessage(metadata)
			if !json.Valid(fields.Metadata) {
				return &exit{exitUsage, fmt.Errorf("--metadata: is not JSON")}
			}
		}
		if life < 0 {
			return &exit{exitUsage, fmt.Errorf("--expires-in: %s is not how long a key can live", life)}
		}
		if life > 0 {
			fields.ExpiresAt = time.Now().Add(life).UTC().Truncate(time.Second)
		}
		k, err := c.CreateKey(ctx, fields)
		if err != nil {
			return err
		}
		return out.fields(k, "id", k.ID, "consumer", k.Consumer, "name", k.Name, "scopes", words(k.Scopes), "roles", roles, "issuers", words(k.Issuers), "consumers", words(k.Consumers), "targets", words(k.Targets),
			"expires", moment(k.ExpiresAt), "revision", k.Revision, "secret", k.Secret, "", "The secret is shown here and never again.")
	})
	f := c.Flags()
	f.StringVar(&fields.Consumer, "consumer", "", "whom the key belongs to")
	f.StringVar(&fields.Name, "name", "", "a name for people")
	f.StringSliceVar(&fields.Scopes, "scope", nil, "scopes of the key")
	f.StringSliceVar(&roles, "role", nil, "of a consumer's key: roles that were defined; of an operator's: admin, revoker, validator, auditor")
	f.StringSliceVar(&fields.Issuers, "issuer", nil, "for a revoker's key: the iss of those whose tokens it may revoke, and nothing else")
	f.StringSliceVar(&fields.Consumers, "only-consumer", nil, "for a revoker's key: the consumers whose API keys it may revoke, and nothing else but what is of its issuers")
	f.StringSliceVar(&fields.Targets, "only-target", nil, "for a revoker's key: the only targets that it may revoke by")
	f.StringVar(&metadata, "metadata", "", "a JSON object that comes with every verdict")
	f.DurationVar(&life, "expires-in", 0, "how long the key lives; for good if not given")
	return c
}

func newKeysList(r *remote) *cobra.Command {
	var l client.List
	var consumer string
	c := r.command("list", "List API keys", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		page, err := c.Keys(ctx, consumer, l)
		return showKeys(page, page.Items, err, out)
	})
	c.Flags().StringVar(&consumer, "consumer", "", "only keys of this consumer")
	listFlags(c, &l)
	return c
}

func keySwitch(r *remote, use, short string, disabled bool) *cobra.Command {
	return r.command(use, short, cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		k, err := c.UpdateKey(ctx, args[0], client.KeyChange{Disabled: &disabled})
		return showKeys(k, []record.APIKey{k}, err, out)
	})
}

func showKeys(v any, items []record.APIKey, err error, out *printer) error {
	if err != nil {
		return err
	}
	var rows [][]any
	for _, k := range items {
		rows = append(rows, []any{k.ID, k.Hint, k.Consumer, k.Name, words(k.Scopes), k.Roles, bounds(k), enabledOr(k.Disabled), moment(k.ExpiresAt), k.Revision})
	}
	return out.show(v, []string{"id", "hint", "consumer", "name", "scopes", "roles", "bound to", "state", "expires", "revision"}, rows)
}

// bounds are what a revoker's key is bound to.
func bounds(k record.APIKey) string { return words(slices.Concat(k.Issuers, k.Consumers, k.Targets)) }
