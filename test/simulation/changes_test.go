package simulation

import (
	"context"
	"fmt"
	"time"

	"veto/record"
	"veto/test/history"
)

// pending is a revocation of which it was answered that it will be in the log.
type pending struct {
	one      *credential
	accepted record.Accepted
}

// revoke has a credential denied for good, or until its owner lifts it; it tells what is known of it.
func (c client) revoke(node int, one *credential) (known, accepted bool) {
	c.touch(one)
	r := record.Revocation{Name: one.names[c.random.IntN(len(one.names))]}
	if r.Dated() && c.random.IntN(3) == 0 {
		r.NotBefore = c.right().UTC().Truncate(time.Second).Add(2 * time.Second)
	}
	t := record.Taken{Revocation: r}
	if c.random.IntN(3) == 0 {
		t.Request = record.Request{Key: fmt.Sprint("r", c.made.Add(1)), Sum: [32]byte{1}}
	}
	wait := time.Duration(max(0, c.random.IntN(1500)-200)) * time.Millisecond
	one.mu.Lock()
	one.name = r.Name
	one.mu.Unlock()
	known, accepted = c.revokeOnce(node, one, t, wait)
	// Asked again, elsewhere, there may be two of whom one is in no log yet, and goes on to deny when the
	// other was lifted: so its owner does not know any more.
	for tries := 0; !known && t.Request.Key != "" && tries < 2; tries++ {
		_, also := c.revokeOnce(c.random.IntN(nodes), one, t, wait)
		accepted = accepted || also
	}
	return known, accepted
}

// burst revokes some at one node, which has the next before the log has the first, and looks at them there.
func (c client) burst(node int) {
	var all []*credential
	for range 2 + c.random.IntN(4) {
		one := c.newToken(-1)
		all = append(all, one)
		c.touch(one)
		c.revokeOnce(node, one, record.Taken{Revocation: record.Revocation{Name: one.names[0]}}, 0)
	}
	for _, one := range all {
		c.pause(time.Duration(c.random.IntN(100)) * time.Millisecond)
		c.validate(node, one, 0)
	}
}

func (c client) revokeOnce(node int, one *credential, t record.Taken, wait time.Duration) (known, accepted bool) {
	q := history.Question{Credential: one.number, Do: history.Revoke, Node: node}
	known = true // that nothing was done, if the node is down
	c.with(node, wait+5*time.Second, func(ctx context.Context, n *incarnation) {
		call := c.order()
		a, err := n.replica.Revoke(ctx, t, wait)
		o := outcomeOf(n, err)
		switch {
		case o == done && a.Revision > 0:
			c.tally.saw("revoke", "committed")
			accepted = true
			c.note(q, history.Answer{}, call)
			answer := history.Answer{Revision: a.Revision}
			if c.random.IntN(4) == 0 {
				answer.Holds = c.enforcedOn(ctx, n, a)
			}
			c.promise(one, q, answer)
		case o == done:
			c.tally.saw("revoke", "pending")
			known, accepted = false, true
			c.open(q, call)
			c.promise(one, q, history.Answer{Holds: 1 << node})
			c.mu.Lock()
			c.pendings = append(c.pendings, pending{one, a})
			c.mu.Unlock()
		default:
			c.tally.saw("revoke", o.String())
			c.tell("%s by %+v on %s: %s: %v", one, t.Revocation.Name, nodeID(node), o, err)
			// Of a key that was deleted meanwhile the log refuses what its notices have denied until then.
			if known = o == refused; !known || one.key != "" {
				c.open(q, call)
			}
		}
	})
	return known, accepted
}

// enforcedOn asks which nodes enforce what was accepted.
func (c client) enforcedOn(ctx context.Context, n *incarnation, a record.Accepted) (bits uint) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	on, _ := n.replica.EnforcedOn(ctx, a, true)
	if n.dead.Load() {
		return 0
	}
	for _, id := range on {
		bits |= 1 << numberOfNode(id)
	}
	return bits
}

// toggle revokes or disables what its owner has lifted or enabled, and the other way round. Once the owner
// does not know what is so, it leaves it alone.
func (c client) toggle(node int, one *credential) {
	one.mu.Lock()
	stuck, revoked, disabled := one.stuck, one.revoked, one.disabled
	one.mu.Unlock()
	var known, now bool
	switch {
	case stuck:
		return
	case !revoked && one.key != "" && c.random.IntN(2) == 0:
		disabled = true
		known, now = c.disable(node, one)
	case !revoked:
		disabled = false
		known, now = c.revoke(node, one)
	default:
		known, now = c.lift(node, one, disabled)
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	one.stuck, one.revoked, one.disabled = !known, now, disabled
	one.promised = !known && now // it is not lifted any more
}

// propose proposes a change; it tells what is known of it.
func (c client) propose(node int, what string, body record.Body, limit time.Duration, then func(o outcome, r record.Revision, call int64)) {
	c.with(node, limit, func(ctx context.Context, n *incarnation) {
		call := c.order()
		r, err := n.replica.Propose(ctx, record.Command{Body: body})
		o := outcomeOf(n, err)
		c.tally.saw(what, o.String())
		if o != done {
			c.tell("%s, %+v on %s: %s: %v", what, body, nodeID(node), o, err)
		}
		if o == done {
			c.saw(r.Revision)
		}
		then(o, r.Revision, call)
	})
}

func (c client) disable(node int, one *credential) (known, off bool) {
	c.touch(one)
	known = true
	yes := true
	c.propose(node, "disable an API key", record.UpdateKey{ID: one.key, Disabled: &yes}, 2*time.Second, func(o outcome, r record.Revision, call int64) {
		q := history.Question{Credential: one.number, Do: history.Revoke, Node: node}
		switch o {
		case done:
			off = true
			c.note(q, history.Answer{}, call)
			c.promise(one, q, history.Answer{Revision: r})
		case unknown:
			known = false
			c.open(q, call)
		}
	})
	return known, off
}

// lift takes back what is known to be there.
func (c client) lift(node int, one *credential, disabled bool) (known, still bool) {
	known, still = true, true
	one.mu.Lock()
	name, since := one.name, one.since
	one.lifts++
	one.since = 0
	one.mu.Unlock()
	n := c.net.whoIs(node)
	if n == nil {
		return known, still
	}
	var body record.Body = record.Lift{Digest: n.view.Digest(name), Reason: "as it was a test"}
	no, what := false, "lift"
	if disabled {
		body, what = record.UpdateKey{ID: one.key, Disabled: &no}, "enable an API key"
	}
	c.propose(node, what, body, 2*time.Second, func(o outcome, r record.Revision, call int64) {
		q := history.Question{Credential: one.number, Do: history.Lift, Node: node}
		switch o {
		case done:
			still = false
			c.note(q, history.Answer{Revision: r}, call)
			one.mu.Lock()
			one.last = max(one.last, r)
			one.mu.Unlock()
		case unknown:
			known = false
			c.open(q, call)
		}
	})
	if !known {
		return false, false
	}
	if still {
		one.mu.Lock()
		one.since = since
		one.mu.Unlock()
	}
	return known, still
}

// endKey takes a secret away: another replaces it, or the key is deleted.
func (c client) endKey(node int, one *credential, roll bool) {
	c.touch(one)
	var body record.Body = record.DeleteKey{ID: one.key}
	what := "delete an API key"
	if roll {
		b := record.RollKey{ID: one.key, Hint: "veto_…", Force: true}
		_, _ = c.secrets.Read(b.Hash[:]) // it never fails
		body, what = b, "roll an API key"
	}
	c.propose(node, what, body, 2*time.Second, func(o outcome, r record.Revision, call int64) {
		q := history.Question{Credential: one.number, Do: history.Revoke, Node: node}
		switch o {
		case done:
			c.note(q, history.Answer{}, call)
			c.promise(one, q, history.Answer{Revision: r})
		case unknown:
			c.open(q, call)
		}
	})
}
