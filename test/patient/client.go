package patient

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

const (
	limit = 20 * time.Second
	pause = 50 * time.Millisecond
)

// refusal is how a node refuses what needs a leader, and is not done then.
const refusal = "has no leader just now"

// Client is what client.Options take. It asks again for 20 s, and not whoever waits for an answer that lasts.
func Client() *http.Client {
	return &http.Client{Timeout: limit + 15*time.Second, Transport: transport{}}
}

type transport struct{}

// RoundTrip sends the request, and sends it again as long as it is refused for want of a leader.
func (transport) RoundTrip(r *http.Request) (*http.Response, error) {
	for until := time.Now().Add(limit); ; {
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil || response.StatusCode != http.StatusServiceUnavailable || r.Body != nil && r.GetBody == nil {
			return response, err
		}
		said, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		response.Body = io.NopCloser(bytes.NewReader(said))
		if err != nil || !bytes.Contains(said, []byte(refusal)) || time.Now().After(until) {
			return response, err
		}
		select {
		case <-r.Context().Done():
			return response, nil
		case <-time.After(pause):
		}
		r = r.Clone(r.Context())
		if r.GetBody == nil {
			continue
		}
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
}
