package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"veto/record"
	"veto/validate/apikey"
)

// KeyID is in the path of what is about one API key.
type KeyID struct {
	ID string `path:"id" pattern:"^key_[0-9a-z]{1,59}$" patternDescription:"the id of an API key, which is key_ and more; not the key itself"`
}

type keyAnswer struct {
	Revision string `header:"Veto-Revision"`
	Body     record.APIKey
}

// newKey is the one answer that holds a secret.
type newKey struct {
	record.APIKey
	Secret string `json:"secret,omitempty" doc:"The key itself. It is shown here and never again."`
}

type newKeyAnswer struct {
	Status   int
	Revision string `header:"Veto-Revision"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the request had been done before; the secret is then not shown again"`
	Body     newKey
}

type keyRequest struct {
	Consumer  string          `json:"consumer,omitempty" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash" doc:"Whom the key belongs to; none for an operator's key"`
	Name      string          `json:"name,omitempty" maxLength:"200"`
	Scopes    []string        `json:"scopes,omitempty"`
	Roles     []record.Role   `json:"roles,omitempty" maxItems:"32" doc:"Of a consumer's key: roles of /v1/roles, whose scopes it has beside its own. Of an operator's: admin, revoker, validator, auditor"`
	Issuers   []string        `json:"issuers,omitempty" doc:"Binds an operator's key with the role revoker: it may revoke only what is of these, each an iss, and of the consumers"`
	Consumers []string        `json:"consumers,omitempty" doc:"Binds such a key: it may revoke only these, their API keys, and what is of the issuers"`
	Targets   []string        `json:"targets,omitempty" enum:"jti,token,subject,client,session,signing_key,issuer,key,consumer" doc:"Binds such a key: it may revoke only by these; in a combination each part must be one"`
	Metadata  json.RawMessage `json:"metadata,omitempty" doc:"A JSON object that comes with every verdict"`
	ExpiresAt time.Time       `json:"expires_at,omitzero" required:"false"`
}

func (x *control) keys() {
	create := operation("create-key", http.MethodPost, "/v1/keys", "Make an API key", record.RoleAdmin)
	create.DefaultStatus = http.StatusCreated
	register(x, create, x.createKey)
	register(x, operation("list-keys", http.MethodGet, "/v1/keys", "List API keys", anyOperator), x.listKeys)
	register(x, operation("get-key", http.MethodGet, "/v1/keys/{id}", "Show an API key", anyOperator), x.getKey)
	register(x, operation("update-key", http.MethodPatch, "/v1/keys/{id}", "Change an API key", record.RoleAdmin), x.updateKey)
	register(x, operation("delete-key", http.MethodDelete, "/v1/keys/{id}", "Delete an API key", record.RoleAdmin), x.deleteKey)
}

func (x *control) createKey(ctx context.Context, in *struct {
	Change
	Body keyRequest
},
) (*newKeyAnswer, error) {
	prefix := apikey.Prefix
	if in.Body.Consumer == "" {
		prefix = apikey.OperatorPrefix
	}
	secret, hash, hint, err := x.NewKey(prefix)
	if err != nil {
		return nil, err
	}
	k := record.APIKey{
		ID: x.NewID("key_"), Consumer: in.Body.Consumer, Name: in.Body.Name, Hash: hash, Hint: hint,
		Scopes: in.Body.Scopes, Roles: in.Body.Roles, Issuers: in.Body.Issuers, Consumers: in.Body.Consumers, Targets: in.Body.Targets, Metadata: in.Body.Metadata, ExpiresAt: in.Body.ExpiresAt,
	}
	if err := k.Check(); err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, in.Body, record.CreateKey{Key: k})
	if err != nil {
		return nil, err
	}
	out := &newKeyAnswer{Status: http.StatusCreated, Revision: headerOf(result.Revision)}
	stored, ok, err := x.Records.Key(result.Ref)
	if err != nil {
		return nil, err
	}
	// It may be this very request that was proposed twice, as a leader was lost.
	if result.Repeated && stored.Hash != hash {
		out.Status, out.Replayed, secret = http.StatusOK, "true", ""
	}
	switch {
	case ok:
		k = stored
	case result.Repeated:
		return nil, record.NotFound("the API key that this request made is not there any more")
	default: // this node lags; what was asked for is what was done
		k.Revision = result.Revision
	}
	out.Body = newKey{APIKey: k, Secret: secret}
	return out, nil
}

func (x *control) listKeys(_ context.Context, in *struct {
	Page
	Consumer string `query:"consumer" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
},
) (*list[record.APIKey], error) {
	items, err := x.Records.Keys(in.Consumer, in.Cursor, in.Limit+1)
	return pageOf(items, in.Limit, func(k record.APIKey) string { return k.ID }), err
}

func (x *control) getKey(_ context.Context, in *KeyID) (*keyAnswer, error) {
	k, ok, err := x.Records.Key(in.ID)
	if err == nil && !ok {
		err = record.NotFound("there is no API key %s", in.ID)
	}
	return &keyAnswer{Revision: headerOf(k.Revision), Body: k}, err
}

func (x *control) updateKey(ctx context.Context, in *struct {
	KeyID
	Change
	Body struct {
		Name      *string         `json:"name,omitempty" maxLength:"200"`
		Scopes    *[]string       `json:"scopes,omitempty"`
		Roles     *[]record.Role  `json:"roles,omitempty" maxItems:"32" doc:"Of a consumer's key; an operator's keeps its own"`
		Metadata  json.RawMessage `json:"metadata,omitempty"`
		ExpiresAt *time.Time      `json:"expires_at,omitempty" doc:"0001-01-01T00:00:00Z takes the expiry away"`
		Disabled  *bool           `json:"disabled,omitempty"`
	}
},
) (*keyAnswer, error) {
	b := in.Body
	result, err := x.propose(ctx, in.Key, struct {
		ID   string
		Body any
	}{in.ID, b}, record.UpdateKey{
		ID: in.ID, Name: b.Name, Scopes: b.Scopes, Roles: b.Roles, Metadata: b.Metadata, ExpiresAt: b.ExpiresAt, Disabled: b.Disabled,
	})
	if err != nil {
		return nil, err
	}
	k, ok, err := x.Records.Key(in.ID)
	if err == nil && !ok {
		err = record.NotFound("the API key was changed, and is not there any more")
	}
	return &keyAnswer{Revision: headerOf(result.Revision), Body: k}, err
}

func (x *control) deleteKey(ctx context.Context, in *struct {
	KeyID
	Change
},
) (*changed, error) {
	result, err := x.propose(ctx, in.Key, in.ID, record.DeleteKey{ID: in.ID})
	if err != nil {
		return nil, err
	}
	return changedAt(result), nil
}

// RoleID is in the path of what is about one role.
type RoleID struct {
	ID string `path:"id" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
}

type roleAnswer struct {
	Revision string `header:"Veto-Revision"`
	Body     record.DefinedRole
}

// roles are those that operators define, for consumers' keys.
func (x *control) roles() {
	register(x, operation("list-roles", http.MethodGet, "/v1/roles", "List the roles of consumers' keys", anyOperator), x.listRoles)
	register(x, operation("get-role", http.MethodGet, "/v1/roles/{id}", "Show a role", anyOperator), x.getRole)
	register(x, operation("put-role", http.MethodPut, "/v1/roles/{id}", "Define a role, or change it for every key that has it", record.RoleAdmin), x.putRole)
	register(x, operation("delete-role", http.MethodDelete, "/v1/roles/{id}", "Delete a role that no key has", record.RoleAdmin), x.deleteRole)
}

func (x *control) listRoles(_ context.Context, in *Page) (*list[record.DefinedRole], error) {
	items, err := x.Records.Roles(in.Cursor, in.Limit+1)
	return pageOf(items, in.Limit, func(r record.DefinedRole) string { return string(r.ID) }), err
}

func (x *control) getRole(_ context.Context, in *RoleID) (*roleAnswer, error) {
	r, ok, err := x.Records.Role(record.Role(in.ID))
	if err == nil && !ok {
		err = record.NotFound("there is no role %s", in.ID)
	}
	return &roleAnswer{Revision: headerOf(r.Revision), Body: r}, err
}

func (x *control) putRole(ctx context.Context, in *struct {
	RoleID
	Change
	Body struct {
		Name   string   `json:"name,omitempty" maxLength:"200"`
		Scopes []string `json:"scopes" maxItems:"256" doc:"What every key with the role may be asked for; one may end in a wildcard, as in orders:*"`
	}
},
) (*roleAnswer, error) {
	r := record.DefinedRole{ID: record.Role(in.ID), Name: in.Body.Name, Scopes: in.Body.Scopes}
	if err := r.Check(); err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, r, record.PutRole{Role: r})
	if err != nil {
		return nil, err
	}
	r.Revision = result.Revision // unless this node knows more
	if stored, ok, err := x.Records.Role(r.ID); err != nil || ok {
		return &roleAnswer{Revision: headerOf(result.Revision), Body: stored}, err
	}
	return &roleAnswer{Revision: headerOf(result.Revision), Body: r}, nil
}

func (x *control) deleteRole(ctx context.Context, in *struct {
	RoleID
	Change
},
) (*changed, error) {
	result, err := x.propose(ctx, in.Key, in.ID, record.DeleteRole{ID: record.Role(in.ID)})
	if err != nil {
		return nil, err
	}
	return changedAt(result), nil
}
