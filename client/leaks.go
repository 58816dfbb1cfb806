package client

import (
	"context"
	"net/http"
)

// Leaked is a secret that was found where anyone can read it.
type Leaked struct {
	Token string `json:"token"`
	// Type is what it was taken for.
	Type string `json:"type"`
	// URL is where it was found; it may be empty.
	URL string `json:"url,omitempty"`
}

// LeakLabel says what became of a Leaked.
type LeakLabel struct {
	// Hash is the SHA-256 of the secret, in hexadecimal digits.
	Hash  string `json:"token_hash"`
	Type  string `json:"token_type"`
	Label string `json:"label"`
	// Done is what was done: revoked or marked of an API key, ended of a portal session. A key that is marked
	// goes on: the node is set so, or it is the last admin's.
	Done string `json:"done"`
}

// Real tells whether the secret is, or was, that of an API key or of a portal session.
func (l LeakLabel) Real() bool { return l.Label == "true_positive" }

// ReportLeaked has the keys revoked, or marked, and the portal sessions ended, whose secrets were found. Up to 512 at a time, which are
// answered in their order.
func (c *Client) ReportLeaked(ctx context.Context, found []Leaked) ([]LeakLabel, error) {
	var labels []LeakLabel
	err := c.control(ctx, http.MethodPost, "/v1/keys/leaked", nil, found, &labels)
	return labels, err
}
