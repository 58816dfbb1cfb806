package control

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"veto/node/httpapi"
	"veto/record"
	"veto/record/limit"
	"veto/validate/apikey"
)

// KeyID is in the path of what is about one API key.
type KeyID struct {
	ID string `path:"id" pattern:"^key_[0-9a-z]{1,59}$" patternDescription:"the id of an API key, which is key_ and more; not the key itself"`
}

// newKey is the one form of answer that holds a secret.
type newKey struct {
	record.APIKey
	Secret string `json:"secret,omitempty" doc:"The key itself. It is shown here and never again."`
}

type newKeyAnswer struct {
	Status   int
	Revision string `header:"Veto-Revision"`
	ETag     string `header:"ETag" doc:"Of the record, for If-Match"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when the request had been done before; the secret is then not shown again"`
	Body     newKey
}

type keyRequest struct {
	Consumer    string          `json:"consumer,omitempty" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash" doc:"Whom the key belongs to; none for an operator's key"`
	Name        string          `json:"name,omitempty" maxLength:"200"`
	Scopes      []string        `json:"scopes,omitempty"`
	Roles       []record.Role   `json:"roles,omitempty" maxItems:"32" doc:"Of a consumer's key: roles of /v1/roles, whose scopes it has beside its own. Of an operator's: admin, revoker, validator, auditor"`
	Issuers     []string        `json:"issuers,omitempty" doc:"Binds an operator's key with the role revoker: it may revoke only what is of these, each an iss, and of the consumers"`
	Consumers   []string        `json:"consumers,omitempty" doc:"Binds such a key: it may revoke only these, their API keys, and what is of the issuers"`
	Targets     []string        `json:"targets,omitempty" enum:"jti,token,subject,client,session,signing_key,issuer,key,consumer" doc:"Binds such a key: it may revoke only by these; in a combination each part must be one"`
	Metadata    json.RawMessage `json:"metadata,omitempty" doc:"A JSON object that comes with every verdict"`
	ExpiresAt   time.Time       `json:"expires_at,omitzero" required:"false" doc:"When it stops working; if not given, or 0001-01-01T00:00:00Z, never"`
	Environment string          `json:"environment,omitempty" pattern:"^[a-z0-9]{1,16}$" patternDescription:"1 to 16 of a-z and 0-9" doc:"A word in the secret that says what it is for, such as live or test"`
	SHA256      string          `json:"sha256,omitempty" pattern:"^[0-9A-Fa-f]{64}$" patternDescription:"64 hexadecimal digits" doc:"Imports a key that another system made, by the SHA-256 of its secret: 1 to 512 bytes without a dot, and without spaces at its ends, which no one can guess"`
	Hint        string          `json:"hint,omitempty" maxLength:"64" doc:"By what people tell an imported key, such as the beginning and end of its secret"`
	Limits      *keyLimits      `json:"limits,omitempty" doc:"How much the key may be used, on all nodes together"`
}

// keyLimits are limit.Limits as an operator gives them.
type keyLimits struct {
	Rate  string `json:"rate,omitempty" pattern:"^[1-9][0-9]{0,6}/(s|min)$" patternDescription:"such as 100/s or 600/min" doc:"At most 1000000"`
	Burst uint32 `json:"burst,omitempty" minimum:"1" maximum:"10000000" doc:"What may be used at once after a rest; what the rate allows in its time, if not given"`
	Quota string `json:"quota,omitempty" pattern:"^[1-9][0-9]{0,15}/(day|month)$" patternDescription:"such as 10000/day or 1000000/month" doc:"In a day or a calendar month of UTC"`
}

// read gives nil for none.
func (l *keyLimits) read() (*limit.Limits, error) {
	if l == nil {
		return nil, nil
	}
	out, err := limit.Parse(l.Rate, l.Burst, l.Quota)
	if err != nil {
		return nil, record.Invalid("%s", err)
	}
	return &out, nil
}

func (x *control) keys() {
	create := operation("create-key", http.MethodPost, "/v1/keys", "Make an API key", record.RoleAdmin)
	create.DefaultStatus, create.Errors = http.StatusCreated, append(create.Errors, http.StatusNotFound)
	register(x, create, x.createKey)
	register(x, operation("list-keys", http.MethodGet, "/v1/keys", "Find API keys", anyOperator), x.listKeys)
	register(x, operation("get-key", http.MethodGet, "/v1/keys/{id}", "Show an API key", anyOperator), x.getKey)
	register(x, operation("update-key", http.MethodPatch, "/v1/keys/{id}", "Change an API key", record.RoleAdmin), x.updateKey)
	roll := operation("roll-key", http.MethodPost, "/v1/keys/{id}/roll", "Give an API key a new secret", record.RoleAdmin)
	roll.Errors = append(roll.Errors, http.StatusPreconditionFailed)
	register(x, roll, x.rollKey)
	register(x, operation("delete-key", http.MethodDelete, "/v1/keys/{id}", "Delete an API key", record.RoleAdmin), x.deleteKey)
}

func (x *control) createKey(ctx context.Context, in *struct {
	Change
	Body keyRequest
},
) (*newKeyAnswer, error) {
	k, secret, err := x.keyOf(in.Body)
	if err != nil {
		return nil, err
	}
	if err := k.Check(); err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, in.Body, record.CreateKey{Key: k})
	if err != nil {
		return nil, err
	}
	return x.newSecret(k, secret, result, http.StatusCreated)
}

// newSecret shows a secret that the cluster has agreed on as the key's, unless it was shown before.
func (x *control) newSecret(k record.APIKey, secret string, result record.Result, status int) (*newKeyAnswer, error) {
	out := &newKeyAnswer{Status: status, Revision: headerOf(result.Revision)}
	stored, ok, err := x.Records.Key(result.Ref)
	if err != nil {
		return nil, err
	}
	// It may be this very request that was proposed twice, as a leader was lost.
	if result.Repeated && (result.Ref != k.ID || !x.isSecret(k, secret)) {
		out.Status, out.Replayed, secret = http.StatusOK, "true", ""
	}
	switch {
	case ok && (stored.Revision >= result.Revision || result.Repeated):
		k = stored
	case result.Repeated:
		return nil, record.NotFound("the API key of this request is not there any more")
	default: // this node lags; what was asked for is what was done
		k.Revision = result.Revision
	}
	out.ETag, out.Body = httpapi.ETag(k.Revision), newKey{APIKey: x.shown(k), Secret: secret}
	return out, nil
}

// isSecret tells whether the secret is the key's, or another system has it.
func (x *control) isSecret(k record.APIKey, secret string) bool {
	found, old, ok := x.FindKey(secret)
	return secret == "" || ok && !old && found.ID == k.ID
}

// shown is the key without a secret whose overlap has ended.
func (x *control) shown(k record.APIKey) record.APIKey {
	if !k.IsRotating(x.Now()) {
		k.Rotating = nil
	}
	return k
}

type rollRequest struct {
	Overlap record.Duration `json:"overlap" pattern:"^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$" patternDescription:"a duration such as 24h" doc:"How long the secret before is good beside the new one: 0s, so that it ends at once, to 720h"`
	Force   bool            `json:"force,omitempty" doc:"Ends a secret that an earlier roll has left some time; without it such a key is not rolled"`
}

func (x *control) rollKey(ctx context.Context, in *struct {
	KeyID
	Change
	Match
	Body rollRequest
},
) (*newKeyAnswer, error) {
	k, err := x.key(in.ID)
	if err != nil {
		return nil, err
	}
	return x.roll(ctx, k, in.Key, in.Body, func(roll record.RollKey) record.Body { return roll })
}

func (x *control) key(id string) (record.APIKey, error) {
	k, ok, err := x.Records.Key(id)
	if err == nil && !ok {
		err = record.NotFound("there is no API key %s", id)
	}
	return k, err
}

// roll gives the key a new secret, by the command that there is for who asks.
func (x *control) roll(ctx context.Context, k record.APIKey, key string, b rollRequest, command func(record.RollKey) record.Body) (*newKeyAnswer, error) {
	secret, hash, hint, err := x.NewKey(environmentOf(k))
	if err != nil {
		return nil, err
	}
	overlap := time.Duration(b.Overlap)
	result, err := x.propose(ctx, key, struct {
		ID   string
		Body rollRequest
	}{k.ID, b}, command(record.RollKey{ID: k.ID, Hash: hash, Hint: hint, Overlap: overlap, Force: b.Force}))
	if err != nil {
		return nil, err
	}
	k.Rotating = &record.Rotating{Hash: k.Hash, Hint: k.Hint, Until: x.Now().Add(overlap), Imported: k.Imported}
	k.Hash, k.Hint, k.Imported = hash, hint, false
	return x.newSecret(k, secret, result, http.StatusOK)
}

// each has every role once.
func each(roles []record.Role) (once []record.Role) {
	for _, r := range roles {
		if !slices.Contains(once, r) {
			once = append(once, r)
		}
	}
	return once
}

// environmentOf is the word in a secret of the key.
func environmentOf(k record.APIKey) string {
	if k.Consumer == "" {
		return record.OperatorEnvironment
	}
	return k.Environment
}

// keyOf makes the key that is asked for, and its secret; that is empty if another system has made it.
func (x *control) keyOf(b keyRequest) (k record.APIKey, secret string, err error) {
	k = record.APIKey{
		ID: x.NewID("key_"), Consumer: b.Consumer, Name: b.Name, Scopes: b.Scopes, Roles: b.Roles, Issuers: b.Issuers, Consumers: b.Consumers, Targets: b.Targets,
		Metadata: b.Metadata, ExpiresAt: b.ExpiresAt, Environment: b.Environment, Hint: b.Hint, Imported: b.SHA256 != "",
	}
	if k.Consumer == "" { // a consumer's with a role that is there twice is refused
		k.Roles = each(b.Roles)
	}
	if k.Limits, err = b.Limits.read(); err != nil {
		return k, "", err
	}
	if k.Imported {
		if _, err := hex.Decode(k.Hash[:], []byte(b.SHA256)); err != nil {
			return k, "", record.Invalid("sha256: 64 hexadecimal digits")
		}
		return k, "", holdsNoSecret(k)
	}
	if b.Hint != "" {
		return k, "", record.Invalid("hint: is of an imported key; give its sha256, or leave the hint out")
	}
	secret, k.Hash, k.Hint, err = x.NewKey(environmentOf(k))
	return k, secret, err
}

// holdsNoSecret refuses an imported key whose secret, which may have any form, is where everyone would see it.
func holdsNoSecret(k record.APIKey) error {
	for _, text := range []string{k.Hint, k.Name} {
		if apikey.Hash(text) == k.Hash {
			return record.Invalid("hint and name: one is the secret; give no more of it than its beginning and end")
		}
	}
	return nil
}

func (x *control) listKeys(_ context.Context, in *struct {
	Page
	Consumer    string `query:"consumer" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
	Environment string `query:"environment" pattern:"^[a-z0-9]{1,16}$" patternDescription:"1 to 16 of a-z and 0-9"`
	State       string `query:"state" enum:"active,disabled,expired,rotating,revoked,leaked" doc:"By the key itself: active is none of disabled, expired and revoked, the latter also by its consumer; rotating has two secrets; leaked is one that is active though a secret of it is known where anyone can read it"`
	Role        string `query:"role" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
	Scope       string `query:"scope" maxLength:"200" doc:"Those that may be asked for it, by themselves, by a role, or by a wildcard"`
	Text        string `query:"q" maxLength:"200" doc:"Stands in the name or the hint, in capitals or not"`
	Pepper      uint32 `query:"pepper" minimum:"1" doc:"Those of which a secret is stored by this pepper, alone or with others"`
},
) (*list[record.APIKey], error) {
	q := record.KeyQuery{Consumer: in.Consumer, Environment: in.Environment, State: record.KeyState(in.State), Role: record.Role(in.Role), Scope: in.Scope, Text: in.Text, Pepper: record.PepperID(in.Pepper)}
	name := fmt.Sprintf("keys %#v", q)
	place, err := x.place(name, in.Page)
	if err != nil {
		return nil, err
	}
	items, next, err := x.Records.Keys(q, x.Now(), place, in.Limit)
	for i := range items {
		items[i] = x.shown(items[i])
	}
	return pageOf(x, name, items, next), err
}

func (x *control) getKey(_ context.Context, in *KeyID) (*recordAnswer[record.APIKey], error) {
	k, err := x.key(in.ID)
	return recordAt(x.shown(k), k.Revision), err
}

func (x *control) updateKey(ctx context.Context, in *struct {
	KeyID
	Change
	Match
	Body struct {
		Name      *string         `json:"name,omitempty" maxLength:"200"`
		Scopes    *[]string       `json:"scopes,omitempty"`
		Roles     *[]record.Role  `json:"roles,omitempty" maxItems:"32" doc:"Of a consumer's key; an operator's keeps its own"`
		Metadata  json.RawMessage `json:"metadata,omitempty"`
		ExpiresAt *time.Time      `json:"expires_at,omitempty" doc:"0001-01-01T00:00:00Z takes the expiry away"`
		Disabled  *bool           `json:"disabled,omitempty"`
		Limits    *keyLimits      `json:"limits,omitempty" doc:"The new limits, all of them; {} takes them away"`
	}
},
) (*changedAnswer[record.APIKey], error) {
	b := in.Body
	limits, err := b.Limits.read()
	if err != nil {
		return nil, err
	}
	update := record.UpdateKey{
		ID: in.ID, Name: b.Name, Scopes: b.Scopes, Roles: b.Roles, Metadata: b.Metadata, ExpiresAt: b.ExpiresAt, Disabled: b.Disabled, Limits: limits,
	}
	if b.ExpiresAt != nil && b.ExpiresAt.IsZero() {
		update.ExpiresAt, update.Forever = nil, true
	}
	result, err := x.propose(ctx, in.Key, struct {
		ID   string
		Body any
	}{in.ID, b}, update)
	if err != nil {
		return nil, err
	}
	k, _, err := x.Records.Key(in.ID)
	if err != nil {
		return nil, err
	}
	return changedRecord(x, result, x.shown(k), k.Revision, nil)
}

func (x *control) deleteKey(ctx context.Context, in *struct {
	KeyID
	Change
	Match
},
) (*changed, error) {
	result, err := x.propose(ctx, in.Key, in.ID, record.DeleteKey{ID: in.ID})
	if err != nil {
		return nil, err
	}
	return changedAt(result), nil
}
