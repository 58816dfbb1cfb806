package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"veto/record"
)

// NewSession is a portal session that was just made, with its secret: a Token for Me and what follows.
type NewSession struct {
	record.PortalSession
	Secret string `json:"secret,omitempty"`
}

func (s *NewSession) complete() bool { return s.ID != "" && s.Revision > 0 }

// OpenPortalSession lets whoever has the secret that is in the answer manage a consumer's keys for a
// while: for an hour if the lifetime is zero.
func (c *Client) OpenPortalSession(ctx context.Context, consumer string, lifetime time.Duration) (NewSession, error) {
	var s NewSession
	err := c.control(ctx, http.MethodPost, "/v1/consumers/"+url.PathEscape(consumer)+"/portal-sessions", nil, struct {
		Lifetime record.Duration `json:"lifetime,omitempty"`
	}{record.Duration(lifetime)}, &s)
	return s, err
}

// EndPortalSession ends one.
func (c *Client) EndPortalSession(ctx context.Context, consumer, id string) (Changed, error) {
	return remove(ctx, c, "/v1/consumers/"+url.PathEscape(consumer)+"/portal-sessions/"+url.PathEscape(id), nil)
}

// Me is whose keys the Token manages.
type Me struct {
	Consumer  string            `json:"consumer"`
	Name      string            `json:"name,omitempty"`
	Grantable *record.Grantable `json:"grantable,omitempty"`
	MaxKeys   int               `json:"max_keys"`
	Person    *record.Person    `json:"person,omitempty"`
	Session   string            `json:"session,omitempty"`
	ExpiresAt time.Time         `json:"expires_at"`
}

// MyKeyFields are an API key as a manager gives it.
type MyKeyFields struct {
	Name        string        `json:"name,omitempty"`
	Scopes      []string      `json:"scopes,omitempty"`
	Roles       []record.Role `json:"roles,omitempty"`
	ExpiresAt   time.Time     `json:"expires_at,omitzero"`
	Environment string        `json:"environment,omitempty"`
}

// of adds the consumer to the query; it may be empty for who manages the keys of one.
func of(consumer string, q url.Values) url.Values {
	if consumer != "" {
		q.Set("consumer", consumer)
	}
	return q
}

// Me shows whose keys the Token manages. The consumer is needed by who manages those of several.
func (c *Client) Me(ctx context.Context, consumer string) (Me, error) {
	return get[Me](ctx, c, "/v1/me", of(consumer, url.Values{}))
}

// MyKeys lists the consumer's API keys.
func (c *Client) MyKeys(ctx context.Context, consumer string, l List) (Page[record.APIKey], error) {
	return get[Page[record.APIKey]](ctx, c, "/v1/me/keys", of(consumer, l.query()))
}

// CreateMyKey makes an API key of the consumer. The secret is in the answer and nowhere else.
func (c *Client) CreateMyKey(ctx context.Context, consumer string, f MyKeyFields) (NewKey, error) {
	var k NewKey
	err := c.control(ctx, http.MethodPost, "/v1/me/keys", of(consumer, url.Values{}), f, &k)
	return k, err
}

// RollMyKey is RollKey for a key of the consumer.
func (c *Client) RollMyKey(ctx context.Context, consumer, id string, overlap time.Duration, force bool) (NewKey, error) {
	return c.roll(ctx, "/v1/me/keys/"+url.PathEscape(id)+"/roll", of(consumer, url.Values{}), overlap, force)
}

// RevokeMyKey is Revoke for a key of the consumer.
func (c *Client) RevokeMyKey(ctx context.Context, consumer, id, reason string, enforced bool, wait time.Duration) (record.Receipt, error) {
	return c.revoke(ctx, "/v1/me/keys/"+url.PathEscape(id)+"/revoke", of(consumer, url.Values{}), map[string]string{"reason": reason}, enforced, wait)
}
