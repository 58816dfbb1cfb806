package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/record"
)

// newMe is for a consumer's managers, with their own token: a JWT, or a portal session's secret.
func newMe(r *remote) *cobra.Command {
	var consumer string
	c := r.command("me", "Show whose keys you manage, as a consumer's manager", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		m, err := c.Me(ctx, consumer)
		if err != nil {
			return err
		}
		g := m.Grantable
		if g == nil {
			g = &record.Grantable{}
		}
		return out.fields(m, "consumer", m.Consumer, "name", m.Name, "scopes", words(g.Scopes), "roles", words(g.Roles),
			"max keys", m.MaxKeys, "expires", moment(m.ExpiresAt))
	})
	c.PersistentFlags().StringVar(&consumer, "consumer", "", "whose keys are meant, if you manage those of several")
	keys := &cobra.Command{Use: "keys", Short: "See, make, roll and revoke the consumer's API keys"}
	var l client.List
	list := r.command("list", "List the consumer's API keys", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		page, err := c.MyKeys(ctx, consumer, l)
		return showKeys(page, page.Items, err, out)
	})
	listFlags(list, &l)
	keys.AddCommand(list, createMyKey(r, &consumer), rollMyKey(r, &consumer), revokeMyKey(r, &consumer))
	c.AddCommand(keys)
	return c
}

func createMyKey(r *remote, consumer *string) *cobra.Command {
	var fields client.MyKeyFields
	var roles []string
	var life time.Duration
	c := r.command("create", "Make an API key; its secret is shown once", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		for _, role := range roles {
			fields.Roles = append(fields.Roles, record.Role(role))
		}
		fields.ExpiresAt = expiryOf(life)
		k, err := c.CreateMyKey(ctx, *consumer, fields)
		if err != nil {
			return err
		}
		return out.fields(k, "id", k.ID, "consumer", k.Consumer, "name", k.Name, "environment", k.Environment, "scopes", words(k.Scopes), "roles", words(k.Roles),
			"expires", moment(k.ExpiresAt), "revision", k.Revision, "secret", k.Secret, "", "The secret is shown here and never again.")
	})
	f := c.Flags()
	f.StringVar(&fields.Name, "name", "", "a name for people")
	f.StringVar(&fields.Environment, "environment", "", "a word in the secret that says what it is for, such as live or test")
	f.StringSliceVar(&fields.Scopes, "scope", nil, "scopes of the key, of those that managers may give")
	f.StringSliceVar(&roles, "role", nil, "roles of the key, of those that managers may give")
	f.Var((*span)(&life), "expires-in", "how long the key lives; for good if not given")
	return c
}

func rollMyKey(r *remote, consumer *string) *cobra.Command {
	return rollCommand(r, func(ctx context.Context, c *client.Client, id string, overlap time.Duration, force bool) (client.NewKey, error) {
		return c.RollMyKey(ctx, *consumer, id, overlap, force)
	})
}

func revokeMyKey(r *remote, consumer *string) *cobra.Command {
	var reason string
	var enforced bool
	c := r.command("revoke ID", "Revoke an API key: it is denied everywhere, until an operator lifts that", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		receipt, err := c.RevokeMyKey(ctx, *consumer, args[0], reason, enforced, 0)
		if err != nil {
			return err
		}
		return showReceipt(receipt, out)
	})
	c.Flags().StringVar(&reason, "reason", "", "why; people will read it")
	c.Flags().BoolVar(&enforced, "enforced", false, "answer when every node has said that it is enforced")
	return c
}

func openSession(r *remote) *cobra.Command {
	var lifetime time.Duration
	c := r.command("open-session ID", "Let whoever has a secret, which is shown once, manage a consumer's keys for a while", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		if lifetime <= 0 {
			return &exit{exitUsage, fmt.Errorf("--lifetime: give 1m to 12h")}
		}
		s, err := c.OpenPortalSession(ctx, args[0], lifetime)
		if err != nil {
			return err
		}
		return out.fields(s, "id", s.ID, "consumer", s.Consumer, "expires", moment(s.ExpiresAt), "revision", s.Revision, "secret", s.Secret,
			"", "The secret is shown here and never again.")
	})
	c.Flags().DurationVar(&lifetime, "lifetime", record.DefaultSession, "how long: 1m to 12h")
	return c
}

func endSession(r *remote) *cobra.Command {
	return r.command("end-session ID SESSION", "End a portal session of a consumer, by its id", cobra.ExactArgs(2), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		v, err := c.EndPortalSession(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		return out.fields(v, "ended", args[1], "revision", v.Revision)
	})
}
