package control

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"veto/node/intake"
	"veto/record"
	"veto/record/limit"
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

// newKey is the one form of answer that holds a secret.
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
	Consumer    string          `json:"consumer,omitempty" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash" doc:"Whom the key belongs to; none for an operator's key"`
	Name        string          `json:"name,omitempty" maxLength:"200"`
	Scopes      []string        `json:"scopes,omitempty"`
	Roles       []record.Role   `json:"roles,omitempty" maxItems:"32" doc:"Of a consumer's key: roles of /v1/roles, whose scopes it has beside its own. Of an operator's: admin, revoker, validator, auditor"`
	Issuers     []string        `json:"issuers,omitempty" doc:"Binds an operator's key with the role revoker: it may revoke only what is of these, each an iss, and of the consumers"`
	Consumers   []string        `json:"consumers,omitempty" doc:"Binds such a key: it may revoke only these, their API keys, and what is of the issuers"`
	Targets     []string        `json:"targets,omitempty" enum:"jti,token,subject,client,session,signing_key,issuer,key,consumer" doc:"Binds such a key: it may revoke only by these; in a combination each part must be one"`
	Metadata    json.RawMessage `json:"metadata,omitempty" doc:"A JSON object that comes with every verdict"`
	ExpiresAt   time.Time       `json:"expires_at,omitzero" required:"false"`
	Environment string          `json:"environment,omitempty" pattern:"^[a-z0-9]{1,16}$" patternDescription:"1 to 16 of a-z and 0-9" doc:"A word in the secret that says what it is for, such as live or test"`
	SHA256      string          `json:"sha256,omitempty" pattern:"^[0-9A-Fa-f]{64}$" patternDescription:"64 hexadecimal digits" doc:"Imports a key that another system made, by the SHA-256 of its secret: 1 to 512 bytes without a dot, which no one can guess"`
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
	create.DefaultStatus = http.StatusCreated
	register(x, create, x.createKey)
	register(x, operation("list-keys", http.MethodGet, "/v1/keys", "List API keys", anyOperator), x.listKeys)
	register(x, operation("get-key", http.MethodGet, "/v1/keys/{id}", "Show an API key", anyOperator), x.getKey)
	register(x, operation("update-key", http.MethodPatch, "/v1/keys/{id}", "Change an API key", record.RoleAdmin), x.updateKey)
	register(x, operation("roll-key", http.MethodPost, "/v1/keys/{id}/roll", "Give an API key a new secret", record.RoleAdmin), x.rollKey)
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
	if result.Repeated && (result.Ref != k.ID || !x.isSecret(k)) {
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
	out.Body = newKey{APIKey: x.shown(k), Secret: secret}
	return out, nil
}

// isSecret tells whether the cluster has agreed on the key's secret: what it stores of that is not the
// hash that the key came with.
func (x *control) isSecret(k record.APIKey) bool {
	found, old, ok := x.Records.APIKey(k.Hash)
	return ok && !old && found.ID == k.ID
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
	Body rollRequest
},
) (*newKeyAnswer, error) {
	k, ok, err := x.Records.Key(in.ID)
	if err == nil && !ok {
		err = record.NotFound("there is no API key %s", in.ID)
	}
	if err != nil {
		return nil, err
	}
	secret, hash, hint, err := x.NewKey(environmentOf(k))
	if err != nil {
		return nil, err
	}
	overlap := time.Duration(in.Body.Overlap)
	result, err := x.propose(ctx, in.Key, struct {
		ID   string
		Body rollRequest
	}{in.ID, in.Body}, record.RollKey{ID: in.ID, Hash: hash, Hint: hint, Overlap: overlap, Force: in.Body.Force})
	if err != nil {
		return nil, err
	}
	k.Rotating = &record.Rotating{Hash: k.Hash, Hint: k.Hint, Until: x.Now().Add(overlap), Imported: k.Imported}
	k.Hash, k.Hint, k.Imported = hash, hint, false
	return x.newSecret(k, secret, result, http.StatusOK)
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

// holdsNoSecret refuses an imported key whose secret is where everyone would see it.
func holdsNoSecret(k record.APIKey) error {
	for _, text := range []string{k.Hint, k.Name} {
		if apikey.Hash(text) == k.Hash || intake.IsCredential(text) {
			return record.Invalid("hint and name: hold a secret; give no more of it than its beginning and end")
		}
	}
	return nil
}

func (x *control) listKeys(_ context.Context, in *struct {
	Page
	Consumer string `query:"consumer" pattern:"^[a-z0-9-]{1,63}$" patternDescription:"1 to 63 of a-z, 0-9 and dash"`
},
) (*list[record.APIKey], error) {
	items, err := x.Records.Keys(in.Consumer, in.Cursor, in.Limit+1)
	for i := range items {
		items[i] = x.shown(items[i])
	}
	return pageOf(items, in.Limit, func(k record.APIKey) string { return k.ID }), err
}

func (x *control) getKey(_ context.Context, in *KeyID) (*keyAnswer, error) {
	k, ok, err := x.Records.Key(in.ID)
	if err == nil && !ok {
		err = record.NotFound("there is no API key %s", in.ID)
	}
	return &keyAnswer{Revision: headerOf(k.Revision), Body: x.shown(k)}, err
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
		Limits    *keyLimits      `json:"limits,omitempty" doc:"The new limits, all of them; {} takes them away"`
	}
},
) (*keyAnswer, error) {
	b := in.Body
	limits, err := b.Limits.read()
	if err != nil {
		return nil, err
	}
	result, err := x.propose(ctx, in.Key, struct {
		ID   string
		Body any
	}{in.ID, b}, record.UpdateKey{
		ID: in.ID, Name: b.Name, Scopes: b.Scopes, Roles: b.Roles, Metadata: b.Metadata, ExpiresAt: b.ExpiresAt, Disabled: b.Disabled, Limits: limits,
	})
	if err != nil {
		return nil, err
	}
	k, ok, err := x.Records.Key(in.ID)
	if err == nil && !ok {
		err = record.NotFound("the API key was changed, and is not there any more")
	}
	return &keyAnswer{Revision: headerOf(result.Revision), Body: x.shown(k)}, err
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
