package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// SubjectRevoke is where clients from outside ask for a revocation.
const SubjectRevoke = "veto.revoke"

// InboxOf is where the grant with the name has its answers sent, followed by a dot and more: clients
// call it their inbox prefix. Only that grant may hear them.
func InboxOf(grant string) string { return "_INBOX." + grant }

// Requests come to the node's account on a subject of its own, to which no client from outside can
// publish: the accounts of clients import it as SubjectRevoke, and the server that the client is
// connected to says in a header which user that is. A header of that name that a client sends itself
// is replaced.
const (
	subjectRequest = "veto.internal.revoke"

	// requestLimit bounds one request, and maxRequests how many are done at once; what is above is
	// told to come again.
	requestLimit = 5 * time.Second
	maxRequests  = 256
)

// Request is what a client from outside asks for.
type Request struct {
	// By is the name of the client's grant, which the server vouches for.
	By string
	// Address is where the client is, as the server says.
	Address string
	// ID is how the client names the request; empty if it does not.
	ID   string
	Body []byte
}

// Answer has requests of clients answered by the handler, each in a goroutine of its own, until stop,
// which waits for those that are being done. A handler ends with its context.
func (b *Broadcast) Answer(handle func(context.Context, Request) []byte) (stop func(), err error) {
	all, cancel := context.WithCancel(context.Background())
	var doing sync.WaitGroup
	room := make(chan struct{}, maxRequests)
	s, err := b.conn.Subscribe(subjectRequest, func(m *nats.Msg) {
		who, ok := requestedBy(m)
		if !ok {
			b.log.Error("a request on NATS does not say whose it is, and is not done")
			return
		}
		select {
		case room <- struct{}{}:
		default:
			b.counts.busy.Add(1)
			b.respond(m, busy)
			return
		}
		doing.Go(func() {
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(all, requestLimit)
			defer cancel()
			b.respond(m, handle(ctx, Request{By: who.User, Address: who.Host, ID: m.Header.Get(nats.MsgIdHdr), Body: m.Data}))
		})
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("nats: %w", err)
	}
	gone := make(chan struct{})
	s.SetClosedHandler(func(string) { close(gone) })
	stop = func() {
		cancel()
		if s.Drain() == nil { // otherwise the connection is closed, and nothing comes any more
			select {
			case <-gone:
			case <-time.After(requestLimit): // the connection is down, and nothing comes
			}
		}
		doing.Wait()
	}
	if err := s.SetPendingLimits(queueLength, pendingBytes); err != nil {
		stop()
		return nil, fmt.Errorf("nats: %w", err)
	}
	// Requests are answered from when the server has heard of it.
	if err := b.conn.FlushTimeout(readyLimit); err != nil {
		stop()
		return nil, fmt.Errorf("nats: %w", err)
	}
	return stop, nil
}

var busy = []byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable","detail":"this node has as many requests as it can serve; ask again in a moment"}`)

func (b *Broadcast) respond(m *nats.Msg, answer []byte) {
	if m.Reply == "" {
		return // whoever asked does not want to know
	}
	if err := m.Respond(answer); err != nil {
		b.counts.dropped.Add(1)
	}
}

// requestedBy is the client that the server had the request from; User is the name of its grant.
func requestedBy(m *nats.Msg) (server.ClientInfo, bool) {
	var who server.ClientInfo
	if err := json.Unmarshal([]byte(m.Header.Get(server.ClientInfoHdr)), &who); err != nil {
		return who, false
	}
	return who, who.User != "" && strings.HasPrefix(who.Account, accountClient)
}
