package node

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"veto/node/intake"
	"veto/replication/broadcast"
)

// eventWait is how long an event waits for the log, before it is to come again: less than it takes
// until the stream gives it to another node.
const eventWait = 10 * time.Second

// jetStream is the stream in this node's own NATS server.
func (n *Node) jetStream() broadcast.JetStream {
	c := n.config
	if !c.EventsEmbedded {
		return broadcast.JetStream{}
	}
	return broadcast.JetStream{
		Dir: filepath.Join(c.DataDir, "nats"), MaxBytes: int64(c.EventsEmbeddedMaxBytes),
		Stream: c.EventsStream, DeadLetter: c.EventsDeadLetterSubject,
	}
}

// takeEvents takes revocations from the stream, while this node leads. Each is acknowledged only when
// the log has it, so without a quorum none is.
func (n *Node) takeEvents(ctx context.Context) {
	c := n.config
	if !c.takesEvents() {
		return
	}
	select {
	case <-n.opening: // until the intake is there
	case <-ctx.Done():
		return
	}
	n.broadcast.Consume(ctx, broadcast.Stream{
		URL: c.EventsNATSURL, CredsFile: c.EventsNATSCredsFile, TokenFile: c.EventsNATSTokenFile, CAFile: c.EventsNATSCAFile,
		Name: c.EventsStream, Durable: c.EventsDurable, DeadLetter: c.EventsDeadLetterSubject,
	}, n.takeEvent)
}

func (n *Node) takeEvent(ctx context.Context, a broadcast.Arrived) error {
	e := intake.Event{Key: n.config.EventsOperatorKeyID, MessageID: a.MessageID, Place: a.Place, Body: a.Body}
	if e.Key == "" {
		e.Key = a.Subject[strings.LastIndexByte(a.Subject, '.')+1:]
	} else if _, err := n.intake.Authority(e.Key); err != nil {
		// It is for the operator to give another key, and no event is to be lost until then.
		return &broadcast.Later{Err: err}
	}
	err := n.intake.TakeEvent(ctx, e, eventWait)
	if err == nil {
		return nil
	}
	code, detail, final := intake.Final(err, a.Tries)
	switch {
	case final:
		return &broadcast.Refused{Code: code, Detail: detail}
	case code != "internal":
		return &broadcast.Later{Err: err}
	}
	return err
}
