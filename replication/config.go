package replication

import (
	"context"
	"io"
	"log/slog"
	"time"

	"veto/record"
	"veto/replication/broadcast"
	"veto/replication/peer"
	"veto/replication/pepper"
	"veto/replication/roster"
	"veto/replication/store"
)

// Parts are what a Replica is made of. The Replica closes none of them.
type Parts struct {
	Store     *store.Store
	Outbox    *store.Outbox
	View      *View
	Peers     *peer.Mux
	Roster    *roster.Roster
	Broadcast *broadcast.Broadcast
}

// Config is how a Replica behaves.
type Config struct {
	// ID of this node; it never changes. Address is where other nodes call it.
	ID, Address string
	Role        record.NodeRole
	Region      string
	Version     string
	// Dir is where the log is kept.
	Dir string
	// Expect is how many voters found the cluster together; 1 for a node alone. It is
	// also the number of voters below which the cluster removes none by itself.
	Expect int
	// Joins says that the node was told of others: it waits for them before it founds.
	Joins bool
	// Found makes the first command of a new cluster; called on the node that first leads.
	Found func() (record.Found, error)
	// Founded is called on every node when the cluster was founded, and at the start of a node
	// of one that was. It must not block.
	Founded func()
	// WhileLeading run while this node leads: each is started with a context that ends
	// when the node no longer does, and must then return.
	WhileLeading []func(ctx context.Context)
	// WantKeys is called on the leader with the ids of issuers whose keys a node misses. It
	// must not block.
	WantKeys func(issuerIDs ...string)
	// Ring are the keys that wrap the peppers of API keys; nil if this node has none.
	Ring *pepper.Ring
	// Random is where new peppers come from.
	Random io.Reader
	// Failed is called once, with why, when the node cannot go on. It must not block.
	Failed func(error)
	Now    func() time.Time
	Log    *slog.Logger
}
