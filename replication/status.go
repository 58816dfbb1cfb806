package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"veto/record"
	"veto/record/trail"
	"veto/replication/consensus"
)

const statusLimit = time.Second

// EnforcedOn names the nodes on which what was accepted is in force, and those that have not
// said so. With all, it asks the other nodes and waits for them until the context ends; without,
// it answers for this node alone and does not block.
func (r *Replica) EnforcedOn(ctx context.Context, a record.Accepted, all bool) (on, pending []string) {
	servers, _ := r.node().Servers()
	reached := r.ask(servers, func(s consensus.Server, addr string) bool {
		if s.ID == r.config.ID {
			if !all {
				ended, cancel := context.WithCancel(ctx)
				cancel()
				return r.inForce(ended, a) == nil
			}
			return r.inForce(ctx, a) == nil
		}
		if !all {
			return false
		}
		limit := longestAwait
		if deadline, ok := ctx.Deadline(); ok {
			limit = time.Until(deadline)
		}
		got, err := call[awaitCall, bool](ctx, r.peers, addr, s.ID, pathAwait,
			awaitCall{Revision: a.Revision, Outbox: a.Outbox, Number: a.Number, Millis: limit.Milliseconds()})
		return err == nil && got
	})
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
	limit := longestAwait
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	got, err := call[awaitCall, bool](ctx, r.peers, addr, nodeID, pathAwait, awaitCall{
		Revision: a.Revision, Outbox: a.Outbox, Number: a.Number, Millis: limit.Milliseconds(), Digest: r.view.Digest(n),
	})
	if err == nil && !got {
		return errNotDenied
	}
	return err
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
		i := slices.IndexFunc(nodes, func(n record.NodeStatus) bool { return n.ID == s.ID })
		var err error
		asked := r.config.Now()
		states[i], err = r.stateOf(ctx, s.ID, addr)
		at[i] = asked.Add(r.config.Now().Sub(asked) / 2)
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
	return record.ClusterStatus{
		ID: r.view.ClusterID(), Leader: r.node().Leader(), Revision: r.index.Revision(), Level: r.view.Level(), Nodes: nodes,
	}
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
		n.Address, n.State, n.Region, n.Version = m.PeerAddr, m.State, m.Region, m.Version
		byID[m.ID] = n
	}
	list := make([]record.NodeStatus, 0, len(byID))
	for _, n := range byID {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b record.NodeStatus) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
