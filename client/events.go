package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"veto/record/event"
)

// Event is something that happened: a CloudEvent.
type Event = event.Event

const (
	eventStream   = "text/event-stream"
	longestEvent  = 1 << 20 // bytes
	eventSilence  = 45 * time.Second
	longestPause  = 10 * time.Second
	shortestPause = 50 * time.Millisecond
)

// Events gives everything that happens behind the place to fn, in its order, without a gap and
// without a double, and goes on with it at another node when one is lost. After is the id of an
// event; empty for what happens from now on. It blocks until the context ends, fn fails, or the
// cluster refuses: with status 410 when what was asked for is kept no more. A node that has as many streams
// as it lets anybody have is asked again later, like one that is lost. The id that it returns
// is the place where it stopped.
func (c *Client) Events(ctx context.Context, after string, fn func(Event) error) (place string, err error) {
	if len(c.options.Control) == 0 {
		return after, errNoAddress
	}
	pause := shortestPause
	for try := 0; ; try++ {
		at, err := c.eventsFrom(ctx, c.options.Control[try%len(c.options.Control)], after, fn)
		if at != after {
			pause = shortestPause
		}
		after = at
		var stop *stopped
		if errors.As(err, &stop) {
			return after, stop.why
		}
		var problem *Error
		if errors.As(err, &problem) && problem.Status < http.StatusInternalServerError && problem.Status != http.StatusTooManyRequests {
			return after, problem
		}
		if ctx.Err() != nil {
			return after, ctx.Err()
		}
		if (try+1)%len(c.options.Control) > 0 {
			continue // there is another node to ask
		}
		select {
		case <-ctx.Done():
			return after, ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}

// stopped says that whoever reads wants no more.
type stopped struct{ why error }

func (s *stopped) Error() string { return s.why.Error() }

// eventsFrom reads one stream to its end, and tells how far it came.
func (c *Client) eventsFrom(ctx context.Context, base, after string, fn func(Event) error) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A node that is gone without a word is found by its silence.
	silence := time.AfterFunc(eventSilence, cancel)
	defer silence.Stop()
	req, err := c.newRequest(ctx, base, request{method: http.MethodGet, path: "/v1/events", bearer: c.options.Token}, nil)
	if err != nil {
		return after, &stopped{err}
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	answer, err := c.stream(req, base, eventStream)
	if err != nil {
		return after, err
	}
	defer func() { _ = answer.Close() }()
	return readEvents(answer, after, func() { silence.Reset(eventSilence) }, fn)
}

// readEvents reads server-sent events. Alive is called for each line. A message that was cut off is
// none: it comes again.
func readEvents(r io.Reader, at string, alive func(), fn func(Event) error) (string, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4<<10), longestEvent)
	id, data := "", ""
	for s.Scan() {
		alive()
		name, value, _ := strings.Cut(s.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if s.Text() != "" {
				continue // a remark
			}
			if data != "" {
				var e Event
				if err := json.Unmarshal([]byte(data), &e); err != nil || e.ID == "" {
					return at, errors.New("an event is not one of Veto's")
				}
				if err := fn(e); err != nil {
					return at, &stopped{err}
				}
			}
			if id != "" {
				at = id
			}
			id, data = "", ""
		}
	}
	if err := s.Err(); err != nil {
		return at, fmt.Errorf("the events were cut off: %w", err)
	}
	return at, nil
}
