package broadcast

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"veto/record"
)

// Handlers take what other nodes send. They must not block.
type Handlers struct {
	Notice func(record.Notice)
	Beacon func(record.Beacon)
}

// Config is what a Broadcast is made of.
type Config struct {
	NodeID string
	// ClientAddr is where clients from outside connect, RouteAddr where other nodes do.
	// AdvertiseRoute is the host:port that other nodes are told; RouteAddr if empty.
	ClientAddr, RouteAddr, AdvertiseRoute string
	// RouteTLS demands the cluster's certificate of both sides. ClientTLS may be nil.
	RouteTLS, ClientTLS *tls.Config
	// Authorize tells what a client with the token may do. Called from many goroutines.
	Authorize func(token string) (Grant, bool)
	Handlers  Handlers
	JetStream JetStream
	Random    io.Reader
	Log       *slog.Logger
}

const (
	subjectNotice = "veto.internal.notice"
	subjectUnkept = "veto.internal.unkept"
	subjectBeacon = "veto.internal.beacon"
	// inboxPrefix is that of the node's own connections: clients may listen to the usual one.
	inboxPrefix = "veto.internal.inbox"

	traceHeader = "traceparent"

	queueLength  = 65536
	pendingBytes = 64 << 20
)

// Broadcast is the node's server and its connections to it.
type Broadcast struct {
	server  *server.Server
	options *server.Options
	nodes   *nats.Conn
	public  *nats.Conn
	log     *slog.Logger
	gate    *gatekeeper
	counts  counts

	queue chan told
	wg    sync.WaitGroup
	stop  chan struct{}

	mu     sync.Mutex
	routes []string
}

type counts struct {
	received, dropped, refused, slow, busy, taken, buried atomic.Uint64
	reading                                               atomic.Bool
}

// Stats are numbers for people who watch.
type Stats struct {
	Received, Dropped, Slow uint64
	// Refused are messages that could not be read, or do not say from whom they are.
	Refused uint64
	// Taken are events of a stream that were taken, Buried those that were refused.
	Taken, Buried uint64
	// Reading is whether a stream is read now: its server gives signs of life.
	Reading bool
	// Busy are requests of clients that were told to come again, Queued events that are to be sent.
	Busy           uint64
	Queued, Routes int
}

// Start runs the server. The caller closes it.
func Start(c Config) (*Broadcast, error) {
	secret := make([]byte, 32)
	if _, err := io.ReadFull(c.Random, secret); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	g := &gatekeeper{
		secret: hex.EncodeToString(secret), authorize: c.Authorize, node: c.NodeID, stream: c.JetStream.Dir != "", connected: map[string][]uint64{},
	}
	options, err := serverOptions(c, g)
	if err != nil {
		return nil, err
	}
	b := &Broadcast{
		options: options, log: c.Log, gate: g,
		queue: make(chan told, queueLength), stop: make(chan struct{}),
	}
	if b.server, err = startServer(options.Clone(), g, c.Log); err != nil {
		return nil, err
	}
	err = b.connect(g.secret, c.Handlers)
	if err == nil {
		err = b.openStream(c.JetStream)
	}
	if err != nil {
		b.server.Shutdown()
		return nil, err
	}
	b.wg.Go(b.publish)
	return b, nil
}

func (b *Broadcast) connect(secret string, h Handlers) error {
	var err error
	if b.nodes, err = b.dial(userNodes, secret); err != nil {
		return err
	}
	if b.public, err = b.dial(userPublic, secret); err != nil {
		return err
	}
	err = errors.Join(
		subscribe(b, subjectNotice, func(n record.Notice, trace string) {
			n.Trace = trace
			h.Notice(n)
		}),
		subscribe(b, subjectUnkept, func(n record.Notice, trace string) {
			n.Unkept, n.Trace = true, trace
			h.Notice(n)
		}),
		subscribe(b, subjectBeacon, func(v record.Beacon, _ string) { h.Beacon(v) }))
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return nil
}

// dial connects to the server in this process. What is not sent while the connection is down
// is not kept: a late notice is worth nothing.
func (b *Broadcast) dial(user, secret string, more ...nats.Option) (*nats.Conn, error) {
	conn, err := nats.Connect("", append(more, nats.InProcessServer(b.server), nats.UserInfo(user, secret),
		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2), nats.NoEcho(), nats.CustomInboxPrefix(inboxPrefix),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				b.counts.slow.Add(1)
				return
			}
			b.log.Warn("nats", "error", err)
		}))...)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return conn, nil
}

// subscribe hands what arrives to the handler. What cannot be read is counted and dropped.
func subscribe[T any](b *Broadcast, subject string, handle func(v T, trace string)) error {
	s, err := b.nodes.Subscribe(subject, func(m *nats.Msg) {
		var v T
		if len(m.Data) > maxPayload || record.Decode(m.Data, &v) != nil {
			b.counts.refused.Add(1)
			return
		}
		b.counts.received.Add(1)
		handle(v, m.Header.Get(traceHeader))
	})
	if err != nil {
		return err
	}
	return s.SetPendingLimits(queueLength, pendingBytes)
}

// SetRoutes says where the other nodes are, host:port each. It may be called as often as one
// likes.
func (b *Broadcast) SetRoutes(routes []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.Equal(routes, b.routes) || b.options.JetStream {
		return nil
	}
	return b.setRoutes(routes)
}

// Reconnect has the routes to other nodes that this one opened begin anew, as when its certificate is
// another. What is told meanwhile may miss those nodes, which hear of it by the log.
func (b *Broadcast) Reconnect() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	routes := b.routes
	if len(routes) == 0 {
		return nil
	}
	return errors.Join(b.setRoutes(nil), b.setRoutes(routes))
}

func (b *Broadcast) setRoutes(routes []string) error {
	options := b.options.Clone()
	options.Port = b.server.Addr().(*net.TCPAddr).Port
	options.Cluster.Port = b.server.ClusterAddr().Port
	options.Routes = routeURLs(routes)
	if err := b.server.ReloadOptions(options); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	b.routes = slices.Clone(routes)
	return nil
}

// Disconnect cuts off the clients of the grant with the name: who may still come, comes again.
func (b *Broadcast) Disconnect(grant string) { b.gate.disconnect(grant) }

// Notice tells the other nodes, as Beacon does. It does not wait for them.
func (b *Broadcast) Notice(n record.Notice) {
	subject, trace := subjectNotice, n.Trace
	if n.Unkept {
		subject = subjectUnkept
	}
	n.Unkept, n.Trace = false, ""
	b.toNodes(subject, n, trace)
}

// Beacon tells the other nodes.
func (b *Broadcast) Beacon(n record.Beacon) { b.toNodes(subjectBeacon, n, "") }

// toNodes is one write into this process's server. What cannot be sent is counted and dropped.
func (b *Broadcast) toNodes(subject string, v any, trace string) {
	m := &nats.Msg{Subject: subject}
	if trace != "" {
		m.Header = nats.Header{traceHeader: {trace}}
	}
	var err error
	if m.Data, err = record.Encode(v); err == nil {
		err = b.nodes.PublishMsg(m)
	}
	if err != nil {
		b.counts.dropped.Add(1)
	}
}

// ClientAddr and RouteAddr are where the server listens.
func (b *Broadcast) ClientAddr() string { return b.server.Addr().String() }

// RouteAddr is where other nodes connect; empty if they cannot.
func (b *Broadcast) RouteAddr() string {
	if addr := b.server.ClusterAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// Stats may be called from anywhere.
func (b *Broadcast) Stats() Stats {
	return Stats{
		Received: b.counts.received.Load(), Dropped: b.counts.dropped.Load(),
		Refused: b.counts.refused.Load(), Slow: b.counts.slow.Load(),
		Taken: b.counts.taken.Load(), Buried: b.counts.buried.Load(), Reading: b.counts.reading.Load(), Busy: b.counts.busy.Load(), Queued: len(b.queue), Routes: b.server.NumRoutes(),
	}
}

// Close sends what is queued, disconnects everyone and waits.
func (b *Broadcast) Close() {
	close(b.stop)
	b.wg.Wait()
	b.nodes.Close()
	b.public.Close()
	b.server.Shutdown()
	b.server.WaitForShutdown()
}
