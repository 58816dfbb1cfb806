package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/validate"
)

// Page is one page of a list.
type Page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor"`
}

// MaxLimit bounds the Limit of a List.
const MaxLimit = 1000

// List says which part of a list is wanted. Without a Limit a node gives 100.
type List struct {
	Cursor string
	Limit  int
}

func (l List) query() url.Values {
	q := url.Values{}
	if l.Cursor != "" {
		q.Set("cursor", l.Cursor)
	}
	if l.Limit > 0 {
		q.Set("limit", strconv.Itoa(l.Limit))
	}
	return q
}

// Changed is the answer to a change that has nothing else to tell.
type Changed struct {
	Revision record.Revision `json:"revision"`
}

// Question is what a validation asks.
type Question struct {
	Credential  string          `json:"credential"`
	Audience    string          `json:"audience,omitempty"`
	Scopes      []string        `json:"scopes,omitempty"`
	MinRevision record.Revision `json:"min_revision,omitempty"`
	// MaxStaleness is how old the state may be that the answer is based on; zero leaves that to
	// the node and the issuer.
	MaxStaleness record.Duration `json:"max_staleness,omitempty"`
	// Cost is what the request counts for where the key has limits; 1 if zero.
	Cost uint32 `json:"cost,omitempty"`
}

// verdict, receipt and the like are answers that know when they are complete.
type (
	verdict struct{ validate.Verdict }
	receipt struct{ record.Receipt }
)

func (v *verdict) complete() bool { return v.Code != "" }
func (r *receipt) complete() bool {
	return r.ID != "" && (r.Revision > 0 && r.State == record.StateCommitted || r.State == record.StatePending)
}
func (c *Changed) complete() bool { return c.Revision > 0 }
func (k *NewKey) complete() bool  { return k.ID != "" && k.Revision > 0 }

// Validate asks a data plane. A deny is a verdict, not an error.
func (c *Client) Validate(ctx context.Context, q Question) (validate.Verdict, error) {
	var v verdict
	err := c.do(ctx, c.options.Data, request{method: http.MethodPost, path: "/v1/validate", body: q}, &v)
	return v.Verdict, err
}

// Explain asks a data plane, and has every check told. It needs an operator's key.
func (c *Client) Explain(ctx context.Context, q Question) (validate.Verdict, error) {
	var v verdict
	explained := struct {
		Question
		Explain bool `json:"explain"`
	}{q, true}
	err := c.do(ctx, c.options.Data, request{method: http.MethodPost, path: "/v1/validate", body: explained, bearer: c.options.Token}, &v)
	return v.Verdict, err
}

// ValidateAll asks a data plane many questions at once: up to 1,000. The verdicts are in the
// order of the questions.
func (c *Client) ValidateAll(ctx context.Context, questions []Question) ([]validate.Verdict, error) {
	var out struct{ Verdicts []validate.Verdict }
	body := map[string]any{"requests": questions}
	err := c.do(ctx, c.options.Data, request{method: http.MethodPost, path: "/v1/validate/batch", body: body}, &out)
	if err == nil && len(out.Verdicts) != len(questions) {
		err = fmt.Errorf("%d verdicts for %d questions", len(out.Verdicts), len(questions))
	}
	return out.Verdicts, err
}

// Rules are an issuer as an operator gives it.
type Rules struct {
	Issuer        string          `json:"issuer"`
	Preset        string          `json:"preset,omitempty"`
	Discovery     string          `json:"discovery,omitempty"`
	JWKSURI       string          `json:"jwks_uri,omitempty"`
	JWKS          json.RawMessage `json:"jwks,omitempty"`
	Algorithms    []string        `json:"algorithms,omitempty"`
	Audiences     []string        `json:"audiences,omitempty"`
	Types         []string        `json:"types,omitempty"`
	MaxLifetime   string          `json:"max_lifetime,omitempty"`
	Leeway        string          `json:"leeway,omitempty"`
	MaxStaleness  string          `json:"max_staleness,omitempty"`
	AllowNoExpiry bool            `json:"allow_no_expiry,omitempty"`
	// SharedSecret is in base64url.
	SharedSecret    string            `json:"shared_secret,omitempty"`
	AllowNoIssuedAt bool              `json:"allow_no_issued_at,omitempty"`
	Claims          record.ClaimNames `json:"claims,omitzero"`
	Required        map[string]string `json:"required,omitempty"`
	// Operators say which of its tokens are operators'.
	Operators *record.Operators `json:"operators,omitempty"`
}

// Issuers lists the trusted issuers.
func (c *Client) Issuers(ctx context.Context) (Page[record.Issuer], error) {
	return get[Page[record.Issuer]](ctx, c, "/v1/issuers", nil)
}

// Issuer shows one.
func (c *Client) Issuer(ctx context.Context, id string) (record.Issuer, error) {
	return get[record.Issuer](ctx, c, "/v1/issuers/"+url.PathEscape(id), nil)
}

// SigningKeys lists an issuer's keys.
func (c *Client) SigningKeys(ctx context.Context, id string) (Page[record.SigningKey], error) {
	return get[Page[record.SigningKey]](ctx, c, "/v1/issuers/"+url.PathEscape(id)+"/keys", nil)
}

// PutIssuer trusts an issuer, or changes its rules.
func (c *Client) PutIssuer(ctx context.Context, id string, r Rules) (record.Issuer, error) {
	var i record.Issuer
	err := c.control(ctx, http.MethodPut, "/v1/issuers/"+url.PathEscape(id), nil, r, &i)
	return i, err
}

// RefreshIssuer fetches an issuer's keys now and lists them.
func (c *Client) RefreshIssuer(ctx context.Context, id string) (Page[record.SigningKey], error) {
	var keys Page[record.SigningKey]
	err := c.control(ctx, http.MethodPost, "/v1/issuers/"+url.PathEscape(id)+"/refresh", nil, nil, &keys)
	return keys, err
}

// DeleteIssuer ends the trust in an issuer.
func (c *Client) DeleteIssuer(ctx context.Context, id string) (Changed, error) {
	return remove(ctx, c, "/v1/issuers/"+url.PathEscape(id), nil)
}

// Consumers lists the consumers that the query finds. A page may have fewer than asked for, and more follow.
func (c *Client) Consumers(ctx context.Context, find record.ConsumerQuery, l List) (Page[record.Consumer], error) {
	q := l.query()
	if find.Text != "" {
		q.Set("q", find.Text)
	}
	for _, t := range find.Tags {
		q.Add("tag", t)
	}
	if find.Disabled != nil {
		q.Set("disabled", strconv.FormatBool(*find.Disabled))
	}
	return get[Page[record.Consumer]](ctx, c, "/v1/consumers", q)
}

// Consumer shows one.
func (c *Client) Consumer(ctx context.Context, id string) (record.Consumer, error) {
	return get[record.Consumer](ctx, c, "/v1/consumers/"+url.PathEscape(id), nil)
}

// ConsumerFields are a consumer as an operator gives it.
type ConsumerFields struct {
	Name     string          `json:"name,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	Tags     []string        `json:"tags,omitempty"`
	Disabled bool            `json:"disabled,omitempty"`
	// Managers may manage its keys, Grantable is what those that they make may have, and MaxKeys how many
	// there are at most.
	Managers  []record.Person   `json:"managers,omitempty"`
	Grantable *record.Grantable `json:"grantable,omitempty"`
	MaxKeys   uint32            `json:"max_keys,omitempty"`
}

// ConsumerChange is what is to be changed of a consumer.
type ConsumerChange struct {
	Name     *string         `json:"name,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	Tags     *[]string       `json:"tags,omitempty"`
	Disabled *bool           `json:"disabled,omitempty"`

	Managers  *[]record.Person  `json:"managers,omitempty"`
	Grantable *record.Grantable `json:"grantable,omitempty"`
	MaxKeys   *uint32           `json:"max_keys,omitempty"`
}

// UpdateConsumer changes what is set.
func (c *Client) UpdateConsumer(ctx context.Context, id string, change ConsumerChange) (record.Consumer, error) {
	var out record.Consumer
	err := c.control(ctx, http.MethodPatch, "/v1/consumers/"+url.PathEscape(id), nil, change, &out)
	return out, err
}

// PutConsumer makes a consumer, or replaces one.
func (c *Client) PutConsumer(ctx context.Context, id string, f ConsumerFields) (record.Consumer, error) {
	var out record.Consumer
	err := c.control(ctx, http.MethodPut, "/v1/consumers/"+url.PathEscape(id), nil, f, &out)
	return out, err
}

// DeleteConsumer deletes a consumer and its keys.
func (c *Client) DeleteConsumer(ctx context.Context, id string) (Changed, error) {
	return remove(ctx, c, "/v1/consumers/"+url.PathEscape(id), nil)
}

// KeyFields are an API key as an operator gives it.
type KeyFields struct {
	Consumer string   `json:"consumer,omitempty"`
	Name     string   `json:"name,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	// Roles of a consumer's key are defined with PutRole; those of an operator's are Veto's own.
	Roles []record.Role `json:"roles,omitempty"`
	// Issuers and Consumers bind a key with the role revoker to what is of them, Targets to these.
	Issuers   []string        `json:"issuers,omitempty"`
	Consumers []string        `json:"consumers,omitempty"`
	Targets   []string        `json:"targets,omitempty"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	ExpiresAt time.Time       `json:"expires_at,omitzero"`
	// Limits are how much the key may be used; nil for no limits.
	Limits *limit.Limits `json:"limits,omitempty"`
	// Environment is a word in the secret that says what it is for.
	Environment string `json:"environment,omitempty"`
	// SHA256 imports a key that another system made, by the SHA-256 of its secret in hex; Hint is by
	// what people tell it.
	SHA256 string `json:"sha256,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// NewKey is a key that was just made, with its secret.
type NewKey struct {
	record.APIKey
	Secret string `json:"secret,omitempty"`
}

// KeyChange is what to change of a key; what is nil stays.
type KeyChange struct {
	Name      *string         `json:"name,omitempty"`
	Scopes    *[]string       `json:"scopes,omitempty"`
	Roles     *[]record.Role  `json:"roles,omitempty"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	Disabled  *bool           `json:"disabled,omitempty"`
	// Limits are the new limits, all of them; zero ones take them away.
	Limits *limit.Limits `json:"limits,omitempty"`
}

// CreateKey makes an API key. Its secret is in the answer and nowhere else.
func (c *Client) CreateKey(ctx context.Context, f KeyFields) (NewKey, error) {
	var k NewKey
	err := c.control(ctx, http.MethodPost, "/v1/keys", nil, f, &k)
	return k, err
}

// Keys lists the API keys that the query finds. A page may have fewer than asked for, and more follow.
func (c *Client) Keys(ctx context.Context, find record.KeyQuery, l List) (Page[record.APIKey], error) {
	q := l.query()
	for name, value := range map[string]string{
		"consumer": find.Consumer, "environment": find.Environment, "state": string(find.State), "role": string(find.Role), "scope": find.Scope, "q": find.Text,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if find.Pepper != 0 {
		q.Set("pepper", strconv.FormatUint(uint64(find.Pepper), 10))
	}
	return get[Page[record.APIKey]](ctx, c, "/v1/keys", q)
}

// Key shows one.
func (c *Client) Key(ctx context.Context, id string) (record.APIKey, error) {
	return get[record.APIKey](ctx, c, "/v1/keys/"+url.PathEscape(id), nil)
}

// UpdateKey changes an API key.
func (c *Client) UpdateKey(ctx context.Context, id string, k KeyChange) (record.APIKey, error) {
	var out record.APIKey
	err := c.control(ctx, http.MethodPatch, "/v1/keys/"+url.PathEscape(id), nil, k, &out)
	return out, err
}

// RollKey gives an API key a new secret, which is in the answer and nowhere else. The one before is
// good for the overlap. Force ends at once what an earlier roll has left.
func (c *Client) RollKey(ctx context.Context, id string, overlap time.Duration, force bool) (NewKey, error) {
	return c.roll(ctx, "/v1/keys/"+url.PathEscape(id)+"/roll", nil, overlap, force)
}

func (c *Client) roll(ctx context.Context, path string, q url.Values, overlap time.Duration, force bool) (NewKey, error) {
	var k NewKey
	err := c.control(ctx, http.MethodPost, path, q, struct {
		Overlap record.Duration `json:"overlap"`
		Force   bool            `json:"force,omitempty"`
	}{record.Duration(overlap), force}, &k)
	return k, err
}

// DeleteKey deletes an API key.
func (c *Client) DeleteKey(ctx context.Context, id string) (Changed, error) {
	return remove(ctx, c, "/v1/keys/"+url.PathEscape(id), nil)
}

// RevokeRequest names what to revoke, or presents the token itself.
type RevokeRequest struct {
	Target string `json:"target,omitempty"`
	Issuer string `json:"issuer,omitempty"`
	Value  string `json:"value,omitempty"`
	// And makes it a combination: what else a token must bear to be denied.
	And       []record.Part `json:"and,omitempty"`
	NotBefore *time.Time    `json:"not_before,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Token     string        `json:"token,omitempty"`
}

// Revoke revokes. It answers when it is committed, or with enforced when every node enforces it;
// or after the wait, of 2s if it is zero: then the receipt says what is so by now, and the cluster goes on.
func (c *Client) Revoke(ctx context.Context, r RevokeRequest, enforced bool, wait time.Duration) (record.Receipt, error) {
	return c.revoke(ctx, "/v1/revocations", url.Values{}, r, enforced, wait)
}

func (c *Client) revoke(ctx context.Context, path string, q url.Values, body any, enforced bool, wait time.Duration) (record.Receipt, error) {
	if wait > 0 {
		q.Set("timeout", wait.String())
	}
	if enforced {
		q.Set("wait", "enforced")
	}
	var got receipt
	err := c.control(ctx, http.MethodPost, path, q, body, &got)
	return got.Receipt, err
}

// Revocation is a revocation with its id.
type Revocation struct {
	ID string `json:"id"`
	record.Revocation
}

// Standing is a revocation with its receipt as it is now.
type Standing struct {
	Revocation
	State      string   `json:"state"`
	EnforcedOn []string `json:"enforced_on"`
	PendingOn  []string `json:"pending_on"`
	DurableOn  []string `json:"durable_on,omitempty"`
}

// Revocations lists revocations.
func (c *Client) Revocations(ctx context.Context, l List) (Page[Revocation], error) {
	return get[Page[Revocation]](ctx, c, "/v1/revocations", l.query())
}

// Revocation shows one.
func (c *Client) Revocation(ctx context.Context, id string) (Standing, error) {
	return get[Standing](ctx, c, "/v1/revocations/"+url.PathEscape(id), nil)
}

// Lift takes a revocation back.
func (c *Client) Lift(ctx context.Context, id, reason string) (Changed, error) {
	return remove(ctx, c, "/v1/revocations/"+url.PathEscape(id), url.Values{"reason": {reason}})
}

// Cluster shows the nodes.
func (c *Client) Cluster(ctx context.Context) (record.ClusterStatus, error) {
	return get[record.ClusterStatus](ctx, c, "/v1/cluster", nil)
}

// LeaveCluster has a node leave in order, and stop. It returns when it has, if another node is asked.
func (c *Client) LeaveCluster(ctx context.Context, node string) (record.MemberChanged, error) {
	return c.changeMember(ctx, node, "leave", nil)
}

// PromoteNode makes a node a voter, for good.
func (c *Client) PromoteNode(ctx context.Context, node string) (record.MemberChanged, error) {
	return c.changeMember(ctx, node, "promote", nil)
}

// DemoteNode makes a node a replica, for good.
func (c *Client) DemoteNode(ctx context.Context, node string) (record.MemberChanged, error) {
	return c.changeMember(ctx, node, "demote", nil)
}

// RemoveNode removes a node that is gone for good; with force also one that answers.
func (c *Client) RemoveNode(ctx context.Context, node string, force bool) (record.MemberChanged, error) {
	return c.changeMember(ctx, node, "remove", url.Values{"force": {strconv.FormatBool(force)}})
}

func (c *Client) changeMember(ctx context.Context, node, what string, q url.Values) (out record.MemberChanged, err error) {
	err = c.control(ctx, http.MethodPost, "/v1/cluster/nodes/"+url.PathEscape(node)+"/"+what, q, nil, &out)
	return out, err
}

// Pepper shows the peppers that API keys are stored by.
func (c *Client) Pepper(ctx context.Context) (record.PepperStatus, error) {
	return get[record.PepperStatus](ctx, c, "/v1/pepper", nil)
}

// RotatePepper has all API keys stored by a new pepper.
func (c *Client) RotatePepper(ctx context.Context) (Changed, error) {
	var out Changed
	err := c.control(ctx, http.MethodPost, "/v1/pepper/rotate", nil, nil, &out)
	return out, err
}

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	var out T
	err := c.control(ctx, http.MethodGet, path, q, nil, &out)
	return out, err
}

func remove(ctx context.Context, c *Client, path string, q url.Values) (Changed, error) {
	var out Changed
	err := c.control(ctx, http.MethodDelete, path, q, nil, &out)
	return out, err
}
