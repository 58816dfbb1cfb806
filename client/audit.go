package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"veto/record/trail"
)

// Audit lists the audit trail.
func (c *Client) Audit(ctx context.Context, l List) (Page[trail.Entry], error) {
	return get[Page[trail.Entry]](ctx, c, "/v1/audit", l.query())
}

// AuditHead is the last entry of the audit trail's chain, as the node that answers has it, and the
// text by which it is written down.
type AuditHead struct {
	trail.Head
	Text string `json:"head"`
	// After is the last entry that was removed, as it was older than entries are kept; empty if none was.
	After string `json:"after"`
}

// AuditHead shows the head of the audit trail's chain.
func (c *Client) AuditHead(ctx context.Context) (AuditHead, error) {
	return get[AuditHead](ctx, c, "/v1/audit/head", nil)
}

// ExportAudit writes the audit trail, one entry a line behind a first line that says what follows.
// What was written is the whole only if there is no error.
func (c *Client) ExportAudit(ctx context.Context, w io.Writer, f trail.Filter) error {
	q := url.Values{}
	for name, value := range map[string]string{"by": f.By, "action": f.Action, "ref": f.Ref} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	body, err := c.lines(ctx, "/v1/audit/export", q)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("the audit trail was cut off: %w", err)
	}
	return nil
}

// VerifyAudit reads the whole audit trail from one node and follows its chain, which must come by
// the heads that were written down. What is wrong with the trail is a *trail.Broken.
func (c *Client) VerifyAudit(ctx context.Context, heads ...trail.Head) (trail.Report, error) {
	body, err := c.lines(ctx, "/v1/audit/export", nil)
	if err != nil {
		return trail.Report{}, err
	}
	defer func() { _ = body.Close() }()
	report, err := trail.Verify(body, heads...)
	var broken *trail.Broken
	if err != nil && !errors.As(err, &broken) {
		err = fmt.Errorf("the audit trail was cut off: %w", err)
	}
	return report, err
}
