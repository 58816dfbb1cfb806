package replication

import (
	"context"
	"errors"
	"time"

	"veto/record"
	"veto/record/limit"
	"veto/record/trail"
	"veto/replication/consensus"
	"veto/replication/peer"
)

// The paths of the calls between nodes.
const (
	pathPropose = "/propose"
	pathState   = "/state"
	pathAwait   = "/await"
	pathConfirm = "/confirm"
	pathKeys    = "/keys"
	pathLease   = "/lease"
	pathAdmit   = "/admit"
	pathMember  = "/member"
	pathRole    = "/role"
	pathLeave   = "/leave"
)

// Tracer tells of steps on the way of a request through the cluster.
type Tracer interface {
	// Begin begins a step, which the function ends. It does not block.
	Begin(ctx context.Context, step string) (within context.Context, end func())
	// Carried is what brings the trace to another node; empty if nobody is told of it.
	Carried(ctx context.Context) string
	Continue(ctx context.Context, carried string) context.Context
}

// step begins a step of what was carried here, if it was, or of what the context is in. Calls with the context carry it on.
func (r *Replica) step(ctx context.Context, name, carried string) (within context.Context, end func()) {
	if r.config.Trace == nil {
		return ctx, func() {}
	}
	ctx, end = r.config.Trace.Begin(r.config.Trace.Continue(ctx, carried), name)
	return peer.WithTrace(ctx, r.config.Trace.Carried(ctx)), end
}

// followed is answer for what is a step if the call carries a trace.
func followed[In, Out any](r *Replica, name string, f func(context.Context, In) (Out, error)) peer.Handler {
	return answer(func(ctx context.Context, in In) (Out, error) {
		if carried := peer.TraceOf(ctx); carried != "" {
			var end func()
			ctx, end = r.step(ctx, name, carried)
			defer end()
		}
		return f(ctx, in)
	})
}

const longestAwait = 30 * time.Second

// nodeState is what a node says of itself.
type nodeState struct {
	ID            string          `cbor:"1,keyasint"`
	ClusterID     string          `cbor:"2,keyasint,omitempty"`
	Role          record.NodeRole `cbor:"3,keyasint"`
	Region        string          `cbor:"4,keyasint,omitempty"`
	Version       string          `cbor:"5,keyasint,omitempty"`
	Founded       bool            `cbor:"6,keyasint,omitempty"`
	Expect        int             `cbor:"7,keyasint,omitempty"`
	Revision      record.Revision `cbor:"8,keyasint"`
	AsOf          time.Time       `cbor:"9,keyasint,omitzero"`
	Term          uint64          `cbor:"10,keyasint"`
	LastIndex     uint64          `cbor:"11,keyasint"`
	ContactMillis int64           `cbor:"12,keyasint"`           // since it heard of the leader; negative for never
	ChainsAudit   bool            `cbor:"13,keyasint,omitempty"` // nodes of the first level ask
	AuditHead     trail.Head      `cbor:"14,keyasint,omitzero"`
	// PepperKeys are the fingerprints of the keys that it has to wrap peppers, and Pepper how it stands
	// to those that there are.
	PepperKeys []string           `cbor:"15,keyasint,omitempty"`
	Pepper     record.PepperState `cbor:"16,keyasint,omitempty"`
	// Level is the highest that its program knows; see level.
	Level record.Level `cbor:"17,keyasint,omitempty"`
	// Admits tells that its program knows pathAdmit, and Servers are the ids of the configuration that it has.
	Admits  bool     `cbor:"18,keyasint,omitempty"`
	Servers []string `cbor:"19,keyasint,omitempty"`
	// Now is its time, and Host what it stands on.
	Now  time.Time       `cbor:"20,keyasint,omitzero"`
	Host record.NodeHost `cbor:"21,keyasint,omitzero"`
	// Pending is how many revocations it has taken that the log does not have.
	Pending int `cbor:"22,keyasint,omitempty"`
	// Leaving tells that it is about to go for good.
	Leaving bool `cbor:"23,keyasint,omitempty"`
	// Begun tells that it may have voted: it hears other nodes' Raft, and has a log.
	Begun bool `cbor:"24,keyasint,omitempty"`
}

// level is what the node's program knows of commands.
func (s *nodeState) level() record.Level { return max(s.Level, record.LevelFirst) }

// awaitCall asks to wait for a revision, or for an item of an outbox.
type awaitCall struct {
	Revision record.Revision `cbor:"1,keyasint,omitempty"`
	Millis   int64           `cbor:"2,keyasint"`
	Outbox   record.OutboxID `cbor:"3,keyasint,omitempty"`
	Number   uint64          `cbor:"4,keyasint,omitempty"`
	// Digest, if given, is what must then be denied: found, and not only passed.
	Digest record.Digest `cbor:"5,keyasint,omitempty"`
}

// leaderClaim is the question whether a voter takes a node for the leader of a term; the
// answer repeats it with Yes, and the voter's time.
type leaderClaim struct {
	Leader string    `cbor:"1,keyasint"`
	Term   uint64    `cbor:"2,keyasint"`
	Yes    bool      `cbor:"3,keyasint,omitempty"`
	Now    time.Time `cbor:"4,keyasint,omitzero"`
}

// callError is an error that crosses the wire with a code.
type callError struct {
	code string
	error
}

func (e callError) Code() string  { return e.code }
func (e callError) Unwrap() error { return e.error }

const (
	codeNotLeader = "not_leader"
	codeUnknown   = "outcome_unknown"
)

// serve registers the calls that this node answers.
func (r *Replica) serve() {
	r.peers.Handle(pathPropose, followed(r, "propose", r.answerPropose))
	r.peers.Handle(pathState, answer(func(context.Context, struct{}) (nodeState, error) { return r.state(), nil }))
	r.peers.Handle(pathAwait, followed(r, "await", r.answerAwait))
	r.peers.Handle(pathConfirm, answer(r.answerConfirm))
	r.peers.Handle(pathKeys, answer(func(_ context.Context, ids []string) (struct{}, error) {
		r.config.WantKeys(ids...)
		return struct{}{}, nil
	}))
	r.peers.Handle(pathAdmit, answerFrom(r.answerAdmit))
	r.peers.Handle(pathMember, answerFrom(r.answerMember))
	r.peers.Handle(pathRole, answer(func(_ context.Context, role record.NodeRole) (struct{}, error) { return struct{}{}, r.takeRole(role) }))
	r.peers.Handle(pathLeave, answer(func(context.Context, struct{}) (struct{}, error) {
		r.beginToLeave()
		return struct{}{}, nil
	}))
	r.peers.Handle(pathLease, answerFrom(func(_ context.Context, from string, in limit.Report) (limit.Answer, error) { return r.grant(from, in) }))
}

// answer turns a function on records into one on bytes.
func answer[In, Out any](f func(context.Context, In) (Out, error)) peer.Handler {
	return answerFrom(func(ctx context.Context, _ string, in In) (Out, error) { return f(ctx, in) })
}

// answerFrom is answer for a function that has to know which node asks.
func answerFrom[In, Out any](f func(ctx context.Context, from string, in In) (Out, error)) peer.Handler {
	return func(ctx context.Context, from string, body []byte) ([]byte, error) {
		var in In
		if err := record.Decode(body, &in); err != nil {
			return nil, err
		}
		out, err := f(ctx, from, in)
		if err != nil {
			return nil, err
		}
		return record.Encode(out)
	}
}

// call asks another node. The id makes sure that it is that node that answers.
func call[In, Out any](ctx context.Context, p Peers, addr, id, path string, in In) (Out, error) {
	var out Out
	body, err := record.Encode(in)
	if err != nil {
		return out, err
	}
	reply, err := p.Call(ctx, addr, id, path, body)
	if err != nil {
		return out, err
	}
	return out, record.Decode(reply, &out)
}

// answerAwait blocks until what is asked for is in force here, or the time is up, and says
// whether it is.
func (r *Replica) answerAwait(ctx context.Context, in awaitCall) (bool, error) {
	limit := min(time.Duration(max(in.Millis, 0))*time.Millisecond, longestAwait)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := r.inForce(ctx, record.Accepted{Revision: in.Revision, Outbox: in.Outbox, Number: in.Number})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return false, err
	}
	found := in.Digest == (record.Digest{}) || r.view.FirstDenied([]record.Digest{in.Digest}, record.NoIssuedAt) == 0
	return err == nil && found, nil
}

// inForce blocks until what was accepted is in force here; otherwise it returns the context's
// error.
func (r *Replica) inForce(ctx context.Context, a record.Accepted) error {
	if a.Number > 0 {
		return r.index.AwaitTaken(ctx, a.Outbox, a.Number)
	}
	return r.index.Await(ctx, a.Revision)
}

// answerConfirm is true only while this voter knows of no later term and no other leader.
func (r *Replica) answerConfirm(_ context.Context, in leaderClaim) (leaderClaim, error) {
	in.Yes = r.node().Term() == in.Term && r.node().Leader() == in.Leader
	in.Now = r.config.Now()
	return in, nil
}

// WantKeys tells the leader that tokens of the issuers name keys that are not here.
func (r *Replica) WantKeys(ctx context.Context, issuerIDs []string) error {
	leader := r.node().Leader()
	if leader == r.config.ID {
		r.config.WantKeys(issuerIDs...)
		return nil
	}
	_, err := askLeader[[]string, struct{}](ctx, r, leader, pathKeys, issuerIDs)
	return err
}

// askLeader asks the node that leads, as far as is known here. It takes statusLimit at most.
func askLeader[In, Out any](ctx context.Context, r *Replica, leader, path string, in In) (out Out, err error) {
	addr, ok := r.addressOf(leader)
	if !ok {
		return out, consensus.ErrNotLeader
	}
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	return call[In, Out](ctx, r.peers, addr, leader, path, in)
}

// Lease tells the leader what this node asks for of the rates of API keys, and returns what it is
// granted. It takes up to a second.
func (r *Replica) Lease(ctx context.Context, in limit.Report) (limit.Answer, error) {
	in.Term = r.node().Term() // before the leader: what is sent to a later one is refused there
	leader := r.node().Leader()
	if leader == r.config.ID {
		return r.grant(leader, in)
	}
	return askLeader[limit.Report, limit.Answer](ctx, r, leader, pathLease, in)
}

func (r *Replica) grant(node string, in limit.Report) (limit.Answer, error) {
	if !r.node().IsLeader() {
		return limit.Answer{}, callError{codeNotLeader, consensus.ErrNotLeader}
	}
	servers, _ := r.node().Servers()
	return r.lessor.Grant(node, in, ids(servers), r.config.Now()), nil
}

// Size is how many nodes the cluster has, as far as this node knows; zero if it knows none.
func (r *Replica) Size() int {
	servers, _ := r.node().Servers()
	return len(servers)
}

// stateOf is what a node says of itself.
func (r *Replica) stateOf(ctx context.Context, id, addr string) (nodeState, error) {
	if id == r.config.ID {
		return r.state(), nil
	}
	return call[struct{}, nodeState](ctx, r.peers, addr, id, pathState, struct{}{})
}

// state is what this node says of itself.
func (r *Replica) state() nodeState {
	f := r.view.Freshness()
	contact := r.node().LastContact().Milliseconds()
	head, err := r.view.AuditHead()
	if err != nil {
		r.config.Log.Warn("the head of the audit trail cannot be read", "error", err)
	}
	servers, _ := r.node().Servers()
	return nodeState{
		ID: r.config.ID, ClusterID: r.view.ClusterID(), Role: r.role(), Region: r.config.Region,
		Version: r.config.Version, Founded: r.node().Founded(), Expect: r.config.Expect,
		Revision: f.Revision, AsOf: f.AsOf,
		Term: r.node().Term(), LastIndex: r.node().LastIndex(), ContactMillis: contact,
		ChainsAudit: true, AuditHead: head, PepperKeys: r.keeper.Fingerprints(), Pepper: r.keeper.State(),
		Level: record.LevelNewest, Admits: true, Servers: ids(servers),
		Now: r.config.Now(), Host: r.config.Host(), Pending: r.Pending(), Leaving: r.leaving.Load(),
		Begun: r.node().Founded() && r.node().Admitted(),
	}
}
