package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"veto/record"
)

// Progress is one line of the answer to a stream of revocations.
type Progress struct {
	// Line is the number of a line that was refused, Code and Detail say why.
	Line   uint64 `json:"line"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	// Through is the number of a line: all up to it that were not refused are revoked, at
	// Revision or before. Through the line Resumed the stream had been taken in before.
	Through  uint64          `json:"through"`
	Revision record.Revision `json:"revision"`
	Resumed  uint64          `json:"resumed"`
	// Done is set at the end of a stream that was taken in whole; Refused counts its lines that
	// were refused, also if they had been before.
	Done    bool   `json:"done"`
	Refused uint64 `json:"refused"`
	Error   *Error `json:"error"`
}

const (
	ndjson        = "application/x-ndjson"
	octets        = "application/octet-stream"
	streamTries   = 5
	streamPause   = time.Second
	longestAnswer = 1 << 20 // of one line, in bytes
)

// RevokeAll revokes what the lines say, each as the JSON of a RevokeRequest. The key names the
// stream: sent again with it within a day, it goes on where it was, at any node. Lines opens the
// stream at its beginning; it is called again when a node was lost. Told is given each line of the
// answer. It blocks until the stream is done, and returns the last line.
func (c *Client) RevokeAll(ctx context.Context, key string, lines func() (io.ReadCloser, error), told func(Progress)) (Progress, error) {
	if len(c.options.Control) == 0 {
		return Progress{}, errNoAddress
	}
	var failed error
	for try := range max(streamTries, len(c.options.Control)) {
		if try >= len(c.options.Control) {
			select {
			case <-ctx.Done():
				return Progress{}, errors.Join(failed, ctx.Err())
			case <-time.After(streamPause):
			}
		}
		last, err := c.revokeOnce(ctx, c.options.Control[try%len(c.options.Control)], key, lines, told)
		if err == nil {
			return last, nil
		}
		failed = err
		var problem *Error
		if errors.As(err, &problem) && problem.Status < http.StatusInternalServerError && problem.Code != "cut_off" {
			break
		}
	}
	return Progress{}, failed
}

func (c *Client) revokeOnce(ctx context.Context, base, key string, lines func() (io.ReadCloser, error), told func(Progress)) (Progress, error) {
	in, err := lines()
	if err != nil {
		return Progress{}, err
	}
	defer func() { _ = in.Close() }()
	req, err := c.newRequest(ctx, base, request{method: http.MethodPost, path: "/v1/revocations/bulk", bearer: c.options.Token}, in)
	if err != nil {
		return Progress{}, err
	}
	req.Header.Set("Content-Type", ndjson)
	req.Header.Set("Idempotency-Key", key)
	answer, err := c.stream(req, base, ndjson)
	if err != nil {
		return Progress{}, err
	}
	defer func() { _ = answer.Close() }()
	return follow(answer, told)
}

// follow reads the answer to its last line.
func follow(r io.Reader, told func(Progress)) (Progress, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4<<10), longestAnswer)
	for s.Scan() {
		var p Progress
		if err := json.Unmarshal(s.Bytes(), &p); err != nil {
			return p, fmt.Errorf("the answer is not one of Veto's: %.*s", maxText, err.Error())
		}
		if p.Error != nil {
			return p, p.Error
		}
		told(p)
		if p.Done {
			return p, nil
		}
	}
	if err := s.Err(); err != nil {
		return Progress{}, fmt.Errorf("the answer was cut off: %w", err)
	}
	return Progress{}, errors.New("the answer was cut off")
}

// stream asks for an answer of the kind, which comes for as long as it takes. The caller closes it.
func (c *Client) stream(req *http.Request, base, kind string) (io.ReadCloser, error) {
	own := *c.options.HTTP
	own.Timeout = 0
	response, err := ask(&own, req, base)
	if err != nil {
		return nil, err
	}
	if got, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";"); got == kind && response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	var nothing struct{}
	if err := read(response, &nothing); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("the answer is not one of %s; is this the right address?", kind)
}

// Export writes all revocations, one a line, as RevokeAll takes them. What was written is the
// whole only if there is no error.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	body, err := c.lines(ctx, "/v1/revocations/export", nil)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("the revocations were cut off: %w", err)
	}
	return nil
}

// Backup asks for the whole state as it is at one revision, which the caller closes. What is read is the whole
// only if it ends as a backup does: recovery.Verify tells.
func (c *Client) Backup(ctx context.Context) (io.ReadCloser, error) {
	return c.body(ctx, "/v1/backup", nil, octets)
}

// lines asks for a stream of lines, which the caller closes.
func (c *Client) lines(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	return c.body(ctx, path, q, ndjson)
}

// body asks for a stream of the type, which the caller closes.
func (c *Client) body(ctx context.Context, path string, q url.Values, want string) (io.ReadCloser, error) {
	if len(c.options.Control) == 0 {
		return nil, errNoAddress
	}
	base := c.options.Control[0]
	req, err := c.newRequest(ctx, base, request{method: http.MethodGet, path: path, query: q, bearer: c.options.Token}, nil)
	if err != nil {
		return nil, err
	}
	return c.stream(req, base, want)
}
