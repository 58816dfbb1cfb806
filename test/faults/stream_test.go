//go:build faults

package faults

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"veto/client"
	"veto/record"
	"veto/test/natsproc"
)

// stream is a NATS server of the user's, from whose stream the cluster takes revocations.
type stream struct {
	server *natsproc.Server
	js     jetstream.JetStream
	by     string // the key in whose name events are
}

const streamName = "EVENTS"

func newStream(t *testing.T, host string) *stream {
	t.Helper()
	s := &stream{server: natsproc.StartAt(t, host, "")}
	conn, err := nats.Connect(s.server.URL, nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if s.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	if _, err = s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// letIn makes the key in whose name events are.
func (c *cluster) letIn(s *stream) {
	c.t.Helper()
	c.until("a key for events", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		defer cancel()
		k, err := c.at(0).CreateKey(ctx, client.KeyFields{Name: "events", Roles: []record.Role{"revoker"}})
		s.by = k.ID
		return err == nil
	})
}

// publish is answered once the stream has it.
func (s *stream) publish(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := s.js.Publish(ctx, "events."+s.by, body)
	return err
}
