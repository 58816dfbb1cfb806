package control

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"veto/node/intake"
	"veto/record"
)

// ConsumerID is in the path of what is about one consumer.
type ConsumerID struct {
	ID string `path:"id" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
}

func (x *control) consumers() {
	register(x, operation("list-consumers", http.MethodGet, "/v1/consumers", "Find consumers", anyOperator), x.listConsumers)
	register(x, operation("get-consumer", http.MethodGet, "/v1/consumers/{id}", "Show a consumer", anyOperator), x.getConsumer)
	register(x, operation("put-consumer", http.MethodPut, "/v1/consumers/{id}", "Make or replace a consumer", record.RoleAdmin), x.putConsumer)
	register(x, operation("update-consumer", http.MethodPatch, "/v1/consumers/{id}", "Change a consumer", record.RoleAdmin), x.updateConsumer)
	register(x, operation("delete-consumer", http.MethodDelete, "/v1/consumers/{id}", "Delete a consumer and its keys", record.RoleAdmin), x.deleteConsumer)
	open := operation("open-portal-session", http.MethodPost, "/v1/consumers/{id}/portal-sessions", "Let somebody manage a consumer's keys for a while", record.RoleAdmin)
	open.DefaultStatus = http.StatusCreated
	register(x, open, x.openSession)
	register(x, operation("end-portal-session", http.MethodDelete, "/v1/consumers/{id}/portal-sessions/{session}", "End a portal session", record.RoleAdmin), x.endSession)
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

func (x *control) getConsumer(_ context.Context, in *ConsumerID) (*recordAnswer[record.Consumer], error) {
	c, ok := x.Records.Consumer(in.ID)
	if !ok {
		return nil, record.NotFound("there is no consumer %s", in.ID)
	}
	return recordAt(*c, c.Revision), nil
}

func (x *control) putConsumer(ctx context.Context, in *struct {
	ConsumerID
	Change
	NoneMatch
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
) (*changedAnswer[record.Consumer], error) {
	b := in.Body
	c := record.Consumer{ID: in.ID, Name: b.Name, Metadata: b.Metadata, Managers: b.Managers, Grantable: b.Grantable, MaxKeys: b.MaxKeys, Tags: b.Tags, Disabled: b.Disabled}
	if err := c.Check(); err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, c, record.PutConsumer{Consumer: c})
	if err != nil {
		return nil, err
	}
	stored, ok := x.Records.Consumer(c.ID)
	if !ok {
		stored = &record.Consumer{}
	}
	return changedRecord(x, result, *stored, stored.Revision, func(at record.Revision) record.Consumer {
		c.Revision = at
		return c
	})
}

func (x *control) updateConsumer(ctx context.Context, in *struct {
	ConsumerID
	Change
	Match
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
) (*changedAnswer[record.Consumer], error) {
	b := in.Body
	update := record.UpdateConsumer{ID: in.ID, Name: b.Name, Metadata: b.Metadata, Managers: b.Managers, Grantable: b.Grantable, MaxKeys: b.MaxKeys, Tags: b.Tags, Disabled: b.Disabled}
	result, err := x.propose(ctx, in.Key, update, update)
	if err != nil {
		return nil, err
	}
	c, ok := x.Records.Consumer(in.ID)
	if !ok {
		c = &record.Consumer{}
	}
	return changedRecord(x, result, *c, c.Revision, nil)
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

func (x *control) getRole(_ context.Context, in *RoleID) (*recordAnswer[record.DefinedRole], error) {
	r, ok, err := x.Records.Role(record.Role(in.ID))
	if err == nil && !ok {
		err = record.NotFound("there is no role %s", in.ID)
	}
	return recordAt(r, r.Revision), err
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
) (*changedAnswer[record.DefinedRole], error) {
	r := record.DefinedRole{ID: record.Role(in.ID), Name: in.Body.Name, Scopes: in.Body.Scopes}
	if err := r.Check(); err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, r, record.PutRole{Role: r})
	if err != nil {
		return nil, err
	}
	stored, _, err := x.Records.Role(r.ID)
	if err != nil {
		return nil, err
	}
	return changedRecord(x, result, stored, stored.Revision, func(at record.Revision) record.DefinedRole {
		r.Revision = at
		return r
	})
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

// newSession is a session with its secret.
type newSession struct {
	record.PortalSession
	Secret string `json:"secret,omitempty" doc:"What opens /v1/me. It is shown here and never again."`
}

type sessionAnswer struct {
	Status   int
	Revision string `header:"Veto-Revision"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the request had been done before; the secret is then not shown again"`
	Body     newSession
}

// sessionWord is the word in the secrets of portal sessions.
const sessionWord = "portal"

func (x *control) openSession(ctx context.Context, in *struct {
	ConsumerID
	Change
	Body struct {
		Lifetime *record.Duration `json:"lifetime,omitempty" pattern:"^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$" patternDescription:"a duration such as 30m" doc:"1m to 12h; 1h if not given"`
	}
},
) (*sessionAnswer, error) {
	lifetime := record.DefaultSession
	if in.Body.Lifetime != nil {
		lifetime = time.Duration(*in.Body.Lifetime) // which the log bounds
	}
	secret, _, _, err := x.NewKey(sessionWord)
	if err != nil {
		return nil, err
	}
	sum := record.KeyHash(sha256.Sum256([]byte(secret)))
	open := record.OpenSession{Consumer: in.ID, Hash: sum, Lifetime: lifetime}
	result, err := x.propose(ctx, in.Key, struct {
		Consumer string
		Lifetime time.Duration
	}{in.ID, lifetime}, open)
	if err != nil {
		return nil, err
	}
	out := &sessionAnswer{Status: http.StatusCreated, Revision: headerOf(result.Revision)}
	own, _, err := x.Records.SessionBySecret(sum)
	if err != nil {
		return nil, err
	}
	// It may be this very request that was proposed twice, as a leader was lost.
	if result.Repeated && result.Ref != own.ID {
		out.Status, out.Replayed, secret = http.StatusOK, "true", ""
	}
	s, ok, err := x.Records.Session(result.Ref)
	if err == nil && !ok {
		err = record.NotFound("the portal session of this request is not there any more")
	}
	out.Body = newSession{PortalSession: s, Secret: secret}
	return out, err
}

func (x *control) endSession(ctx context.Context, in *struct {
	ConsumerID
	Session string `path:"session" pattern:"^ses_[0-9a-z]{32}$" patternDescription:"the id of a portal session, which is ses_ and 32 more; not its secret"`
	Change
},
) (*changed, error) {
	end := record.EndSession{Consumer: in.ID, ID: in.Session}
	result, err := x.propose(ctx, in.Key, end, end)
	if err != nil {
		return nil, err
	}
	return changedAt(result), nil
}

// OfConsumer says of which consumer a manager speaks; what it is was seen to with who asks.
type OfConsumer struct {
	Consumer string `query:"consumer" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash" doc:"Whose keys are meant, for who manages those of several"`
}

// me is what a consumer's managers may do, and nothing else.
func (x *control) me() {
	register(x, operation("me", http.MethodGet, "/v1/me", "Show whose keys you manage, what you may give, and until when", consumersManager), x.showMe)
	register(x, operation("list-my-keys", http.MethodGet, "/v1/me/keys", "List the consumer's API keys", consumersManager), x.listMyKeys)
	create := operation("create-my-key", http.MethodPost, "/v1/me/keys", "Make an API key of the consumer", consumersManager)
	create.DefaultStatus = http.StatusCreated
	register(x, create, x.createMyKey)
	register(x, operation("roll-my-key", http.MethodPost, "/v1/me/keys/{id}/roll", "Give an API key of the consumer a new secret", consumersManager), x.rollMyKey)
	revoke := operation("revoke-my-key", http.MethodPost, "/v1/me/keys/{id}/revoke", "Revoke an API key of the consumer", consumersManager)
	revoke.DefaultStatus = http.StatusCreated
	revoke.Responses = x.pendingReceipt()
	register(x, revoke, x.revokeMyKey)
}

type meAnswer struct {
	Body struct {
		Consumer  string            `json:"consumer"`
		Name      string            `json:"name,omitempty"`
		Grantable *record.Grantable `json:"grantable,omitempty" doc:"The scopes and roles that you may give; none if it is not there"`
		MaxKeys   int               `json:"max_keys"`
		Person    *record.Person    `json:"person,omitempty" doc:"Who you are, by a JWT"`
		Session   string            `json:"session,omitempty" doc:"The portal session that you are here by"`
		ExpiresAt time.Time         `json:"expires_at" doc:"Until when"`
	}
}

func (x *control) showMe(ctx context.Context, _ *OfConsumer) (*meAnswer, error) {
	by, out := callerOf(ctx), &meAnswer{}
	c, b := by.consumer, &out.Body
	b.Consumer, b.Name, b.Grantable, b.MaxKeys, b.Session, b.ExpiresAt = c.ID, c.Name, c.Grantable, c.KeysAtMost(), by.session, by.until
	if by.session == "" {
		b.Person = &by.person
	}
	return out, nil
}

func (x *control) listMyKeys(ctx context.Context, in *struct {
	OfConsumer
	Page
},
) (*list[record.APIKey], error) {
	name := "keys of " + callerOf(ctx).consumer.ID
	place, err := x.place(name, in.Page)
	if err != nil {
		return nil, err
	}
	items, err := x.Records.KeysOf(callerOf(ctx).consumer.ID, place, in.Limit+1)
	next := ""
	if len(items) > in.Limit {
		items = items[:in.Limit]
		next = items[in.Limit-1].ID
	}
	for i := range items {
		items[i] = x.shown(items[i])
		items[i].Metadata = nil // it is for those whom verdicts tell it
	}
	return pageOf(x, name, items, next), err
}

func (x *control) createMyKey(ctx context.Context, in *struct {
	OfConsumer
	Change
	Body struct {
		Name        string        `json:"name,omitempty" maxLength:"200"`
		Scopes      []string      `json:"scopes,omitempty" doc:"Of those that managers may give"`
		Roles       []record.Role `json:"roles,omitempty" maxItems:"32" doc:"Of those that managers may give"`
		ExpiresAt   time.Time     `json:"expires_at,omitzero" required:"false"`
		Environment string        `json:"environment,omitempty" pattern:"^[a-z0-9]{1,16}$" patternDescription:"1 to 16 of a-z and 0-9" doc:"A word in the secret that says what it is for, such as live or test"`
	}
},
) (*newKeyAnswer, error) {
	b := in.Body
	k, secret, err := x.keyOf(keyRequest{
		Consumer: callerOf(ctx).consumer.ID, Name: b.Name, Scopes: b.Scopes, Roles: b.Roles, ExpiresAt: b.ExpiresAt, Environment: b.Environment,
	})
	if err == nil {
		err = k.Check()
	}
	if err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, struct {
		Consumer string
		Body     any
	}{k.Consumer, b}, record.ManageKey{Consumer: k.Consumer, Create: &record.CreateKey{Key: k}})
	if err != nil {
		return nil, err
	}
	return x.newSecret(k, secret, result, http.StatusCreated)
}

// myKey finds the key, if it is the consumer's.
func (x *control) myKey(ctx context.Context, id string) (record.APIKey, error) {
	k, ok, err := x.Records.KeyOf(callerOf(ctx).consumer.ID, id)
	if err == nil && !ok {
		err = record.NotFound("there is no API key %s", id)
	}
	return k, err
}

func (x *control) rollMyKey(ctx context.Context, in *struct {
	KeyID
	OfConsumer
	Change
	Body rollRequest
},
) (*newKeyAnswer, error) {
	k, err := x.myKey(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out, err := x.roll(ctx, k, in.Key, in.Body, func(roll record.RollKey) record.Body {
		return record.ManageKey{Consumer: k.Consumer, Roll: &roll}
	})
	if err == nil {
		out.Body.Metadata = nil
	}
	return out, err
}

func (x *control) revokeMyKey(ctx context.Context, in *struct {
	KeyID
	OfConsumer
	Change
	Wait    string `query:"wait" enum:"committed,enforced" default:"committed" doc:"Answer when it is committed, or when every node enforces it"`
	Timeout string `query:"timeout" default:"2s" doc:"How long to wait for that; at most 30s. What is not committed by then is answered as pending, and will be"`
	Body    struct {
		Reason string `json:"reason,omitempty" maxLength:"500"`
	}
},
) (*receiptAnswer, error) {
	if _, err := x.myKey(ctx, in.ID); err != nil {
		return nil, err
	}
	return x.take(ctx, intake.RevokeRequest{Target: record.TargetKey, Value: in.ID, Reason: in.Body.Reason}, in.Key, in.Wait, in.Timeout)
}
