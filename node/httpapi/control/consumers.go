package control

import (
	"context"
	"encoding/json"
	"net/http"

	"veto/record"
)

// ConsumerID is in the path of what is about one consumer.
type ConsumerID struct {
	ID string `path:"id" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
}

type consumerAnswer struct {
	Revision string `header:"Veto-Revision"`
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
	items, err := x.Records.Consumers(q, in.Cursor, in.Limit+1)
	return pageOf(items, in.Limit, func(c record.Consumer) string { return c.ID }), err
}

func (x *control) getConsumer(_ context.Context, in *ConsumerID) (*consumerAnswer, error) {
	c, ok := x.Records.Consumer(in.ID)
	if !ok {
		return nil, record.NotFound("there is no consumer %s", in.ID)
	}
	return &consumerAnswer{Revision: headerOf(c.Revision), Body: *c}, nil
}

func (x *control) putConsumer(ctx context.Context, in *struct {
	ConsumerID
	Change
	Body struct {
		Name     string          `json:"name,omitempty" maxLength:"200"`
		Metadata json.RawMessage `json:"metadata,omitempty" doc:"A JSON object that comes with every verdict"`
		Tags     []string        `json:"tags,omitempty" maxItems:"50" doc:"To find it by: of a-z, 0-9 and -._:"`
		Disabled bool            `json:"disabled,omitempty" doc:"Its keys are denied"`

		Managers  []record.Person   `json:"managers,omitempty" maxItems:"100" doc:"Who may manage its keys, each by the id of a trusted issuer and the subject there"`
		Grantable *record.Grantable `json:"grantable,omitempty" doc:"The scopes and roles that managers may give; none if it is not given"`
		MaxKeys   uint32            `json:"max_keys,omitempty" minimum:"1" maximum:"10000" doc:"How many API keys it may have, also revoked ones, when managers make another; 100 if not given. Operators are not bound"`
	}
},
) (*consumerAnswer, error) {
	b := in.Body
	c := record.Consumer{ID: in.ID, Name: b.Name, Metadata: b.Metadata, Managers: b.Managers, Grantable: b.Grantable, MaxKeys: b.MaxKeys, Tags: b.Tags, Disabled: b.Disabled}
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
	return &consumerAnswer{Revision: headerOf(result.Revision), Body: c}, nil
}

func (x *control) updateConsumer(ctx context.Context, in *struct {
	ConsumerID
	Change
	Body struct {
		Name     *string         `json:"name,omitempty" maxLength:"200"`
		Metadata json.RawMessage `json:"metadata,omitempty"`
		Tags     *[]string       `json:"tags,omitempty" maxItems:"50"`
		Disabled *bool           `json:"disabled,omitempty"`

		Managers  *[]record.Person  `json:"managers,omitempty" maxItems:"100"`
		Grantable *record.Grantable `json:"grantable,omitempty" doc:"All of it; {} takes it away"`
		MaxKeys   *uint32           `json:"max_keys,omitempty" minimum:"1" maximum:"10000"`
	}
},
) (*consumerAnswer, error) {
	b := in.Body
	update := record.UpdateConsumer{ID: in.ID, Name: b.Name, Metadata: b.Metadata, Managers: b.Managers, Grantable: b.Grantable, MaxKeys: b.MaxKeys, Tags: b.Tags, Disabled: b.Disabled}
	result, err := x.propose(ctx, in.Key, update, update)
	if err != nil {
		return nil, err
	}
	c, ok := x.Records.Consumer(in.ID)
	if !ok {
		return nil, record.NotFound("the consumer was changed, and is not there any more")
	}
	return &consumerAnswer{Revision: headerOf(result.Revision), Body: *c}, nil
}

func (x *control) deleteConsumer(ctx context.Context, in *struct {
	ConsumerID
	Change
},
) (*changed, error) {
	result, err := x.propose(ctx, in.Key, in.ID, record.DeleteConsumer{ID: in.ID})
	if err != nil {
		return nil, err
	}
	return changedAt(result), nil
}
