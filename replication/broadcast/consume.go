package broadcast

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stream says from which stream of JetStream events are taken, and how.
type Stream struct {
	// URL of the server, or several with commas between; empty for the one in this node. CredsFile
	// or TokenFile hold who this node is there; CAFile is the authority of the server's certificate.
	URL, CredsFile, TokenFile, CAFile string
	// Name of the stream, and of the durable consumer on it, which is made if it is not there.
	Name, Durable string
	// DeadLetter is where goes what is refused; if it is empty, that is only logged.
	DeadLetter string
	// AckWait is after how long a message whose taker has gone is given to the next; 30 s if zero.
	AckWait time.Duration
}

// Arrived is a message of the stream.
type Arrived struct {
	Subject string
	// MessageID is how the publisher names the message, if it does; Place is the stream and the number
	// there. A stream that is made anew counts anew: Stored, when the stream got it, tells its messages apart.
	MessageID, Place string
	Stored           time.Time
	Body             []byte
	// Tries counts how often it has come, from 1 on.
	Tries uint64
}

// Refused says that a message will never be taken, and why.
type Refused struct{ Code, Detail string }

func (r *Refused) Error() string { return r.Detail }

// The bounds of taking events.
const (
	ackWait       = 30 * time.Second
	maxAckPending = 256
	maxTaking     = 64
	// maxFailures is how often a message is tried that fails for a reason nobody foresaw.
	maxFailures = 20

	shortestDelay = 500 * time.Millisecond
	longestDelay  = 30 * time.Second
	consumeRetry  = time.Second
	ackLimit      = 5 * time.Second
	longestReason = 300
)

// Consume gives the messages of the stream to take, until the context ends, and acknowledges each
// once it is done: when take returns nil, which it does only when what the message asks for is in
// force for good. What is *Refused goes to the dead letters first. Everything else comes again, and
// so does what a node had taken that was lost before it could tell. It goes on for as long as it
// takes when the server cannot be reached.
func (b *Broadcast) Consume(ctx context.Context, s Stream, take func(context.Context, Arrived) error) {
	said := ""
	for ctx.Err() == nil {
		err := b.consume(ctx, s, take, func() { said = "" })
		if ctx.Err() != nil {
			return
		}
		if text := fmt.Sprint(err); text != said { // once, and not every second
			b.log.Error("the stream of events cannot be read; trying again", "stream", s.Name, "error", err)
			said = text
		}
		select {
		case <-ctx.Done():
		case <-time.After(consumeRetry):
		}
	}
}

// consume reads over one connection. What it gave to be taken is done when it returns.
func (b *Broadcast) consume(ctx context.Context, s Stream, take func(context.Context, Arrived) error, reads func()) error {
	conn, err := b.dialStream(s)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	c := &consumption{b: b, stream: s, js: js, take: take, room: make(chan struct{}, maxTaking)}
	for {
		config, err := b.durable(ctx, js, s)
		if err != nil {
			return err
		}
		p, err := startPull(conn, s, config)
		if err != nil {
			return err
		}
		err = c.read(ctx, p, reads)
		p.end()
		c.doing.Wait() // by the time that something comes again, nobody acknowledges by the old numbers
		if !errors.Is(err, errReconnected) {
			return err
		}
	}
}

// read has taken what comes, and asks for no more than there is room for: what waited here would, after a
// while, be given to another node as well.
func (c *consumption) read(ctx context.Context, p *pull, reads func()) error {
	heard := sync.OnceFunc(func() {
		c.b.counts.reading.Store(true)
		c.b.log.Info("the stream of events is read", "stream", c.stream.Name)
		reads()
	})
	defer c.b.counts.reading.Store(false)
	asked := 0
	defer func() { c.leave(asked) }()
	for {
		if asked == 0 {
			asked = c.enter(p.most())
			if err := p.ask(asked); err != nil {
				return err
			}
		}
		m, err := p.next(ctx, heard)
		if errors.Is(err, errOver) {
			c.leave(asked)
			asked = 0
			continue
		}
		if err != nil {
			return err
		}
		asked--
		c.doing.Go(func() {
			defer c.leave(1)
			c.one(ctx, m)
		})
	}
}

// enter waits for room, and takes what there is of it.
func (c *consumption) enter(most int) int {
	c.room <- struct{}{} // whoever takes is slower than the stream: it waits
	for n := 1; n < most; n++ {
		select {
		case c.room <- struct{}{}:
		default:
			return n
		}
	}
	return most
}

func (c *consumption) leave(n int) {
	for range n {
		<-c.room
	}
}

// dialStream connects to where the stream is.
func (b *Broadcast) dialStream(s Stream) (*nats.Conn, error) {
	lost := nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
		if err != nil { // or this node closes it
			b.log.Warn("the connection to the stream of events is lost, and is made anew", "stream", s.Name, "error", err)
		}
	})
	if s.URL == "" {
		return b.dial(lost)
	}
	options := []nats.Option{
		// What is acknowledged while the connection is down is not kept for later: by then the number may be that of
		// another message, in a stream that was made anew.
		nats.Name("veto"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
		lost,
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.log.Warn("stream of events", "error", err) }),
	}
	if s.CredsFile != "" {
		options = append(options, nats.UserCredentials(s.CredsFile))
	}
	if s.CAFile != "" {
		options = append(options, nats.RootCAs(s.CAFile))
	}
	if s.TokenFile != "" {
		// Read each time: it may be exchanged.
		options = append(options, nats.TokenHandler(func() string {
			token, err := os.ReadFile(s.TokenFile)
			if err != nil {
				b.log.Error("the token for the stream of events cannot be read", "error", err)
			}
			return strings.TrimSpace(string(token))
		}))
	}
	return nats.Connect(s.URL, options...)
}

// durable finds the consumer, or makes it. One that is there is used as it is, if it can be: it may
// be another's to make.
func (b *Broadcast) durable(ctx context.Context, js jetstream.JetStream, s Stream) (config jetstream.ConsumerConfig, err error) {
	c, err := js.Consumer(ctx, s.Name, s.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		wait := s.AckWait
		if wait == 0 {
			wait = ackWait
		}
		// Without a bound of deliveries: JetStream drops without a word what was delivered the last
		// time, and that may have been while the cluster had no quorum.
		c, err = js.CreateConsumer(ctx, s.Name, jetstream.ConsumerConfig{
			Durable: s.Durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: wait,
			MaxAckPending: maxAckPending, MaxDeliver: -1, DeliverPolicy: jetstream.DeliverAllPolicy,
		})
		if err == nil {
			b.log.Warn("the consumer was not there, and is made: what the stream has comes from its beginning", "stream", s.Name, "consumer", s.Durable)
		}
	}
	if err != nil {
		return config, err
	}
	config = c.CachedInfo().Config
	if config.AckPolicy != jetstream.AckExplicitPolicy || config.MaxDeliver > 0 {
		return config, fmt.Errorf("the consumer %s must acknowledge each message (ack explicit), and deliver without a bound (max deliver -1), or events are lost", s.Durable)
	}
	return config, nil
}

// consumption is the taking of one stream over one connection.
type consumption struct {
	b      *Broadcast
	stream Stream
	js     jetstream.JetStream
	take   func(context.Context, Arrived) error
	doing  sync.WaitGroup
	room   chan struct{}
}

// one has a message taken, and says what became of it.
func (c *consumption) one(ctx context.Context, m *nats.Msg) {
	meta, err := m.Metadata()
	if err != nil || c.stream.DeadLetter != "" && m.Subject == c.stream.DeadLetter {
		_ = m.Term() // a dead letter in the stream itself would come for ever
		return
	}
	place := meta.Stream + "/" + strconv.FormatUint(meta.Sequence.Stream, 10)
	err = c.take(ctx, Arrived{Subject: m.Subject, MessageID: m.Header.Get(nats.MsgIdHdr), Place: place, Stored: meta.Timestamp, Body: m.Data, Tries: meta.NumDelivered})
	var refused *Refused
	switch {
	case err == nil:
		c.b.counts.taken.Add(1)
		c.acknowledge(ctx, m)
		return
	case ctx.Err() != nil:
		return // whoever leads next gets it
	case errors.As(err, &refused):
	case meta.NumDelivered >= maxFailures && !isLater(err):
		refused = &Refused{"internal", "it failed too often; the node's log says why"}
	}
	if refused == nil {
		c.later(m, meta.NumDelivered, err)
		return
	}
	if err := c.bury(ctx, m, place, meta.Timestamp, refused); err != nil {
		c.later(m, meta.NumDelivered, fmt.Errorf("dead letter: %w", err))
		return
	}
	c.b.counts.buried.Add(1)
	c.acknowledge(ctx, m)
}

// Later is why a message has to come again that is nobody's fault: it does not count how often.
type Later struct{ Err error }

func (l *Later) Error() string { return l.Err.Error() }

func (l *Later) Unwrap() error { return l.Err }

func isLater(err error) bool {
	var later *Later
	return errors.As(err, &later)
}

// acknowledge waits until the server knows. If it does not, the message comes again, and is known.
func (c *consumption) acknowledge(ctx context.Context, m *nats.Msg) {
	limited, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	if err := m.AckSync(nats.Context(limited)); err != nil && ctx.Err() == nil {
		c.b.log.Warn("an event was taken and not acknowledged; it comes again, and is known", "error", err)
	}
}

func (c *consumption) later(m *nats.Msg, tries uint64, err error) {
	delay := min(shortestDelay<<min(tries-1, 10), longestDelay)
	c.b.log.Warn("an event was not taken, and comes again", "stream", c.stream.Name, "tries", tries, "in", delay, "error", err)
	_ = m.NakWithDelay(delay) // if it is lost, the message comes again by itself
}

// bury sends a message to the dead letters, with the reason, and waits until they are kept.
func (c *consumption) bury(ctx context.Context, m *nats.Msg, place string, stored time.Time, why *Refused) error {
	c.b.log.Error("an event was refused", "event", place, "code", why.Code, "reason", why.Detail, "dead_letter", c.stream.DeadLetter)
	if c.stream.DeadLetter == "" {
		return nil
	}
	letter := nats.NewMsg(c.stream.DeadLetter)
	letter.Data = m.Data
	for name, values := range m.Header {
		if !strings.HasPrefix(name, "Nats-") {
			letter.Header[name] = values
		}
	}
	letter.Header.Set("Veto-Code", why.Code)
	letter.Header.Set("Veto-Reason", oneLine(why.Detail))
	letter.Header.Set("Veto-Event", place)
	letter.Header.Set("Veto-Subject", m.Subject)
	letter.Header.Set(nats.MsgIdHdr, "dead/"+place+"/"+strconv.FormatInt(stored.UnixNano(), 10))
	ctx, cancel := context.WithTimeout(ctx, ackLimit)
	defer cancel()
	_, err := c.js.PublishMsg(ctx, letter)
	return err
}

// oneLine is the text as a header can hold it.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
	return text[:min(len(text), longestReason)]
}
