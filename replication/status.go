package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"veto/record"
	"veto/record/trail"
	"veto/replication/consensus"
	"veto/replication/machine"
	"veto/replication/peer"
)

const statusLimit = time.Second

// EnforcedOn names the nodes on which what was accepted is in force, and those that have not
// said so. With all, it asks the other nodes and waits for them until the context ends; without,
// it answers for this node alone and does not block.
func (r *Replica) EnforcedOn(ctx context.Context, a record.Accepted, all bool) (on, pending []string) {
	servers, _ := r.node().Servers()
	reached := make([]bool, len(servers))
	if all {
		reached = r.ask(servers, func(s consensus.Server, addr string) bool {
			if s.ID == r.config.ID {
				return r.inForce(ctx, a) == nil
			}
			got, err := r.awaitAt(ctx, s.ID, addr, a, record.Digest{})
			return err == nil && got
		})
	} else { // then nothing is waited for
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for i, s := range servers {
			reached[i] = s.ID == r.config.ID && r.inForce(ended, a) == nil
		}
	}
	on, pending = []string{}, []string{}
	for i, s := range servers {
		if reached[i] {
			on = append(on, s.ID)
		} else {
			pending = append(pending, s.ID)
		}
	}
	return on, pending
}

// errNotDenied says that a node answered that it does not deny what it was asked for.
var errNotDenied = errors.New("the node does not deny it yet")

// Denies asks another node, and blocks until that has said that it denies the name, which was
// accepted here; otherwise it returns why not.
func (r *Replica) Denies(ctx context.Context, nodeID string, a record.Accepted, n record.Name) error {
	addr, ok := r.addressOf(nodeID)
	if !ok {
		return fmt.Errorf("nobody knows where node %s is", nodeID)
	}
	got, err := r.awaitAt(ctx, nodeID, addr, a, r.view.Digest(n))
	if err == nil && !got {
		return errNotDenied
	}
	return err
}

// awaitAt asks another node to wait until what was accepted is in force there, and the digest, if it is not
// zero, denied; until the context ends, and longestAwait at most.
func (r *Replica) awaitAt(ctx context.Context, id, addr string, a record.Accepted, d record.Digest) (bool, error) {
	limit := longestAwait
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	return call[awaitCall, bool](ctx, r.peers, addr, id, pathAwait, awaitCall{
		Revision: a.Revision, Outbox: a.Outbox, Number: a.Number, Millis: limit.Milliseconds(), Digest: d,
	})
}

// Others are the other nodes that the log has, with what gossip says of them.
func (r *Replica) Others() []record.NodeStatus {
	servers, _ := r.node().Servers()
	return slices.DeleteFunc(r.nodes(), func(n record.NodeStatus) bool {
		return n.ID == r.config.ID || !slices.ContainsFunc(servers, func(s consensus.Server) bool { return s.ID == n.ID })
	})
}

// ask calls f for all servers at once and waits for all.
func (r *Replica) ask(servers []consensus.Server, f func(s consensus.Server, addr string) bool) []bool {
	answers := make([]bool, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		addr, ok := r.addressOf(s.ID)
		if !ok {
			addr = s.Address
		}
		wg.Go(func() { answers[i] = f(s, addr) })
	}
	wg.Wait()
	return answers
}

// Status is the cluster as this node sees it. It asks every node and takes up to a second.
func (r *Replica) Status(ctx context.Context) record.ClusterStatus {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	nodes := r.nodes()
	servers := make([]consensus.Server, len(nodes))
	for i, n := range nodes {
		servers[i] = consensus.Server{ID: n.ID, Address: n.Address}
	}
	states, at := make([]nodeState, len(nodes)), make([]time.Time, len(nodes)) // and when they said so, about
	answered := r.ask(servers, func(s consensus.Server, addr string) bool {
		i := indexOf(servers, s.ID)
		var err error
		asked := r.config.Now()
		states[i], err = r.stateOf(ctx, s.ID, addr)
		at[i] = asked.Add(r.config.Now().Sub(asked) / 2)
		if err != nil {
			nodes[i].Why, nodes[i].Refused = err.Error(), refusedFor(err)
		}
		return err == nil
	})
	for i := range nodes {
		nodes[i].LagMillis = -1
		if !answered[i] {
			continue
		}
		nodes[i].Applied, nodes[i].Version, nodes[i].Region = states[i].Revision, states[i].Version, states[i].Region
		nodes[i].Pepper, nodes[i].Level = states[i].Pepper, states[i].level()
		nodes[i].Wants, nodes[i].Pending = states[i].Role, states[i].Pending
		if states[i].Admits { // a node of the version before says nothing of these
			nodes[i].Host, nodes[i].ClockMillis = &states[i].Host, states[i].Now.Sub(at[i]).Milliseconds()
		}
		r.compareTrails(&nodes[i], states[i].AuditHead)
		if !states[i].AsOf.IsZero() {
			nodes[i].LagMillis = max(0, r.config.Now().Sub(states[i].AsOf).Milliseconds())
		}
	}
	leaked, err := r.view.Leaked(r.config.Now())
	if err != nil {
		r.config.Log.Warn("the API keys that have leaked could not be counted", "error", err)
	}
	return record.ClusterStatus{
		ID: r.view.ClusterID(), Leader: r.node().Leader(), Revision: r.index.Revision(), Level: r.view.Level(), LeakedKeys: leaked, Nodes: nodes,
	}
}

// refusedFor is for what one of two nodes refuses the other, if that is what a call failed with.
func refusedFor(err error) record.Refused {
	var refused *peer.RefusedError
	switch {
	case !errors.As(err, &refused):
		return ""
	case refused.Cluster:
		return record.RefusedCluster
	}
	return record.RefusedCertificate
}

// Leaked is how many API keys go on of which a secret is known where anyone can read it.
func (v *View) Leaked(now time.Time) (count int, err error) {
	q := record.KeyQuery{State: record.KeyLeaked}
	for _, id := range v.index.Keys().Marked() {
		k, there, err := v.Key(id)
		if err == nil && there {
			there, err = q.Finds(&k, now, func() (bool, error) { return v.isRevoked(&k) })
		}
		if err != nil {
			return count, err
		}
		if there {
			count++
		}
	}
	return count, nil
}

// compareTrails says whether a node's audit trail is the one that is here.
func (r *Replica) compareTrails(n *record.NodeStatus, head trail.Head) {
	if head.Sequence == 0 {
		return
	}
	n.AuditHead = head.String()
	agreement, err := r.view.AuditAgrees(head)
	if err != nil {
		r.config.Log.Warn("the audit trail cannot be compared with another node's", "of", n.ID, "error", err)
	}
	n.Audit = agreement
}

// nodes joins what the log says of the nodes with what gossip says.
func (r *Replica) nodes() []record.NodeStatus {
	servers, _ := r.node().Servers()
	byID := map[string]record.NodeStatus{}
	for _, s := range servers {
		role := record.NodeReplica
		if s.Voter {
			role = record.NodeVoter
		}
		byID[s.ID] = record.NodeStatus{ID: s.ID, Role: role, Address: s.Address, State: "unknown", Member: true}
	}
	for _, m := range r.roster.Members() {
		n, ok := byID[m.ID]
		if !ok {
			if m.State != stateAlive {
				continue
			}
			n = record.NodeStatus{ID: m.ID, Role: record.NodeRole(m.Role)}
		}
		n.Address, n.State, n.Region, n.Version = cmp.Or(m.PeerAddr, n.Address), m.State, m.Region, m.Version
		byID[m.ID] = n
	}
	list := make([]record.NodeStatus, 0, len(byID))
	for _, n := range byID {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b record.NodeStatus) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Audit lists the audit trail behind an entry, in its order.
func (v *View) Audit(after trail.Entry, limit int) ([]trail.Entry, error) {
	key := record.AuditKey(after.Revision, after.Number)
	items, _, err := list[trail.Entry](v.store, record.TableAudit, string(key[1:]), limit, nil)
	return items, err
}

// AuditHead is the last entry of the audit trail's chain; zero if the chain has not begun.
func (v *View) AuditHead() (trail.Head, error) {
	h, _, err := machine.AuditHead(v.store)
	return h, err
}

// AuditAnchor is the last entry that was removed, as it was older than entries are kept; zero if none was.
func (v *View) AuditAnchor() (trail.Head, error) {
	h, _, err := machine.AuditAnchor(v.store)
	return h, err
}

// mostCut is how many entries are looked at, and removed, at a time.
const mostCut = 10_000

// auditCut is the last of the oldest entries that all were made before a time, but not the head, and when the oldest
// was made; with no hash if there is none of the chain.
func (v *View) auditCut(before time.Time) (cut record.CutAudit, oldest time.Time, err error) {
	head, err := v.AuditHead()
	if err != nil {
		return cut, oldest, err
	}
	first := true
	_, _, err = list(v.store, record.TableAudit, "", mostCut, func(e *trail.Entry) (bool, error) {
		if first {
			oldest, first = e.At, false
		}
		if !e.At.Before(before) {
			return false, errStop
		}
		if e.Sequence > 0 && e.Sequence < head.Sequence {
			cut = record.CutAudit{Through: e.Revision, Number: e.Number, Hash: e.Hash}
		}
		return true, nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return cut, oldest, err
}

var errStop = errors.New("there are no older entries")

// AuditAgrees tells whether the trail here holds another node's head; empty if it does not reach so
// far, or not so far back.
func (v *View) AuditAgrees(with trail.Head) (record.AuditAgreement, error) {
	here, err := v.AuditHead()
	if err != nil || with.Sequence == 0 || here.Sequence < with.Sequence {
		return "", err
	}
	if anchor, err := v.AuditAnchor(); err != nil || with.Sequence < anchor.Sequence {
		return "", err
	} else if with.Sequence == anchor.Sequence && with.Hash == anchor.Hash {
		return record.AuditAgrees, nil
	}
	e, _, err := one[trail.Entry](v.store, record.AuditKey(with.Revision, with.Number))
	if err != nil || e.Hash != with.Hash {
		return record.AuditDiffers, err
	}
	return record.AuditAgrees, nil
}

// survey tells autopilot what gossip and the nodes themselves say. Used by the pilot of one
// term, so it counts anew how long a node has been dead.
type survey struct {
	replica *Replica

	mu   sync.Mutex
	dead map[string]time.Time // since when
}

func newSurvey(r *Replica) *survey {
	return &survey{replica: r, dead: map[string]time.Time{}}
}

// Known includes nodes that gossip has forgotten but the log has not, as failed in time.
func (s *survey) Known() []consensus.Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	var known []consensus.Known
	for _, n := range s.replica.nodes() {
		k := consensus.Known{
			ID: n.ID, Address: n.Address, Version: n.Version,
			Replica: s.isReplica(n.ID), Alive: n.State == stateAlive,
		}
		if k.Alive {
			delete(s.dead, n.ID)
		} else if _, ok := s.dead[n.ID]; !ok {
			s.dead[n.ID] = s.replica.config.Now()
		}
		k.Failed = !k.Alive && s.deadTooLong(n)
		known = append(known, k)
	}
	return known
}

func (s *survey) deadTooLong(n record.NodeStatus) bool {
	limit := deadVoterLimit
	if n.Role == record.NodeReplica {
		limit = deadReplicaLimit
	}
	return s.replica.config.Now().Sub(s.dead[n.ID]) > limit
}

// isReplica is what gossip says.
func (s *survey) isReplica(id string) bool {
	for _, m := range s.replica.roster.Members() {
		if m.ID == id {
			return m.Role == string(record.NodeReplica)
		}
	}
	return false
}

// Replica asks the server itself.
func (s *survey) Replica(ctx context.Context, id, address string) (replica, ok bool) {
	state, err := s.replica.stateOf(ctx, id, address)
	return state.Role == record.NodeReplica, err == nil
}

// Health asks the servers how far they are.
func (s *survey) Health(ctx context.Context, servers []consensus.Known) map[string]consensus.Health {
	list := make([]consensus.Server, len(servers))
	for i, k := range servers {
		list[i] = consensus.Server{ID: k.ID, Address: k.Address}
	}
	health := map[string]consensus.Health{}
	s.replica.ask(list, func(srv consensus.Server, addr string) bool {
		state, err := s.replica.stateOf(ctx, srv.ID, addr)
		if err != nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		health[srv.ID] = consensus.Health{
			LastContact: time.Duration(state.ContactMillis) * time.Millisecond,
			Term:        state.Term, Index: state.LastIndex,
		}
		return true
	})
	return health
}

// explain says what a node waits for that hears of no leader, again from time to time.
func (r *Replica) explain(since time.Duration) {
	var met, founded []string
	for _, m := range r.roster.Members() {
		if m.ID == r.config.ID || m.State != stateAlive {
			continue
		}
		if met = append(met, m.ID); m.ClusterID != "" {
			founded = append(founded, m.ID)
		}
	}
	servers, _ := r.node().Servers()
	why := "this node is part of no cluster yet: it waits "
	switch {
	case r.node().Admitted() && r.node().Founded():
		why = leaderlessOf(servers, append(met, r.config.ID))
	case r.node().Founded():
		why += fmt.Sprintf("until all of %s have the first configuration of the new cluster, of which it has met %s", said(ids(servers)), said(met))
	case len(founded) > 0 && r.denied.Load() != nil:
		why += fmt.Sprintf("for the leader of the cluster of %s, which does not let it in: %s", strings.Join(founded, " "), *r.denied.Load())
	case len(founded) > 0:
		why += fmt.Sprintf("for the leader of the cluster of %s to let it in; the log of that one says why if it does not", strings.Join(founded, " "))
	case r.config.Expect > 1 && r.role() == record.NodeVoter:
		why += fmt.Sprintf("until %d voters with the same --bootstrap-expect have met, and has met %s", r.config.Expect, said(met))
	default:
		why += fmt.Sprintf("to be added to one, and of the nodes in --join has met %s, which are part of none either; with --join and --bootstrap-expect 1 a node founds none: to found one of 3, give --bootstrap-expect 3 on each; of this node alone, leave out --join", said(met))
	}
	if was := r.waits.Swap(&why); was == nil || *was != why || since%explainEvery < time.Second {
		r.config.Log.Warn(why)
	}
}

// leaderlessOf says why there may be no leader, where those nodes are there.
func leaderlessOf(servers []consensus.Server, there []string) string {
	var voters, met []string
	for _, s := range servers {
		if s.Voter {
			voters = append(voters, s.ID)
			if slices.Contains(there, s.ID) {
				met = append(met, s.ID)
			}
		}
	}
	why := fmt.Sprintf("it hears of no leader: of the voters %s, %d must reach each other, and it has met %s", said(voters), len(voters)/2+1, said(met))
	if len(met) > len(voters)/2 {
		return why + "; their logs say why none of them leads"
	}
	return why + "; start the others with their disks or, if these are lost for good, see `veto cluster recover --help`"
}

const explainEvery = 30 * time.Second

func said(nodes []string) string {
	if len(nodes) == 0 {
		return "none"
	}
	return strings.Join(nodes, " ")
}

// Waits says what this node waits for that hears of no leader; empty if it does, or has only just begun.
func (r *Replica) Waits() string {
	if why := r.waits.Load(); why != nil {
		return *why
	}
	return ""
}
