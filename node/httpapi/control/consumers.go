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
	register(x, operation("list-consumers", http.MethodGet, "/v1/consumers", "List consumers", anyOperator), x.listConsumers)
	register(x, operation("get-consumer", http.MethodGet, "/v1/consumers/{id}", "Show a consumer", anyOperator), x.getConsumer)
	register(x, operation("put-consumer", http.MethodPut, "/v1/consumers/{id}", "Make or change a consumer", record.RoleAdmin), x.putConsumer)
	register(x, operation("delete-consumer", http.MethodDelete, "/v1/consumers/{id}", "Delete a consumer and its keys", record.RoleAdmin), x.deleteConsumer)
}

func (x *control) listConsumers(_ context.Context, in *Page) (*list[record.Consumer], error) {
	items, err := x.Records.Consumers(in.Cursor, in.Limit+1)
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
		Managers []string        `json:"managers,omitempty" doc:"Subjects who may manage its keys"`
	}
},
) (*consumerAnswer, error) {
	c := record.Consumer{ID: in.ID, Name: in.Body.Name, Metadata: in.Body.Metadata, Managers: in.Body.Managers}
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
