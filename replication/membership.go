package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"veto/record"
	"veto/replication/consensus"
	"veto/replication/peer"
	"veto/replication/roster"
)

// stateAlive is that of a member that gossip hears.
const stateAlive = "alive"

// How long a node may be dead before autopilot may remove it.
const (
	deadVoterLimit   = 24 * time.Hour
	deadReplicaLimit = time.Hour
)

// reconcile brings the configuration in the log in step with where nodes are. It adds whom
// gossip found and who proves to be of this cluster, and follows changed addresses. Who left has said so to
// the leader, and who merely failed is left to autopilot. Called by the leader, one at a time.
func (r *Replica) reconcile(ctx context.Context) {
	for _, m := range r.roster.Members() {
		if m.ID == r.config.ID || ctx.Err() != nil {
			continue
		}
		servers, basedOn := r.node().Servers()
		if err := r.reconcileOne(ctx, m, servers, basedOn); err != nil && ctx.Err() == nil {
			r.config.Log.Warn("membership was not brought in step; the leader tries again", "node", m.ID, "error", err)
		}
	}
}

func (r *Replica) reconcileOne(ctx context.Context, m roster.Member, servers []consensus.Server, basedOn uint64) error {
	var was *consensus.Server // as which it takes part already
	if at := indexOf(servers, m.ID); at >= 0 {
		was = &servers[at]
	}
	if m.State != stateAlive || was != nil && was.Address == m.PeerAddr || !r.belongs(ctx, m, was) {
		return nil
	}
	for _, s := range servers {
		if s.Address == m.PeerAddr && s.ID != m.ID {
			r.config.Log.Info("removing a node whose address another has now", "node", s.ID, "by", m.ID)
			return r.node().Remove(s.ID, basedOn)
		}
	}
	r.config.Log.Info("adding a node", "node", m.ID, "address", m.PeerAddr, "role", m.Role)
	return r.node().AddReplica(m.ID, m.PeerAddr, basedOn)
}

func indexOf(servers []consensus.Server, id string) int {
	return slices.IndexFunc(servers, func(s consensus.Server) bool { return s.ID == id })
}

func ids(servers []consensus.Server) (all []string) {
	for _, s := range servers {
		all = append(all, s.ID)
	}
	return all
}

// belongs asks the node itself, over a connection that proves its id with the cluster's
// certificate: gossip alone is not believed (P9).
func (r *Replica) belongs(ctx context.Context, m roster.Member, was *consensus.Server) bool {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	s, err := call[struct{}, nodeState](ctx, r.peers, m.PeerAddr, m.ID, pathState, struct{}{})
	if err != nil {
		r.config.Log.Debug("a node that gossip found does not answer yet", "node", m.ID, "error", err)
		return false
	}
	if s.ClusterID != "" && s.ClusterID != r.view.ClusterID() {
		r.config.Log.Warn("a node of another cluster was found and is not added; check its --join and its data directory", "node", m.ID)
		return false
	}
	if s.level() < r.view.Level() {
		r.config.Log.Warn("a node was found whose version is too old for this cluster, and is not added; start a newer one on it", "node", m.ID, "version", s.Version)
		return false
	}
	if s.Leaving {
		return false
	}
	switch {
	case was == nil && wasRemoved(s.Founded, s.Role):
		r.config.Log.Debug("a voter that was removed is not added again with what it has on its disk; it is told so", "node", m.ID)
		return false
	case was != nil && !s.Founded && r.lives(ctx, *was): // gossip may have lost that one, and takes this one for it
		r.config.Log.Warn("two nodes have the same id, and the one with an empty data directory is not let in", "node", m.ID, "at", m.PeerAddr, "lives", was.Address)
		return false
	}
	return s.ID == m.ID
}

// wasRemoved tells whether a node that is not in the configuration, and has a log, is kept out until its data directory is
// empty. A replica that was away for long comes back by itself: it promised nothing.
func wasRemoved(hasLog bool, role record.NodeRole) bool { return hasLog && role == record.NodeVoter }

// meet keeps the roster and whom this node tells in step with the log, founds the cluster when the expected
// voters have met, and asks to be let in. It runs on every node until ctx ends.
func (r *Replica) meet(ctx context.Context) {
	var alone time.Time // since when this node has heard of no leader
	every(ctx, time.Second, nil, func(ctx context.Context) {
		r.tellRoster()
		r.tellWhom()
		if !r.node().Founded() {
			r.bootstrap(ctx)
		}
		if r.node().Founded() && !r.node().Admitted() {
			r.begin(ctx)
		}
		switch {
		case r.node().Leader() != "":
			alone = time.Time{}
			r.waits.Store(nil)
		case alone.IsZero():
			alone = r.config.Now()
		case !r.node().Admitted() || r.config.Now().Sub(alone) > leaderless:
			r.knock(ctx)
		}
		if since := r.config.Now().Sub(alone); !alone.IsZero() && since > leaderless {
			r.explain(since)
		}
	})
}

// leaderless is how long a node hears of no leader until it asks whether it is still a member.
const leaderless = 5 * time.Second

func (r *Replica) tellRoster() {
	me := r.roster.Self()
	founded, cluster := r.node().Founded(), r.view.ClusterID()
	if cluster == "" {
		cluster = me.ClusterID // what the node knew when it started: the state may have lost it, and get it again
	}
	if me.Founded == founded && me.ClusterID == cluster {
		return
	}
	err := r.roster.Change(func(me *roster.Member) { me.Founded, me.ClusterID = founded, cluster })
	if err != nil {
		r.config.Log.Warn("gossip did not take this node's news; it tries again", "error", err)
	}
}

// tellWhom has the other nodes of the configuration told of what cannot wait for the log, and no one else. Which gossip takes
// for dead is perhaps only cut off, and is to be told as soon as it can be reached. A node that is of no cluster has nothing to
// tell, and what it connected would end with the first word of one that is.
func (r *Replica) tellWhom() {
	if r.node() == nil || r.view.ClusterID() == "" {
		return
	}
	nodes := map[string]string{}
	for _, n := range r.Others() {
		nodes[n.ID] = n.Address
	}
	r.notices.To(nodes)
}

// bootstrap makes the first configuration if this node may: alone, or once as many voters as
// expected have met, all expect the same, and every one of them says itself that nothing is agreed on yet,
// and that it has made the same configuration or none.
// If one is part of a cluster, this node waits to be added to that one.
func (r *Replica) bootstrap(ctx context.Context) {
	if r.role() != record.NodeVoter {
		return
	}
	self := consensus.Server{ID: r.config.ID, Address: r.config.Address, Voter: true}
	if r.config.Expect <= 1 {
		if !r.config.Joins {
			r.bootstrapWith([]consensus.Server{self})
		}
		return
	}
	voters := []consensus.Server{self}
	for _, m := range r.roster.Members() {
		if m.ID == r.config.ID || m.State != stateAlive || m.Role != string(record.NodeVoter) {
			continue
		}
		if m.ClusterID != "" || m.Expect != r.config.Expect {
			return
		}
		voters = append(voters, consensus.Server{ID: m.ID, Address: m.PeerAddr, Voter: true})
	}
	if len(voters) != r.config.Expect {
		return
	}
	slices.SortFunc(voters, func(a, b consensus.Server) int { return cmp.Compare(a.ID, b.ID) })
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	agree := r.ask(voters, func(s consensus.Server, _ string) bool {
		if s.ID == r.config.ID {
			return true
		}
		got, err := r.stateOf(ctx, s.ID, s.Address)
		return err == nil && got.ClusterID == "" && got.Expect == r.config.Expect &&
			(!got.Founded || !got.Admits || slices.Equal(got.Servers, ids(voters)))
	})
	if slices.Contains(agree, false) {
		return
	}
	r.bootstrapWith(voters)
}

func (r *Replica) bootstrapWith(voters []consensus.Server) {
	if err := r.node().Bootstrap(voters); err != nil {
		r.config.Log.Warn("the cluster was not founded; this node tries again", "error", err)
	}
}

// begin lets this node vote once all voters of the new cluster have its configuration in their logs, or one has seen that they
// had. Else a majority elects a leader before the others have it; and these, without a log, could be voters that lost theirs.
func (r *Replica) begin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	servers, _ := r.node().Servers()
	err := r.until(ctx, func() bool {
		var begun atomic.Bool
		founded := r.ask(servers, func(s consensus.Server, addr string) bool {
			got, err := r.stateOf(ctx, s.ID, addr)
			same := err == nil && got.Founded && slices.Equal(got.Servers, ids(servers))
			begun.CompareAndSwap(false, same && got.Begun)
			return same
		})
		return begun.Load() || !slices.Contains(founded, false)
	})
	if err == nil {
		r.node().Admit()
	}
}

// role is what this node is to be: as it was configured, or as an operator has made it since.
func (r *Replica) role() record.NodeRole { return record.NodeRole(r.roster.Self().Role) }

func (r *Replica) takeRole(role record.NodeRole) error {
	if role != record.NodeVoter && role != record.NodeReplica {
		return record.Invalid("%q is no role of a node", role)
	}
	if err := r.config.KeepRole(role); err != nil {
		return err
	}
	r.config.Log.Info("an operator gave this node its role", "role", role)
	return r.roster.Change(func(me *roster.Member) { me.Role = string(role) })
}

// admitCall is a node's question whether it may take part. New says that it has no log.
type admitCall struct {
	New  bool            `cbor:"1,keyasint,omitempty"`
	Role record.NodeRole `cbor:"2,keyasint,omitempty"`
}

type admission struct {
	Removed bool `cbor:"1,keyasint,omitempty"`
}

// answerAdmit is for who leads. A new node under the id of a voter is demoted first: it knows nothing of what
// that voter promised, and would vote as if it had promised nothing. It is promoted again as any other, once
// it has everything. It is not let in while the voter is there.
func (r *Replica) answerAdmit(ctx context.Context, from string, in admitCall) (admission, error) {
	if _, ok := r.confirmed(ctx, r.node().Term()); !ok || r.view.ClusterID() == "" {
		return admission{}, callError{codeNotLeader, consensus.ErrNotLeader}
	}
	servers, basedOn := r.node().Servers()
	at := indexOf(servers, from)
	switch {
	case at < 0:
		return admission{Removed: wasRemoved(!in.New, in.Role)}, nil
	case in.New && r.lives(ctx, servers[at]):
		return admission{}, fmt.Errorf("node %s runs at %s, and there is one of each id: give this one another --node-id", from, servers[at].Address)
	case in.New && servers[at].Voter:
		r.config.Log.Warn("a voter came back with an empty data directory; it only follows until it has everything", "node", from)
		return admission{}, r.node().Demote(from, basedOn)
	}
	return admission{}, nil
}

// lives tells whether the node is where the configuration has it, with what it agreed on: who comes as that node with nothing
// is another, which was given its id by mistake. To demote it for that could leave those that cannot decide anything.
func (r *Replica) lives(ctx context.Context, s consensus.Server) bool {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	state, err := r.stateOf(ctx, s.ID, s.Address)
	return err == nil && state.Founded
}

// errRemoved ends a node whose id was removed while it was away.
func errRemoved(id string) error {
	return fmt.Errorf("node %s was removed from its cluster while it was away, and is not let in with what it has on its disk; to have it join again, move its data directory away and start it with an empty one, or give it another --node-id", id)
}

// leader is the node that this one takes for the leader; of a node that was removed, who told it so.
func (r *Replica) leader() string {
	id := r.node().Leader()
	if guide := r.guide.Load(); id == "" && guide != nil {
		return *guide
	}
	return id
}

// knock asks who leads whether this node may take part. Nodes of the version before know no such question,
// and expect nobody to ask.
func (r *Replica) knock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*statusLimit) // who leads asks others before it answers
	defer cancel()
	isNew := !r.node().Founded()
	var others []consensus.Server
	for _, m := range r.roster.Members() {
		if m.ID != r.config.ID && m.State == stateAlive {
			others = append(others, consensus.Server{ID: m.ID, Address: m.PeerAddr})
		}
	}
	var removed atomic.Bool
	var denied atomic.Pointer[string]
	let := r.ask(others, func(s consensus.Server, addr string) bool {
		got, err := call[admitCall, admission](ctx, r.peers, addr, s.ID, pathAdmit, admitCall{New: isNew, Role: r.role()})
		if err == nil {
			if removed.Store(got.Removed); got.Removed {
				r.guide.Store(&s.ID)
			}
			return !got.Removed
		}
		var refused *peer.RemoteError
		if errors.As(err, &refused) && refused.Code == "" {
			denied.Store(&refused.Detail)
		}
		state, asked := r.stateOf(ctx, s.ID, addr)
		return asked == nil && !state.Admits && state.ClusterID != ""
	})
	r.denied.Store(denied.Load())
	switch {
	case removed.Load():
		if r.Pending() == 0 { // else the guide has it brought into the log first
			r.config.Failed(errRemoved(r.config.ID))
		}
	case slices.Contains(let, true):
		r.node().Admit()
	}
}

// memberGone is asked for by a node that leaves, when it is ready.
const memberGone record.MemberAction = "gone"

type memberAnswer struct {
	record.MemberChanged
	Rejection *record.Rejection `cbor:"4,keyasint,omitempty"`
}

// ChangeMember has the leader do what an operator wants of a node, and blocks until it is in the log, or the
// context ends. A node that is told to leave does the rest by itself. Errors are as Propose's.
func (r *Replica) ChangeMember(ctx context.Context, c record.MemberChange) (record.MemberChanged, error) {
	ctx, cancel := context.WithTimeout(ctx, memberLimit)
	defer cancel()
	for {
		got, err := r.changeOnce(ctx, c)
		switch {
		case err == nil && got.Rejection != nil:
			return got.MemberChanged, got.Rejection
		case err == nil && c.Action == record.MemberLeave && c.Node != r.config.ID:
			return r.awaitGone(ctx, got.MemberChanged)
		case err == nil:
			return got.MemberChanged, nil
		case !errors.Is(err, consensus.ErrNotLeader) && !errors.Is(err, record.ErrOutcomeUnknown):
			return got.MemberChanged, err
		}
		select {
		case <-ctx.Done():
			return got.MemberChanged, noLeader()
		case <-time.After(pauseBetweenTries):
		}
	}
}

// memberLimit is below what the client waits (client.DefaultTimeout): who asks is to hear why nothing was changed.
const memberLimit = 12 * time.Second

func (r *Replica) changeOnce(ctx context.Context, c record.MemberChange) (memberAnswer, error) {
	if r.node().IsLeader() {
		return r.answerMember(ctx, r.config.ID, c)
	}
	leader := r.node().Leader()
	addr, ok := r.addressOf(leader)
	if leader == "" || leader == r.config.ID || !ok {
		return memberAnswer{}, consensus.ErrNotLeader
	}
	got, err := call[record.MemberChange, memberAnswer](ctx, r.peers, addr, leader, pathMember, c)
	return got, forwardError(err)
}

// awaitGone waits until a node that was told to leave is no longer in the configuration.
func (r *Replica) awaitGone(ctx context.Context, c record.MemberChanged) (record.MemberChanged, error) {
	c.Done = r.until(ctx, func() bool {
		servers, _ := r.node().Servers()
		return indexOf(servers, c.Node) < 0
	}) == nil
	if c.Detail = "it has left"; !c.Done {
		c.Detail = "it is still leaving: its log says what it waits for, and `veto cluster` when it has left"
	}
	return c, nil
}

// answerMember is for who leads: one change at a time, each based on the configuration that it was judged by.
func (r *Replica) answerMember(ctx context.Context, from string, c record.MemberChange) (memberAnswer, error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	if _, ok := r.confirmed(ctx, r.node().Term()); !ok {
		return memberAnswer{}, callError{codeNotLeader, consensus.ErrNotLeader}
	}
	servers, basedOn := r.node().Servers()
	at := indexOf(servers, c.Node)
	if at < 0 {
		return memberAnswer{Rejection: record.NotFound("the cluster has no node %q; `veto cluster` names those that it has", c.Node)}, nil
	}
	answering := r.answering(ctx, servers)
	change := memberOf{replica: r, server: servers[at], servers: servers, basedOn: basedOn, answers: slices.Contains(answering, c.Node), answering: answering}
	out := memberAnswer{MemberChanged: record.MemberChanged{Node: c.Node, Done: true}}
	var err error
	switch c.Action {
	case record.MemberLeave:
		out.Done = false
		out.Detail, err = change.leave(ctx)
	case memberGone:
		err = change.letGo(from)
	case record.MemberRemove:
		out.Detail, err = change.remove(ctx, c.Force)
	case record.MemberPromote:
		out.Detail, err = change.promote(ctx)
	case record.MemberDemote:
		out.Detail, err = change.demote(ctx)
	default:
		err = record.Invalid("there is no %q of a node", c.Action)
	}
	switch {
	case errors.As(err, &out.Rejection):
		return out, nil
	case errors.Is(err, consensus.ErrNotLeader):
		return out, callError{codeNotLeader, err}
	}
	return out, err
}

// answering are the ids of the servers that answer.
func (r *Replica) answering(ctx context.Context, servers []consensus.Server) (list []string) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	for i, ok := range r.ask(servers, func(s consensus.Server, addr string) bool {
		_, err := r.stateOf(ctx, s.ID, addr)
		return err == nil
	}) {
		if ok {
			list = append(list, servers[i].ID)
		}
	}
	return list
}

// until waits for what is looked at again and again.
func (r *Replica) until(ctx context.Context, ok func() bool) error {
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pauseBetweenTries):
		}
	}
	return nil
}
