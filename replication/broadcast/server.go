package broadcast

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Grant is what a client from outside may do.
type Grant struct {
	// Name is whose the grant is: see Broadcast.Disconnect.
	Name string
	// Subscribe and Publish are subjects, which may have wildcards.
	Subscribe, Publish []string
	// Until, if set, is when the client is cut off.
	Until time.Time
}

const (
	maxPayload   = 1 << 20
	maxClients   = 4096
	readyLimit   = 10 * time.Second
	authSeconds  = 5
	pingInterval = 5 * time.Second
)

// gatekeeper lets clients in: the node itself by a secret of this process, others by what
// authorize says of their token.
type gatekeeper struct {
	secret    string
	authorize func(token string) (Grant, bool)
	// stream is whether the node has a stream of its own.
	stream bool
	// server, and node, which is its account NODE, are set before it lets anyone in.
	server *server.Server
	node   *server.Account

	making sync.Mutex // held while an account of clients is made

	mu        sync.Mutex
	connected map[string][]uint64 // the clients of each grant, by its name
}

// prunedAt is how many clients of one grant are remembered before those that have gone are
// forgotten.
const prunedAt = 64

func (g *gatekeeper) remember(name string, client uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ids := append(g.connected[name], client)
	if len(ids) > prunedAt {
		ids = slices.DeleteFunc(ids, func(id uint64) bool { return id != client && g.server.GetClient(id) == nil })
	}
	g.connected[name] = ids
}

// disconnect cuts off all clients of the grant.
func (g *gatekeeper) disconnect(name string) {
	g.mu.Lock()
	ids := g.connected[name]
	delete(g.connected, name)
	g.mu.Unlock()
	for _, id := range ids {
		_ = g.server.DisconnectClientByID(id) // it may have gone by itself
	}
}

// userNode is who the node itself is.
const userNode = "veto-node"

// Check is called by the server for each client that connects.
func (g *gatekeeper) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == userNode {
		if subtle.ConstantTimeCompare([]byte(o.Password), []byte(g.secret)) != 1 {
			return false
		}
		c.RegisterUser(&server.User{Username: userNode, Account: g.node})
		return true
	}
	token := o.Token
	if token == "" {
		token = o.Password
	}
	grant, ok := g.authorize(token)
	// The name of a client that shows a key of its own would be that key, and not its grant's.
	if !ok || o.Nkey != "" || o.JWT != "" {
		return false
	}
	// Before it is in: a grant that ends from now on finds it.
	g.remember(grant.Name, c.GetID())
	if _, still := g.authorize(token); !still {
		return false
	}
	account, err := g.accountOf(grant.Name)
	if err != nil {
		return false
	}
	c.RegisterUser(&server.User{
		Username: grant.Name, Account: account, ConnectionDeadline: grant.Until, Permissions: &server.Permissions{
			Publish:   only(grant.Publish),
			Subscribe: only(grant.Subscribe),
		},
	})
	return true
}

// only allows the subjects, and nothing if there are none.
func only(subjects []string) *server.SubjectPermission {
	if len(subjects) == 0 {
		return &server.SubjectPermission{Deny: []string{">"}}
	}
	return &server.SubjectPermission{Allow: subjects}
}

func serverOptions(c Config, g *gatekeeper) (*server.Options, error) {
	host, port, err := splitAddr(c.ClientAddr)
	if err != nil {
		return nil, err
	}
	node := server.NewAccount(accountNode)
	if err := export(node); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	o := &server.Options{
		ServerName: c.NodeID, Host: host, Port: port, NoSigs: true, NoLog: true,
		MaxPayload: maxPayload, MaxConn: maxClients, AuthTimeout: authSeconds,
		PingInterval: pingInterval, MaxPingsOut: 2, TLSConfig: c.ClientTLS,
		Accounts: []*server.Account{node}, CustomClientAuthentication: g,
	}
	c.JetStream.options(o)
	return o, nil
}

// splitAddr takes port 0 for any free one, which the server calls -1.
func splitAddr(addr string) (string, int, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("nats: %w", err)
	}
	port, err := strconv.Atoi(text)
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, err
}

func startServer(o *server.Options, g *gatekeeper, log *slog.Logger) (*server.Server, error) {
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	g.server = s
	if g.node, err = s.LookupAccount(accountNode); err != nil { // the server has made it of that in the options
		return nil, fmt.Errorf("nats: %w", err)
	}
	failed := &fatal{}
	s.SetLoggerV2(serverLog{log, failed}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(readyLimit) {
		s.Shutdown()
		return nil, fmt.Errorf("nats: the server did not start within %s; is %s:%d in use? %s", readyLimit, o.Host, o.Port, failed.text())
	}
	return s, nil
}

// fatal keeps what the server said last before it gave up.
type fatal struct{ last atomic.Value }

func (f *fatal) text() string {
	text, _ := f.last.Load().(string)
	return text
}

// serverLog forwards what the server has to say. It says nothing of payloads and tokens as
// long as tracing is off, and nothing that a client chose: see said.
type serverLog struct {
	log    *slog.Logger
	failed *fatal
}

// quoted is text in quotes, in which the server puts what clients say.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"?`)

// said is what the server says, without what a client chose, such as its name or a subject that it must
// not publish to: by mistake that is the secret that it logs in with.
func said(f string, a ...any) string {
	text := fmt.Sprintf(f, a...)
	from, what, ofClient := strings.Cut(text, " - cid:")
	if !ofClient {
		return text
	}
	return from + " - cid:" + quoted.ReplaceAllString(what, `"..."`)
}

func (l serverLog) Noticef(f string, a ...any) { l.log.Debug(said(f, a...)) }
func (l serverLog) Debugf(f string, a ...any)  {}
func (l serverLog) Tracef(f string, a ...any)  {}

func (l serverLog) Errorf(f string, a ...any) { l.log.Warn(said(f, a...)) }
func (l serverLog) Warnf(f string, a ...any)  { l.log.Warn(said(f, a...)) }

func (l serverLog) Fatalf(f string, a ...any) {
	text := said(f, a...)
	l.failed.last.Store(text)
	l.log.Error(text)
}
