package broadcast

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Config is what a Broadcast is made of.
type Config struct {
	NodeID string
	// ClientAddr is where clients connect, by TLS unless that is nil.
	ClientAddr string
	ClientTLS  *tls.Config
	// Authorize tells what a client with the token may do. Called from many goroutines.
	Authorize func(token string) (Grant, bool)
	JetStream JetStream
	Random    io.Reader
	Log       *slog.Logger
}

const (
	queueLength  = 65536
	pendingBytes = 64 << 20
)

// Broadcast is the node's server and its own connection to it.
type Broadcast struct {
	server *server.Server
	conn   *nats.Conn
	log    *slog.Logger
	gate   *gatekeeper
	counts counts

	queue chan told
	wg    sync.WaitGroup
	stop  chan struct{}
}

type counts struct {
	dropped, slow, busy, taken, buried atomic.Uint64
	reading                            atomic.Bool
}

// Stats are numbers for people who watch.
type Stats struct {
	// Dropped are events and answers that were not sent, Slow the times that there was no room for requests.
	Dropped, Slow uint64
	// Taken are events of a stream that were taken, Buried those that were refused.
	Taken, Buried uint64
	// Reading is whether a stream is read now: its server gives signs of life.
	Reading bool
	// Busy are requests of clients that were told to come again, Queued events that are to be sent.
	Busy   uint64
	Queued int
}

// Start runs the server. The caller closes it.
func Start(c Config) (*Broadcast, error) {
	secret := make([]byte, 32)
	if _, err := io.ReadFull(c.Random, secret); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	g := &gatekeeper{
		secret: hex.EncodeToString(secret), authorize: c.Authorize, stream: c.JetStream.Dir != "", connected: map[string][]uint64{},
	}
	options, err := serverOptions(c, g)
	if err != nil {
		return nil, err
	}
	b := &Broadcast{log: c.Log, gate: g, queue: make(chan told, queueLength), stop: make(chan struct{})}
	if b.server, err = startServer(options, g, c.Log); err != nil {
		return nil, err
	}
	if b.conn, err = b.dial(); err == nil {
		err = b.openStream(c.JetStream)
	}
	if err != nil {
		b.server.Shutdown()
		return nil, err
	}
	b.wg.Go(b.publish)
	return b, nil
}

// dial connects to the server in this process. What is not sent while the connection is down
// is not kept, as in dialStream.
func (b *Broadcast) dial(more ...nats.Option) (*nats.Conn, error) {
	conn, err := nats.Connect("", append(more, nats.InProcessServer(b.server), nats.UserInfo(userNode, b.gate.secret),
		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
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

// Disconnect cuts off the clients of the grant with the name: who may still come, comes again.
func (b *Broadcast) Disconnect(grant string) { b.gate.disconnect(grant) }

// ClientAddr is where the server listens.
func (b *Broadcast) ClientAddr() string { return b.server.Addr().String() }

// Stats may be called from anywhere.
func (b *Broadcast) Stats() Stats {
	return Stats{
		Dropped: b.counts.dropped.Load(), Slow: b.counts.slow.Load(), Busy: b.counts.busy.Load(),
		Taken: b.counts.taken.Load(), Buried: b.counts.buried.Load(), Reading: b.counts.reading.Load(), Queued: len(b.queue),
	}
}

// Close sends what is queued, disconnects everyone and waits.
func (b *Broadcast) Close() {
	close(b.stop)
	b.wg.Wait()
	b.conn.Close()
	b.server.Shutdown()
	b.server.WaitForShutdown()
}
