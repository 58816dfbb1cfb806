package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"veto/client"
	"veto/record"
	"veto/record/limit"
)

func newKeys(r *remote) *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Make, see and change API keys"}
	c.AddCommand(newKeysCreate(r), newKeysList(r), onlyIf(newKeysRoll(r)), newKeysCheck(), newKeysImport(r), newKeysLeaked(r),
		r.command("get ID", "Show an API key", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			k, err := c.Key(ctx, args[0])
			return showKeys(k, []record.APIKey{k}, err, out)
		}),
		onlyIf(newKeysLimit(r)),
		onlyIf(r.command("roles ID [ROLE...]", "Give a consumer's key these roles, and no others", cobra.MinimumNArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			roles := rolesOf(args[1:])
			k, err := c.UpdateKey(ctx, args[0], client.KeyChange{Roles: &roles})
			return showKeys(k, []record.APIKey{k}, err, out)
		})),
		keySwitch(r, "disable ID", "Deny a key until it is enabled again", true),
		keySwitch(r, "enable ID", "Allow a disabled key again", false),
		onlyIf(r.command("delete ID", "Delete an API key", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.DeleteKey(ctx, args[0])
			if err != nil {
				return err
			}
			return out.fields(v, "deleted", args[0], "revision", v.Revision)
		})),
	)
	return c
}

func newKeysCreate(r *remote) *cobra.Command {
	var of keyFlags
	var roles []string
	var limits limitFlags
	c := r.command("create", "Make an API key; its secret is shown once", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		fields, err := of.read()
		if err != nil {
			return err
		}
		fields.Roles = rolesOf(roles)
		if fields.Limits, err = limits.read(); err != nil {
			return err
		}
		k, err := c.CreateKey(ctx, fields)
		if err != nil {
			return err
		}
		return out.fields(k, "id", k.ID, "consumer", k.Consumer, "name", k.Name, "environment", k.Environment, "scopes", words(k.Scopes), "roles", roles,
			"issuers", words(k.Issuers), "consumers", words(k.Consumers), "targets", words(k.Targets), "limits", limitsOf(k.Limits),
			"expires", moment(k.ExpiresAt), "revision", k.Revision, "secret", k.Secret, "", "The secret is shown here and never again.")
	})
	f := c.Flags()
	of.on(f)
	f.StringVar(&of.fields.Environment, "environment", "", "a word in the secret that says what it is for, such as live or test")
	f.StringSliceVar(&roles, "role", nil, "of a consumer's key: roles that were defined; of an operator's: admin, revoker, validator, auditor")
	limits.on(f)
	f.StringSliceVar(&of.fields.Issuers, "only-issuer", nil, "for a revoker's key: the iss of those whose tokens it may revoke, and nothing else but what is of its consumers")
	f.StringSliceVar(&of.fields.Consumers, "only-consumer", nil, "for a revoker's key: the consumers whose API keys it may revoke, and nothing else but what is of its issuers")
	f.StringSliceVar(&of.fields.Targets, "only-target", nil, "for a revoker's key: the only targets that it may revoke by")
	return c
}

// keyFlags are what people say of any key that is to be.
type keyFlags struct {
	fields   client.KeyFields
	metadata string
	life     time.Duration
}

func (k *keyFlags) on(f *pflag.FlagSet) {
	f.StringVar(&k.fields.Consumer, "consumer", "", "whom the key belongs to")
	f.StringVar(&k.fields.Name, "name", "", "a name for people")
	f.StringSliceVar(&k.fields.Scopes, "scope", nil, "scopes of the key")
	f.StringVar(&k.metadata, "metadata", "", "a JSON object that comes with every verdict")
	f.Var((*span)(&k.life), "expires-in", "how long the key lives from now on; for good if not given")
}

func (k *keyFlags) read() (client.KeyFields, error) {
	out := k.fields
	if k.metadata != "" {
		out.Metadata = json.RawMessage(k.metadata)
		if !json.Valid(out.Metadata) {
			return out, &exit{exitUsage, fmt.Errorf("--metadata: is not JSON")}
		}
	}
	out.ExpiresAt = expiryOf(k.life)
	return out, nil
}

// expiryOf is when a key ends that lives so long; zero for good.
func expiryOf(life time.Duration) time.Time {
	if life == 0 {
		return time.Time{}
	}
	return time.Now().Add(life).UTC().Truncate(time.Second)
}

// limitFlags are limits as people give them.
type limitFlags struct {
	rate, quota string
	burst       uint32
}

func (l *limitFlags) on(f *pflag.FlagSet) {
	f.StringVar(&l.rate, "rate", "", "how much the key may be used, on all nodes together, such as 100/s or 600/min")
	f.Func("burst", "how much at once after a rest, a `number`; what the rate allows in its time if not given", fromOne(&l.burst, limit.MaxBurst))
	f.StringVar(&l.quota, "quota", "", "how much in a day or a calendar month of UTC, such as 10000/day or 1000000/month")
}

// read gives nil if no limits were given.
func (l *limitFlags) read() (*limit.Limits, error) {
	if *l == (limitFlags{}) {
		return nil, nil
	}
	out, err := limit.Parse(l.rate, l.burst, l.quota)
	if err == nil {
		err = out.Check()
	}
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	return &out, nil
}

func limitsOf(l *limit.Limits) string {
	if l == nil {
		return ""
	}
	var all []string
	if l.Rate != (limit.Rate{}) {
		all = append(all, fmt.Sprintf("%s burst %d", l.Rate, l.Burst))
	}
	if l.Quota != (limit.Quota{}) {
		all = append(all, l.Quota.String())
	}
	return strings.Join(all, ", ")
}

func newKeysLimit(r *remote) *cobra.Command {
	var limits limitFlags
	var none bool
	c := r.command("limit ID", "Change how much a key may be used", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		given, err := limits.read()
		if err != nil {
			return err
		}
		if none == (given != nil) {
			return &exit{exitUsage, fmt.Errorf("give --rate, --quota, or both: they replace the limits that there are; or --none, which takes them away")}
		}
		if none {
			given = &limit.Limits{}
		}
		k, err := c.UpdateKey(ctx, args[0], client.KeyChange{Limits: given})
		return showKeys(k, []record.APIKey{k}, err, out)
	})
	limits.on(c.Flags())
	c.Flags().BoolVar(&none, "none", false, "take the limits away")
	return c
}

func newKeysRoll(r *remote) *cobra.Command {
	return rollCommand(r, func(ctx context.Context, c *client.Client, id string, overlap time.Duration, force bool) (client.NewKey, error) {
		return c.RollKey(ctx, id, overlap, force)
	})
}

// rollCommand is for operators and for managers, who roll by different requests.
func rollCommand(r *remote, roll func(ctx context.Context, c *client.Client, id string, overlap time.Duration, force bool) (client.NewKey, error)) *cobra.Command {
	var overlap time.Duration
	var force bool
	var command *cobra.Command
	command = r.command("roll ID", "Give an API key a new secret; it is shown once", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		if !command.Flags().Changed("overlap") || overlap < 0 || overlap > record.MaxOverlap {
			return &exit{exitUsage, fmt.Errorf("--overlap: say how long the old secret is good beside the new one, such as 24h, or 0s to stop it at once; at most %s", record.MaxOverlap)}
		}
		k, err := roll(ctx, c, args[0], overlap, force)
		if err != nil {
			return err
		}
		old, until := "stopped", "now"
		if k.Rotating != nil {
			old, until = k.Rotating.Hint, moment(k.Rotating.Until)
		}
		return out.fields(k, "id", k.ID, "consumer", k.Consumer, "name", k.Name, "old secret", old, "good until", until,
			"expires", moment(k.ExpiresAt), "revision", k.Revision, "secret", k.Secret, "", "The secret is shown here and never again.")
	})
	f := command.Flags()
	f.DurationVar(&overlap, "overlap", 0, "how long the old secret is good beside the new one: 0, so that it stops at once, to 720h")
	f.BoolVar(&force, "force", false, "end what an earlier roll has left of its overlap")
	return command
}

func newKeysList(r *remote) *cobra.Command {
	var l client.List
	var q record.KeyQuery
	c := r.command("list", "Find API keys", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		page, err := search(l, func(l client.List) (client.Page[record.APIKey], error) { return c.Keys(ctx, q, l) })
		return showKeys(page, page.Items, err, out)
	})
	c.Flags().StringVar(&q.Consumer, "consumer", "", "only keys of this consumer")
	c.Flags().StringVar(&q.Environment, "environment", "", "only keys of this environment")
	c.Flags().StringVar((*string)(&q.State), "state", "", "only keys that are active, disabled, expired, rotating, revoked, or leaked and going on")
	c.Flags().StringVar((*string)(&q.Role), "role", "", "only keys with this role")
	c.Flags().StringVar(&q.Scope, "scope", "", "only keys that may be asked for this, by themselves, by a role or by a wildcard")
	c.Flags().StringVar(&q.Text, "find", "", "only keys with this in the name or the hint")
	c.Flags().Func("pepper", "only keys of which a secret is stored by the pepper of this `number`, alone or with others", fromOne(&q.Pepper, math.MaxUint32))
	listFlags(c, &l)
	return c
}

func keySwitch(r *remote, use, short string, disabled bool) *cobra.Command {
	return onlyIf(r.command(use, short, cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		k, err := c.UpdateKey(ctx, args[0], client.KeyChange{Disabled: &disabled})
		return showKeys(k, []record.APIKey{k}, err, out)
	}))
}

func stateOf(k record.APIKey) string {
	state := enabledOr(k.Disabled)
	if !k.Disabled && k.Rotating != nil {
		state = "rotating until " + moment(k.Rotating.Until)
	}
	if !k.LeakedAt.IsZero() {
		state += ", leaked at " + moment(k.LeakedAt)
	}
	return state
}

func showKeys(v any, items []record.APIKey, err error, out *printer) error {
	if err != nil {
		return err
	}
	var rows [][]any
	for _, k := range items {
		rows = append(rows, []any{
			k.ID, k.Hint, k.Environment, k.Consumer, k.Name, words(k.Scopes), k.Roles, bounds(k), stateOf(k), importedOr(k.Imported), limitsOf(k.Limits),
			moment(k.ExpiresAt), moment(k.LastUsedAt), k.Revision,
		})
	}
	return out.show(v, []string{
		"id", "hint", "environment", "consumer", "name", "scopes", "roles", "bound to", "state", "made", "limits", "expires", "last used", "revision",
	}, rows)
}

// importedOr says who made the secret.
func importedOr(imported bool) string {
	if imported {
		return "imported"
	}
	return "here"
}

// bounds are what a revoker's key is bound to.
func bounds(k record.APIKey) string { return words(slices.Concat(k.Issuers, k.Consumers, k.Targets)) }
