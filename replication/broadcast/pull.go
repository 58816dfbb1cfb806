package broadcast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A pull asks the consumer for messages, one request at a time. NATS' library would, too. But it takes a
// message without a body for a word of the server if that has a header Status, which whoever publishes may
// set: it was never acknowledged, and 64 of them stopped the stream for everyone.
type pull struct {
	conn    *nats.Conn
	subject string
	inbox   *nats.Subscription
	came    chan *nats.Msg
	status  chan nats.Status
	config  jetstream.ConsumerConfig
}

const (
	pullExpiry    = 30 * time.Second
	pullHeartbeat = 5 * time.Second
)

var (
	// errOver says that a request is over before all that it asked for has come; it is made anew.
	errOver = errors.New("the request is over")
	// errReconnected says that the server, or another in its place, may not know of the request.
	errReconnected = errors.New("the connection is a new one")
	errSilent      = errors.New("the server does not answer")
)

func startPull(conn *nats.Conn, s Stream, config jetstream.ConsumerConfig) (*pull, error) {
	p := &pull{
		conn: conn, subject: "$JS.API.CONSUMER.MSG.NEXT." + s.Name + "." + s.Durable,
		came: make(chan *nats.Msg, 2*maxTaking), config: config,
	}
	var err error
	if p.inbox, err = conn.ChanSubscribe(conn.NewInbox(), p.came); err != nil {
		return nil, err
	}
	p.status = conn.StatusChanged(nats.CONNECTED, nats.CLOSED)
	return p, nil
}

func (p *pull) end() {
	p.conn.RemoveStatusListener(p.status)
	_ = p.inbox.Unsubscribe() // it fails where the connection is closed
}

// most is how many messages may be asked for at once: the consumer's maker may have bounded that.
func (p *pull) most() int {
	if n := p.config.MaxRequestBatch; n > 0 {
		return min(n, maxTaking)
	}
	return maxTaking
}

func (p *pull) heartbeat() time.Duration { return min(pullHeartbeat, p.expiry()/2) }

func (p *pull) expiry() time.Duration {
	if d := p.config.MaxRequestExpires; d > 0 {
		return min(d, pullExpiry)
	}
	return pullExpiry
}

// ask asks for so many messages. While the connection is down it does nothing: errReconnected follows.
func (p *pull) ask(n int) error {
	request, err := json.Marshal(struct {
		Batch     int           `json:"batch"`
		Expires   time.Duration `json:"expires"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{n, p.expiry(), p.heartbeat()})
	if err != nil {
		return err
	}
	err = p.conn.PublishRequest(p.subject, p.inbox.Subject, request)
	if err != nil && p.conn.IsReconnecting() {
		return nil
	}
	return err
}

// next waits for a message. The server has to give a sign of life now and then: heard is told of each.
func (p *pull) next(ctx context.Context, heard func()) (*nats.Msg, error) {
	for {
		select {
		case m := <-p.came:
			var err error
			if m.Reply == "" { // what cannot be acknowledged is the server's own word
				err = verdict(m)
			}
			if err == nil || errors.Is(err, errOver) {
				heard()
			}
			if err != nil {
				return nil, err
			}
			if m.Reply != "" {
				return m, nil
			}
		case s := <-p.status:
			if s == nats.CLOSED {
				return nil, nats.ErrConnectionClosed
			}
			return nil, errReconnected
		case <-time.After(2 * pullHeartbeat):
			if !p.conn.IsReconnecting() {
				return nil, errSilent
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// verdict is what a word of the server says of the request: nothing if it is a heartbeat.
func verdict(m *nats.Msg) error {
	status, why := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case status == "100":
		return nil
	case status == "408":
		return errOver
	case status == "503":
		return errors.New("there is no such consumer, or the server has no JetStream")
	}
	return fmt.Errorf("the server says: %s %s", status, why)
}
