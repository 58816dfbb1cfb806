package main

import (
	"context"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/record"
)

func newRoles(r *remote) *cobra.Command {
	c := &cobra.Command{Use: "roles", Short: "Define, see and delete roles of consumers' keys"}
	c.AddCommand(onlyIf(putRole(r)), listRoles(r),
		r.command("get ID", "Show a role", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.Role(ctx, args[0])
			return showRoles(v, []record.DefinedRole{v}, err, out)
		}),
		onlyIf(r.command("delete ID", "Delete a role that no key has", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.DeleteRole(ctx, args[0])
			if err != nil {
				return err
			}
			return out.fields(v, "deleted", args[0], "revision", v.Revision)
		})))
	return c
}

func putRole(r *remote) *cobra.Command {
	var f client.RoleFields
	c := r.command("put ID", "Define a role, or change it for every key that has it", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		v, err := c.PutRole(ctx, args[0], f)
		return showRoles(v, []record.DefinedRole{v}, err, out)
	})
	c.Flags().StringVar(&f.Name, "name", "", "a name for people")
	c.Flags().StringSliceVar(&f.Scopes, "scope", nil, "scopes of every key with the role; none if not given")
	return c
}

func listRoles(r *remote) *cobra.Command {
	var l client.List
	c := r.command("list", "List roles", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		page, err := c.Roles(ctx, l)
		return showRoles(page, page.Items, err, out)
	})
	listFlags(c, &l)
	return c
}

func showRoles(v any, items []record.DefinedRole, err error, out *printer) error {
	if err != nil {
		return err
	}
	var rows [][]any
	for _, i := range items {
		rows = append(rows, []any{i.ID, i.Name, words(i.Scopes), moment(i.CreatedAt), i.Revision})
	}
	return out.show(v, []string{"id", "name", "scopes", "created", "revision"}, rows)
}

func rolesOf(names []string) []record.Role {
	roles := make([]record.Role, len(names))
	for i, n := range names {
		roles[i] = record.Role(n)
	}
	return roles
}
