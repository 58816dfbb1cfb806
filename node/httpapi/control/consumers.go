package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"veto/node/httpapi"
	"veto/record"
)

// ConsumerID is in the path of what is about one consumer.
type ConsumerID struct {
	ID string `path:"id" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
}

type consumerAnswer struct {
	Revision string `header:"Veto-Revision"`
	ETag     string `header:"ETag" doc:"Of the record, for If-Match"`
	Body     record.Consumer
}

func (x *control) consumers() {
	register(x, operation("list-consumers", http.MethodGet, "/v1/consumers", "Find consumers", anyOperator), x.listConsumers)
	register(x, operation("get-consumer", http.MethodGet, "/v1/consumers/{id}", "Show a consumer", anyOperator), x.getConsumer)
	register(x, operation("put-consumer", http.MethodPut, "/v1/consumers/{id}", "Make or replace a consumer", record.RoleAdmin), x.putConsumer)
	register(x, operation("update-consumer", http.MethodPatch, "/v1/consumers/{id}", "Change a consumer", record.RoleAdmin), x.updateConsumer)
	register(x, operation("delete-consumer", http.MethodDelete, "/v1/consumers/{id}", "Delete a consumer and its keys", record.RoleAdmin), x.deleteConsumer)
}

func (x *control) listConsumers(_ context.Context, in *struct {
	Page
	Text     string   `query:"q" maxLength:"200" doc:"Stands in the id or the name, in capitals or not"`
	Tags     []string `query:"tag,explode" maxItems:"50" doc:"Those that have all of these"`
	Disabled string   `query:"disabled" enum:"true,false" doc:"Those that are disabled, or are not"`
},
) (*list[record.Consumer], error) {
	q := record.ConsumerQuery{Text: in.Text, Tags: in.Tags}
	if in.Disabled != "" {
		disabled := in.Disabled == "true"
		q.Disabled = &disabled
	}
	name := fmt.Sprintf("consumers %q %q %q", in.Text, in.Tags, in.Disabled)
	place, err := x.place(name, in.Page)
	if err != nil {
		return nil, err
	}
	items, next, err := x.Records.Consumers(q, place, in.Limit)
	return pageOf(x, name, items, next), err
}

func (x *control) getConsumer(_ context.Context, in *ConsumerID) (*consumerAnswer, error) {
	c, ok := x.Records.Consumer(in.ID)
	if !ok {
		return nil, record.NotFound("there is no consumer %s", in.ID)
	}
	return &consumerAnswer{Revision: headerOf(c.Revision), ETag: httpapi.ETag(c.Revision), Body: *c}, nil
}

func (x *control) putConsumer(ctx context.Context, in *struct {
	ConsumerID
	Change
	NoneMatch
	Body struct {
		Name     string          `json:"name,omitempty" maxLength:"200"`
		Metadata json.RawMessage `json:"metadata,omitempty" doc:"A JSON object that comes with every verdict"`
		Managers []string        `json:"managers,omitempty" doc:"Subjects who may manage its keys"`
		Tags     []string        `json:"tags,omitempty" maxItems:"50" doc:"To find it by: of a-z, 0-9 and -._:"`
		Disabled bool            `json:"disabled,omitempty" doc:"Its keys are denied"`
	}
},
) (*consumerAnswer, error) {
	b := in.Body
	c := record.Consumer{ID: in.ID, Name: b.Name, Metadata: b.Metadata, Managers: b.Managers, Tags: b.Tags, Disabled: b.Disabled}
	if err := c.Check(); err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, c, record.PutConsumer{Consumer: c})
	if err != nil {
		return nil, err
	}
	c.Revision = result.Revision // unless this node knows more
	if stored, ok := x.Records.Consumer(c.ID); ok {
		c = *stored
	}
	return &consumerAnswer{Revision: headerOf(result.Revision), ETag: httpapi.ETag(result.Revision), Body: c}, nil
}

func (x *control) updateConsumer(ctx context.Context, in *struct {
	ConsumerID
	Change
	Match
	Body struct {
		Name     *string         `json:"name,omitempty" maxLength:"200"`
		Metadata json.RawMessage `json:"metadata,omitempty"`
		Managers *[]string       `json:"managers,omitempty"`
		Tags     *[]string       `json:"tags,omitempty" maxItems:"50"`
		Disabled *bool           `json:"disabled,omitempty"`
	}
},
) (*consumerAnswer, error) {
	b := in.Body
	update := record.UpdateConsumer{ID: in.ID, Name: b.Name, Metadata: b.Metadata, Managers: b.Managers, Tags: b.Tags, Disabled: b.Disabled}
	result, err := x.propose(ctx, in.Key, update, update)
	if err != nil {
		return nil, err
	}
	c, ok := x.Records.Consumer(in.ID)
	if !ok {
		return nil, record.NotFound("the consumer was changed, and is not there any more")
	}
	return &consumerAnswer{Revision: headerOf(result.Revision), ETag: httpapi.ETag(result.Revision), Body: *c}, nil
}

func (x *control) deleteConsumer(ctx context.Context, in *struct {
	ConsumerID
	Change
	Match
},
) (*changed, error) {
	result, err := x.propose(ctx, in.Key, in.ID, record.DeleteConsumer{ID: in.ID})
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
	ETag     string `header:"ETag" doc:"Of the record, for If-Match"`
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
	const name = "roles"
	place, err := x.place(name, *in)
	if err != nil {
		return nil, err
	}
	items, next, err := x.Records.Roles(place, in.Limit)
	return pageOf(x, name, items, next), err
}

func (x *control) getRole(_ context.Context, in *RoleID) (*roleAnswer, error) {
	r, ok, err := x.Records.Role(record.Role(in.ID))
	if err == nil && !ok {
		err = record.NotFound("there is no role %s", in.ID)
	}
	return &roleAnswer{Revision: headerOf(r.Revision), ETag: httpapi.ETag(r.Revision), Body: r}, err
}

func (x *control) putRole(ctx context.Context, in *struct {
	RoleID
	Change
	NoneMatch
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
		return &roleAnswer{Revision: headerOf(result.Revision), ETag: httpapi.ETag(result.Revision), Body: stored}, err
	}
	return &roleAnswer{Revision: headerOf(result.Revision), ETag: httpapi.ETag(result.Revision), Body: r}, nil
}

func (x *control) deleteRole(ctx context.Context, in *struct {
	RoleID
	Change
	Match
},
) (*changed, error) {
	result, err := x.propose(ctx, in.Key, in.ID, record.DeleteRole{ID: record.Role(in.ID)})
	if err != nil {
		return nil, err
	}
	return changedAt(result), nil
}
