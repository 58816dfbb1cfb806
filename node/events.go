package node

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"time"

	"veto/node/httpapi/watch"
	"veto/node/intake"
	"veto/record"
	"veto/record/event"
	"veto/replication"
	"veto/replication/broadcast"
	"veto/replication/feed"
)

// openBroadcast has other systems told, and heard.
func (n *Node) openBroadcast() (err error) {
	n.broadcast, err = broadcast.Start(broadcast.Config{
		NodeID: n.config.NodeID, ClientAddr: n.config.address(natsPort), ClientTLS: n.clientTLS.Clone(),
		Authorize: n.grant, JetStream: n.jetStream(), Random: rand.Reader, Log: n.around.Log,
	})
	if err == nil {
		n.opened(func() error { n.broadcast.Close(); return nil })
	}
	return err
}

// takeRequests has requests on NATS answered, from when the node can take revocations on until just
// before it cannot.
func (n *Node) takeRequests(context.Context) error {
	n.intake = intake.New(intake.Config{
		Taker: n.replica, Tokens: n.validator, Revocations: n.view, Keys: n.view, State: n.view, Owners: n.view, Cluster: n.replica, NodeID: n.config.NodeID, Now: n.around.Now,
	})
	stop, err := n.broadcast.Answer(func(ctx context.Context, r broadcast.Request) []byte {
		answer, unknown := n.intake.Answer(ctx, r.By, r.Body, r.ID, record.Origin{Node: n.config.NodeID, Way: record.WayNATS, Address: r.Address}, requestWait)
		if unknown != nil {
			n.around.Log.Error("a request on NATS failed", "key", r.By, "error", unknown)
		}
		return answer
	})
	if err != nil {
		return err
	}
	n.opened(func() error { stop(); return nil })
	close(n.opening)
	return nil
}

// requestWait is how long a request on NATS waits for the log, before it is answered as pending.
const requestWait = 2 * time.Second

// unsureLimit is how long a client stays that was let in while the node could not be sure who may read: it comes again by itself.
const unsureLimit = 5 * time.Second

// grant tells what a NATS client with an operator's key may do: read the feeds, and revoke, if its
// key may. For the latter the state that this node has is enough, as it is on the control plane.
func (n *Node) grant(token string) (broadcast.Grant, bool) {
	now := n.around.Now()
	reader, verdict := n.validator.Operator(token, now)
	key := reader
	if key == nil {
		if key, verdict = n.validator.Denier(token, now); key == nil || !key.HasRole(record.RoleRevoker) {
			return broadcast.Grant{}, false
		}
	}
	g := broadcast.Grant{Name: key.ID, Until: verdict.ExpiresAt}
	switch soon := now.Add(unsureLimit); {
	case reader == nil && (g.Until.IsZero() || soon.Before(g.Until)):
		g.Until = soon
	case reader != nil && reader.ReadsAll():
		g.Subscribe = broadcast.Feeds()
	}
	if key.HasRole(record.RoleRevoker) {
		g.Publish = []string{broadcast.SubjectRevoke, broadcast.EventsOf(key.ID)}
		g.Subscribe = append(g.Subscribe, broadcast.InboxOf(key.ID)+".>")
	}
	return g, true
}

// happenings is what happened, as the node's state has it.
type happenings struct {
	state feed.Reader
	view  *replication.View
}

// Events gives facts behind the place, of what is in force.
func (h happenings) Events(after event.ID, limit int) ([]event.Fact, event.ID, error) {
	facts, at, err := feed.Read(h.state, after, h.view.Freshness().Revision, limit)
	var dropped *feed.Dropped
	if errors.As(err, &dropped) {
		err = watch.Gone(dropped.First)
	}
	return facts, at, err
}

// Now is the place behind all that is in force.
func (h happenings) Now() (event.ID, error) {
	now := h.view.Freshness().Revision
	_, at, err := h.Events(event.ID{Revision: now}, math.MaxInt)
	return at, err
}

// Await waits until the revision is in force.
func (h happenings) Await(ctx context.Context, r record.Revision) error {
	return h.view.AwaitRevision(ctx, r)
}

// ClusterID names the cluster.
func (h happenings) ClusterID() string { return h.view.ClusterID() }

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
	e := intake.Event{Key: n.config.EventsOperatorKeyID, MessageID: a.MessageID, Place: a.Place, Stored: a.Stored, Body: a.Body}
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
