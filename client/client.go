package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"veto/record"
)

// What Options mean that name none.
const (
	DefaultTimeout   = 15 * time.Second // of a request to one address
	DefaultUserAgent = "veto-client"
)

const (
	maxAnswer = 64 << 20 // bytes
	maxText   = 300
)

// Options say how to reach the cluster.
type Options struct {
	// Control and Data are base URLs of control planes and data planes. The next one is
	// tried when one cannot be reached.
	Control, Data []string
	// Token is an operator's API key; needed for the control plane only.
	Token string
	// HTTP is used for requests; one with DefaultTimeout if nil. It is copied, and redirects
	// are not followed whatever it says: see read.
	HTTP *http.Client
	// UserAgent names the program that asks; DefaultUserAgent if empty.
	UserAgent string
}

// Client may be used from anywhere at once.
type Client struct {
	options   Options
	condition condition
	least     record.Revision
}

// condition is a header that every change carries; none if it has no name.
type condition struct{ name, value string }

// IfRevision is the client for changes of a record that are done only while it has the revision; with 0,
// for one that is made only if it is not there. Otherwise they give an *Error with CodePrecondition.
func (c *Client) IfRevision(r record.Revision) *Client {
	with := *c
	with.condition = condition{"If-None-Match", "*"}
	if r > 0 {
		with.condition = condition{"If-Match", strconv.Quote(strconv.FormatUint(uint64(r), 10))}
	}
	return &with
}

// AtRevision is the client for requests to the control plane that a node answers only once it has the
// revision, such as that at which the client's own key or portal session was made. A node that does not
// come to it soon gives an *Error with the status 503, and the next is asked.
func (c *Client) AtRevision(r record.Revision) *Client {
	with := *c
	with.least = r
	return &with
}

// CodePrecondition is the Code of an Error when the record is not as IfRevision wants it.
const CodePrecondition = string(record.ReasonPrecondition)

// New makes a client. It connects to nothing yet.
func New(o Options) *Client {
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: DefaultTimeout}
	}
	if o.UserAgent == "" {
		o.UserAgent = DefaultUserAgent
	}
	own := *o.HTTP
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.HTTP = &own
	return &Client{options: o}
}

// Error is what the cluster answered instead of doing what it was asked for.
type Error struct {
	// Status is the HTTP status, Code a stable word, Detail for people.
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	// RequestID names the request in the node's log; empty if the node gave none.
	RequestID string `json:"request_id"`
	// ETag is, with CodePrecondition, that of the record as it is now, in quotes; empty if it is not there.
	ETag string `json:"etag"`
	// Errors are the members of a request that were wrong, if there are several.
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

func (e *Error) Error() string {
	text := e.Detail
	for _, one := range e.Errors {
		text += "; " + one.Location + ": " + one.Message
	}
	if text == "" {
		text = e.Title
	}
	if e.RequestID != "" {
		return fmt.Sprintf("%s (%d, %s)", text, e.Status, e.RequestID)
	}
	return fmt.Sprintf("%s (%d)", text, e.Status)
}

// request is one call.
type request struct {
	method, path string
	query        url.Values
	body         any
	bearer       string
}

// do sends the request to the first address that can be reached.
func (c *Client) do(ctx context.Context, addresses []string, r request, out any) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return err
		}
	}
	if len(addresses) == 0 {
		return errNoAddress
	}
	if slices.ContainsFunc(strings.Split(r.path[1:], "/"), func(part string) bool { return strings.Trim(part, ".") == "" }) {
		return errNoID
	}
	key := rand.Text()
	var failed []error
	for _, base := range addresses {
		response, err := c.send(ctx, base, r, body, key) //nolint:bodyclose // read closes it
		if err == nil {
			if err = read(response, out); !another(err) {
				return err
			}
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break // nobody waits for the answer of the next
		}
	}
	return errors.Join(failed...)
}

// another tells whether another node may do what this one could not: it said that it is not
// ready, or has no leader, and that it has done nothing.
func another(err error) bool {
	var problem *Error
	return errors.As(err, &problem) && problem.Status == http.StatusServiceUnavailable
}

var (
	errNoAddress = errors.New("no address of the cluster was given")
	errNoID      = errors.New("an id is empty, or nothing but dots: nothing has such a one, and a path with it leads elsewhere")
	errPassword  = errors.New("the address of a node has a user in it, who is not used; give the operator's key as the token")
)

func (c *Client) send(ctx context.Context, base string, r request, body []byte, key string) (*http.Response, error) {
	req, err := c.newRequest(ctx, base, r, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.least > 0 {
		req.Header.Set("Veto-Min-Revision", strconv.FormatUint(uint64(c.least), 10))
	}
	if r.method != http.MethodGet {
		req.Header.Set("Idempotency-Key", key)
		if c.condition.name != "" {
			req.Header.Set(c.condition.name, c.condition.value)
		}
	}
	return ask(c.options.HTTP, req, base)
}

// newRequest is the request to one address, which it repeats only if there is no password in it.
func (c *Client) newRequest(ctx context.Context, base string, r request, body io.Reader) (*http.Request, error) {
	target := strings.TrimSuffix(base, "/") + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil && !strings.Contains(base, "@") {
		return nil, fmt.Errorf("%s is not the address of a cluster", base)
	}
	if err != nil || req.URL.User != nil {
		return nil, errPassword
	}
	req.Header.Set("User-Agent", c.options.UserAgent)
	if r.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	return req, nil
}

func ask(h *http.Client, req *http.Request, base string) (*http.Response, error) {
	response, err := h.Do(req)
	if err != nil {
		// The URL in it may hold a reason or a cursor, never a secret.
		var invalid x509.CertificateInvalidError
		if err = errors.Unwrap(err); errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			err = fmt.Errorf("%w; if it has ended, put a new one into http_cert_file and http_key_file of that node", err)
		}
		return nil, fmt.Errorf("%s cannot be reached: %w", base, err)
	}
	return response, nil
}

// complete is an answer that knows whether it says what it should: so that {} from who knows
// whom is not taken for a receipt.
type complete interface{ complete() bool }

// read takes the answer. A redirect is none: to follow it would hand the credential to whom it
// names, and believe the verdict that comes back.
func read(response *http.Response, out any) error {
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer was cut off: %w", err)
	case len(body) > maxAnswer:
		return fmt.Errorf("the answer is longer than %d MiB; ask for less at a time", maxAnswer>>20)
	case response.StatusCode >= http.StatusMultipleChoices && response.StatusCode < http.StatusBadRequest:
		return &Error{Status: response.StatusCode, Title: "this address sends elsewhere, and credentials are not sent after it; give the address of a node"}
	}
	if response.StatusCode >= http.StatusBadRequest {
		problem := &Error{}
		if json.Unmarshal(body, problem) != nil || problem.Status == 0 {
			problem = &Error{Status: response.StatusCode, Title: "the answer is not one of Veto's; is this the right address?"}
		}
		return problem
	}
	if kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";"); kind != "application/json" {
		return fmt.Errorf("the answer is not one of Veto's but %.40q; is this the right address?", kind)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("the answer is not one of Veto's; is this the right address? %.*s", maxText, err.Error())
	}
	if c, ok := out.(complete); ok && !c.complete() {
		return errors.New("the answer is not one of Veto's: it lacks what it should tell; is this the right address?")
	}
	return nil
}

func (c *Client) control(ctx context.Context, method, path string, query url.Values, body, out any) error {
	return c.do(ctx, c.options.Control, request{method, path, query, body, c.options.Token}, out)
}
