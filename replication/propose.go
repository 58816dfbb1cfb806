package replication

import (
	"context"
	"errors"
	"slices"
	"time"

	"veto/record"
	"veto/replication/consensus"
	"veto/replication/machine"
	"veto/replication/peer"
)

const (
	defaultProposeLimit = 5 * time.Second
	pauseBetweenTries   = 50 * time.Millisecond
	localWait           = 2 * time.Second
	retryAfter          = time.Second
)

// othersFor is for how long a stream takes it that those who have changed something will again.
const othersFor = time.Second

// MostLines is how many lines part of a stream may have that is proposed now. While others change things, it is as few as were ever
// allowed: what is proposed after two parts is in the log when these are applied on all nodes.
func (r *Replica) MostLines() int {
	if r.config.Now().UnixMilli()-r.awaited.Load() < othersFor.Milliseconds() {
		return record.MaxImportAt(record.LevelFirst)
	}
	return record.MaxImportAt(r.view.Level())
}

// isAwaited tells whether the changes of a command are what somebody may wait for: not part of a stream, and not the canary's.
func isAwaited(changes []record.Change) bool {
	if len(changes) > record.MaxRevocations+1 { // with how far an outbox has come
		return false
	}
	return slices.ContainsFunc(changes, func(c record.Change) bool {
		switch item := c.Record.(type) {
		case *record.Revocation:
			return !item.OfCanary()
		case *record.Delivered:
			return false
		}
		return true
	})
}

// Propose brings the command to the leader, wherever it is called, and blocks until it is
// committed and, unless this node lags far behind, in force here. The command's Stamp is the
// leader's. A command that was understood and refused gives the *record.Rejection; with no
// leader in time, *record.Unavailable; record.ErrOutcomeUnknown when nobody can tell.
func (r *Replica) Propose(ctx context.Context, c record.Command) (record.Result, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultProposeLimit)
		defer cancel()
	}
	c.From = r.origin(c.By, c.From)
	if !r.knownToAll(&c) {
		return record.Result{}, olderNodes()
	}
	result, err := r.tryUntilNewest(ctx, c)
	if err != nil {
		return record.Result{}, err
	}
	if result.Rejection != nil {
		return result, result.Rejection
	}
	wait, cancel := context.WithTimeout(ctx, localWait)
	defer cancel()
	// The command is committed whether or not this node has caught up with it in time.
	if err := r.index.Await(wait, result.Revision); err != nil {
		r.config.Log.Warn("this node lags behind a change that it took", "revision", result.Revision)
	}
	return result, nil
}

// knownToAll tells whether all nodes know what the command asks for: those that do not would stop, or do
// it by half.
func (r *Replica) knownToAll(c *record.Command) bool {
	at := r.view.Level()
	return at >= record.LevelNewest || c.Level() <= at
}

func olderNodes() *record.Rejection {
	return &record.Rejection{
		Reason: record.ReasonOlderNodes,
		Detail: "some nodes run an older version, which does not know this; `veto cluster` names them: upgrade them, and send it again",
	}
}

// tryUntilNewest makes the hashes of new secrets by the newest pepper, and again if there is one by then
// of which this node had not heard.
func (r *Replica) tryUntilNewest(ctx context.Context, c record.Command) (record.Result, error) {
	plain := c.Body
	for {
		var err error
		if c.Body, err = r.index.Keys().Peppered(plain, r.view.Level()); err != nil {
			return record.Result{}, err
		}
		result, err := r.tryUntilLeader(ctx, c)
		if err != nil || result.Rejection == nil || result.Rejection.Reason != record.ReasonPepperChanged {
			return result, err
		}
		if err := r.index.Await(ctx, result.Revision); err != nil {
			return record.Result{}, &record.Unavailable{Detail: "this node lags behind a change of the pepper of API keys; send it again", RetryAfter: retryAfter}
		}
	}
}

// origin completes the way by which a command came: to this node, unless another is named.
func (r *Replica) origin(by string, o record.Origin) record.Origin {
	if o.Node == "" {
		o.Node = r.config.ID
	}
	if o.Way == "" && by == "" {
		o.Way = record.WayCluster
	}
	return o
}

// tryUntilLeader goes on while nobody leads, and, if the command may be proposed twice, while a
// leader was lost with it.
func (r *Replica) tryUntilLeader(ctx context.Context, c record.Command) (record.Result, error) {
	lost := false
	for {
		result, err := r.tryOnce(ctx, c)
		if errors.Is(err, record.ErrOutcomeUnknown) && repeatable(c) {
			lost = true
		} else if !errors.Is(err, consensus.ErrNotLeader) {
			if lost && err == nil && isFinal(result.Rejection) {
				return record.Result{}, record.ErrOutcomeUnknown
			}
			return result, err
		}
		select {
		case <-ctx.Done():
			if lost {
				return record.Result{}, record.ErrOutcomeUnknown
			}
			return record.Result{}, noLeader()
		case <-time.After(pauseBetweenTries):
		}
	}
}

func noLeader() *record.Unavailable {
	return &record.Unavailable{
		Detail:     "the cluster has no leader just now, so nothing can be changed; `veto cluster` shows which nodes are missing",
		RetryAfter: retryAfter,
	}
}

// isFinal tells whether nobody tries again who is refused so. What was refused at a second try may yet be done
// by the first, if it comes late.
func isFinal(r *record.Rejection) bool {
	return r != nil && r.Reason != record.ReasonGap && r.Reason != record.ReasonPepperChanged
}

// repeatable tells whether a command that is in the log twice is done once: by its key, by its
// numbers, or because revocations are a set.
func repeatable(c record.Command) bool {
	return c.Request.Key != "" || c.Body.Kind() == record.KindRevoke || c.Body.Kind() == record.KindDeliver
}

func (r *Replica) tryOnce(ctx context.Context, c record.Command) (record.Result, error) {
	if r.node().IsLeader() {
		return r.proposeHere(ctx, c)
	}
	leader := r.leader()
	addr, ok := r.addressOf(leader)
	if leader == "" || leader == r.config.ID || !ok {
		return record.Result{}, consensus.ErrNotLeader
	}
	body, err := c.Encode()
	if err != nil {
		return record.Result{}, err
	}
	result, err := call[[]byte, record.Result](ctx, r.peers, addr, leader, pathPropose, body)
	return result, forwardError(err)
}

// forwardError restores what the leader's answer meant. A call that may have reached the
// leader and got no answer leaves the outcome unknown.
func forwardError(err error) error {
	var remote *peer.RemoteError
	if errors.As(err, &remote) {
		switch remote.Code {
		case codeNotLeader:
			return consensus.ErrNotLeader
		case codeUnknown:
			return record.ErrOutcomeUnknown
		}
		return err
	}
	var failed *peer.CallError
	if errors.As(err, &failed) {
		if failed.Sent {
			return record.ErrOutcomeUnknown
		}
		return consensus.ErrNotLeader
	}
	return err
}

// proposeHere stamps the command with this leader's time and logs it. It does not lead before it has heard
// what time it is elsewhere.
func (r *Replica) proposeHere(ctx context.Context, c record.Command) (record.Result, error) {
	ctx, end := r.step(ctx, "log", "")
	defer end()
	h := r.heard.Load()
	if h == nil || h.term != r.node().Term() {
		return record.Result{}, consensus.ErrNotLeader
	}
	now := r.config.Now()
	c.Stamp = now.UTC().Truncate(time.Millisecond)
	if r.view.Level() >= record.LevelKeys {
		c.Ahead = h.aheadAt(now)
	}
	if past, err := machine.ExpiryInPast(r.applier.store, c); past != nil || err != nil {
		return record.Result{Rejection: past}, err
	}
	b, err := c.Encode()
	if err != nil {
		return record.Result{}, err
	}
	return r.node().Propose(ctx, b)
}

// answerPropose takes a command that another node forwards.
func (r *Replica) answerPropose(ctx context.Context, body []byte) (record.Result, error) {
	c, err := record.DecodeCommand(body)
	if err != nil {
		return record.Result{}, err
	}
	if !r.knownToAll(&c) {
		return record.Result{Rejection: olderNodes()}, nil
	}
	result, err := r.proposeHere(ctx, c)
	switch {
	case errors.Is(err, consensus.ErrNotLeader):
		return result, callError{codeNotLeader, err}
	case errors.Is(err, record.ErrOutcomeUnknown):
		return result, callError{codeUnknown, err}
	}
	return result, err
}
