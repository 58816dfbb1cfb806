package client

import (
	"context"
	"net/http"
	"net/url"

	"veto/record"
)

// RoleFields are a role of consumers' keys as an operator gives it.
type RoleFields struct {
	Name   string   `json:"name,omitempty"`
	Scopes []string `json:"scopes"`
}

// Roles lists the roles of consumers' keys.
func (c *Client) Roles(ctx context.Context, l List) (Page[record.DefinedRole], error) {
	return get[Page[record.DefinedRole]](ctx, c, "/v1/roles", l.query())
}

// Role shows one.
func (c *Client) Role(ctx context.Context, id string) (record.DefinedRole, error) {
	return get[record.DefinedRole](ctx, c, "/v1/roles/"+url.PathEscape(id), nil)
}

// PutRole defines a role, or changes what it stands for, for every key that has it.
func (c *Client) PutRole(ctx context.Context, id string, f RoleFields) (record.DefinedRole, error) {
	if f.Scopes == nil {
		f.Scopes = []string{} // a role may have none, and says so
	}
	var out record.DefinedRole
	err := c.control(ctx, http.MethodPut, "/v1/roles/"+url.PathEscape(id), nil, f, &out)
	return out, err
}

// DeleteRole deletes a role that no key has.
func (c *Client) DeleteRole(ctx context.Context, id string) (Changed, error) {
	return remove(ctx, c, "/v1/roles/"+url.PathEscape(id), nil)
}
