package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"veto/record"
	"veto/replication/consensus"
	"veto/replication/pepper"
)

const (
	beaconEvery    = 250 * time.Millisecond
	confirmLimit   = 400 * time.Millisecond
	barrierLimit   = 10 * time.Second
	expireLook     = 10 * time.Second // how often it is looked whether there is something to drop
	expireEvery    = 10 * time.Minute
	expireMargin   = time.Hour // clocks differ; keeping longer is harmless
	reconcileEvery = 5 * time.Second
)

// lead follows the changes of leadership until ctx ends. All that runs while leading has
// ended before the next begins.
func (r *Replica) lead(ctx context.Context) {
	var stop func()
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case leads := <-r.node().Leading():
			if stop != nil {
				stop()
				stop = nil
			}
			if leads {
				stop = r.beginTerm(ctx)
			}
		}
	}
}

// beginTerm starts what runs while this node leads. The function that it returns ends it and
// waits.
func (r *Replica) beginTerm(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { every(ctx, yieldLook, nil, r.yielding()) })
	wg.Go(func() {
		for !r.established(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pauseBetweenTries):
			}
		}
		pilot := r.node().NewPilot(newSurvey(r), r.config.Aim, r.config.Log)
		pilot.Start(ctx)
		defer pilot.Stop()
		var tasks sync.WaitGroup
		tasks.Go(func() { every(ctx, beaconEvery, nil, r.sendBeacon) })
		tasks.Go(func() { every(ctx, reconcileEvery, r.roster.Changed(), r.reconcile) })
		tasks.Go(func() { every(ctx, expireLook, nil, r.expiry()) })
		tasks.Go(func() { every(ctx, expireEvery, nil, r.cutAudit) })
		tasks.Go(func() { every(ctx, levelEvery, nil, r.raiseLevel) })
		tasks.Go(func() { every(ctx, pepper.TendEvery, r.keeper.Wake(), r.keeper.Tend) })
		for _, f := range r.config.WhileLeading {
			tasks.Go(func() { f(ctx) })
		}
		tasks.Wait()
	})
	return func() { cancel(); wg.Wait() }
}

func (r *Replica) established(ctx context.Context) bool {
	err := r.establish(ctx)
	if err != nil && ctx.Err() == nil && r.node().IsLeader() {
		r.config.Log.Error("this node leads but cannot begin to work; it tries again", "error", err)
	}
	return err == nil
}

var errUnconfirmed = errors.New("the voters have not said that they follow it")

// establish applies all that earlier leaders committed, hears the voters' clocks, and founds the cluster if it is new.
func (r *Replica) establish(ctx context.Context) error {
	if err := r.node().Barrier(barrierLimit); err != nil {
		return err
	}
	if _, ok := r.confirmed(ctx, r.node().Term()); !ok {
		return errUnconfirmed
	}
	if r.view.ClusterID() != "" {
		return nil
	}
	found, err := r.config.Found()
	if err != nil {
		return err
	}
	if l := r.known(ctx); l > record.LevelFirst {
		found.Level = l
	}
	_, err = r.Propose(ctx, record.Command{Body: found})
	var rejected *record.Rejection
	if errors.As(err, &rejected) {
		return nil // another leader has founded it
	}
	return err
}

// sendBeacon tells how far the log reaches, if a majority of the voters confirms that this
// node leads. The time is taken first: whatever happens while it asks, what was committed
// before that time is covered. Replicas have no say, or a leader cut off from the voters
// would pass for one.
func (r *Replica) sendBeacon(ctx context.Context) {
	at, term := r.config.Now(), r.node().Term()
	if _, ok := r.confirmed(ctx, term); !ok {
		return
	}
	r.lessor.Lead(term, at)
	b := record.Beacon{
		Cluster: r.view.ClusterID(), Leader: r.config.ID, Term: term, Commit: r.index.Revision(), At: at,
	}
	r.horizon.Beacon(b)
	r.notices.Beacon(b)
}

// confirmed asks the voters whether they take this node for the leader of the term. If a
// majority does, it returns a time that a majority's clocks have reached.
func (r *Replica) confirmed(ctx context.Context, term uint64) (majority time.Time, ok bool) {
	servers, _ := r.node().Servers()
	voters := slices.DeleteFunc(servers, func(s consensus.Server) bool { return !s.Voter })
	ctx, cancel := context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	claim, began := leaderClaim{Leader: r.config.ID, Term: term}, r.config.Now()
	var mu sync.Mutex
	var clocks []time.Time
	r.ask(voters, func(s consensus.Server, addr string) bool {
		got := leaderClaim{Yes: true, Now: r.config.Now()}
		if s.ID != r.config.ID {
			var err error
			if got, err = call[leaderClaim, leaderClaim](ctx, r.peers, addr, s.ID, pathConfirm, claim); err != nil || !got.Yes {
				return false
			}
		}
		mu.Lock()
		defer mu.Unlock()
		clocks = append(clocks, got.Now)
		return true
	})
	if len(clocks) <= len(voters)/2 || !r.node().IsLeader() || r.node().Term() != term {
		return majority, false
	}
	slices.SortFunc(clocks, func(a, b time.Time) int { return b.Compare(a) })
	r.compareClocks(clocks[0].Sub(clocks[len(clocks)-1]))
	r.heard.Store(&heard{term: term, began: began, foremost: clocks[0]})
	return clocks[len(voters)/2], true
}

// heard is what the voters' clocks showed when they confirmed the term.
type heard struct {
	term            uint64
	began, foremost time.Time
}

// aheadAt is how far the foremost clock is ahead of this node's at the time, if that is more than what is
// kept is kept longer anyway. It goes on by what has passed, not by this node's time of day: that may have
// been set back since.
func (h *heard) aheadAt(now time.Time) time.Duration {
	ahead := h.foremost.Round(0).Add(now.Sub(h.began)).Sub(now.Round(0))
	if ahead < expireMargin/4 {
		return 0
	}
	return ahead
}

// compareClocks warns while the clocks of the voters differ by more than is allowed for, once
// each time that they begin to.
func (r *Replica) compareClocks(apart time.Duration) {
	wrong := apart > expireMargin/2
	if r.clocksDiffer.Swap(wrong) != wrong && wrong {
		r.config.Log.Error("the clocks of the voters differ; set them right: expiry, staleness and how long revocations are kept follow them", "by", apart.Round(time.Second))
	}
}

// expire drops what no longer denies anything, by clocks that a majority of the voters agrees
// on: one that is ahead must not take revocations away. What is kept until an hour goes when that has passed,
// by these clocks and not by this node's timers: they may have been set forward. Sessions go within expireEvery.
func (r *Replica) expiry() func(context.Context) {
	var done record.Bucket
	var at time.Time
	return func(ctx context.Context) {
		now, ok := r.confirmed(ctx, r.node().Term())
		if !ok {
			return
		}
		before := record.Bucket(now.Add(-expireMargin).Unix() / 3600)
		if before == done && r.config.Now().Sub(at) < expireEvery {
			return
		}
		_, err := r.Propose(ctx, record.Command{Body: record.Expire{Before: before}})
		switch {
		case err == nil:
			done, at = before, r.config.Now()
		case ctx.Err() == nil:
			r.config.Log.Warn("expired revocations were not dropped; the leader tries again", "error", err)
		}
	}
}

// cutAudit removes what is in the audit trail for longer than it is kept, once a day: each time is an entry of its own.
func (r *Replica) cutAudit(ctx context.Context) {
	kept := r.config.AuditRetention
	if kept == 0 || r.view.Level() < record.LevelTrail {
		return
	}
	now, ok := r.confirmed(ctx, r.node().Term())
	if !ok {
		return
	}
	cut, oldest, err := r.view.auditCut(now.Add(-kept))
	if err == nil && cut.Hash != [32]byte{} && oldest.Before(now.Add(-kept-min(auditSlack, kept/4))) {
		_, err = r.Propose(ctx, record.Command{Body: cut})
	}
	if err != nil && ctx.Err() == nil {
		r.config.Log.Warn("the audit trail was not cut; the leader tries again later", "error", err)
	}
}

// auditSlack is how much longer than it must an entry of the audit trail is kept at most, so that it is not cut all the time.
const auditSlack = 24 * time.Hour

const (
	// yieldBefore is how long before its certificate ends a leader gives the leadership away, yieldLook how often it looks, and
	// yieldAgain how long after a try it tries again: while it tries, nothing can be proposed.
	yieldBefore = time.Hour
	yieldLook   = 5 * time.Second
	yieldAgain  = time.Minute
)

// yielding gives the leadership to the voter whose certificate lasts longest, once this node's is about to end: a node that
// starts is let in by who leads, and would refuse it. Where none lasts longer, this node goes on: nobody would be better off.
func (r *Replica) yielding() func(context.Context) {
	var tried time.Time
	return func(ctx context.Context) {
		now, ends := r.config.Now(), r.config.Host().NodeEndsAt
		if ends.IsZero() || now.Before(ends.Add(-yieldBefore)) || now.Sub(tried) < yieldAgain {
			return
		}
		tried = now
		to, ok := r.lasting(ctx, slices.MaxFunc([]time.Time{ends, now}, time.Time.Compare))
		log := r.config.Log.With("certificate_ends", ends.Format(time.RFC3339))
		if !ok {
			log.Error("this node leads with a certificate that ends, and goes on, as no voter that answers has one that lasts longer; nodes that start do not get in once it has ended: make a new one with `veto certs node`")
			return
		}
		log.Warn("this node's certificate ends, and it hands the leadership over; make a new one with `veto certs node`", "to", to.ID)
		if err := r.node().HandoverTo(to); err != nil && ctx.Err() == nil {
			log.Warn("the leadership was not handed over; this node tries again", "to", to.ID, "error", err)
		}
	}
}

// lasting is the voter that answers and whose certificate ends last, if that is after a time.
func (r *Replica) lasting(ctx context.Context, after time.Time) (best consensus.Server, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	servers, _ := r.node().Servers()
	var mu sync.Mutex
	r.ask(servers, func(s consensus.Server, addr string) bool {
		state, err := r.stateOf(ctx, s.ID, addr)
		mu.Lock()
		defer mu.Unlock()
		if err == nil && s.Voter && state.Role == record.NodeVoter && !state.Leaving && state.Host.NodeEndsAt.After(after) {
			best, after, ok = s, state.Host.NodeEndsAt, true
		}
		return err == nil
	})
	return best, ok
}

// levelEvery is how often the leader looks whether the nodes know more than is in force.
const levelEvery = 2 * time.Second

// raiseLevel has the cluster use what all nodes know by now.
func (r *Replica) raiseLevel(ctx context.Context) {
	if r.view.Level() >= record.LevelNewest {
		return
	}
	to := r.known(ctx)
	if to <= r.view.Level() {
		return
	}
	if _, err := r.Propose(ctx, record.Command{Body: record.RaiseLevel{To: to}}); err != nil && ctx.Err() == nil {
		r.config.Log.Warn("the nodes' new version is not in force yet; the leader tries again", "level", to, "error", err)
	}
}

// known is the highest level that every node of the configuration has said that it knows; 0 if one did
// not say.
func (r *Replica) known(ctx context.Context) record.Level {
	var mu sync.Mutex
	lowest := record.LevelNewest
	if !r.all(ctx, func(s nodeState) bool {
		mu.Lock()
		defer mu.Unlock()
		lowest = min(lowest, s.level())
		return true
	}) {
		return 0
	}
	return lowest
}

// all tells whether every node of the configuration has said what is wanted.
func (r *Replica) all(ctx context.Context, says func(nodeState) bool) bool {
	servers, _ := r.node().Servers()
	return !slices.Contains(r.ask(servers, func(s consensus.Server, addr string) bool {
		ctx, cancel := context.WithTimeout(ctx, statusLimit)
		defer cancel()
		state, err := r.stateOf(ctx, s.ID, addr)
		return err == nil && says(state)
	}), false)
}

// AllHold tells whether every node has the key that wraps peppers and has the fingerprint.
func (r *Replica) AllHold(ctx context.Context, fingerprint string) bool {
	return r.all(ctx, func(s nodeState) bool { return slices.Contains(s.PepperKeys, fingerprint) })
}

// every calls f at once, then each time the period has passed or the channel tells, until
// ctx ends.
func every(ctx context.Context, period time.Duration, also <-chan struct{}, f func(context.Context)) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		f(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-also:
		}
	}
}

// memberOf is a node of the configuration that an operator wants changed, and who answers of the others.
type memberOf struct {
	replica   *Replica
	server    consensus.Server
	servers   []consensus.Server
	basedOn   uint64
	answers   bool
	answering []string
}

// spared refuses to go on without the node as a voter, if those that are left could decide nothing.
func (m memberOf) spared() error {
	if !m.server.Voter {
		return nil
	}
	left, answer := 0, 0
	for _, s := range m.servers {
		if s.Voter && s.ID != m.server.ID {
			left++
			if slices.Contains(m.answering, s.ID) {
				answer++
			}
		}
	}
	switch {
	case left == 0:
		return record.Conflict("%s is the only voter: without it there is no cluster; start another node first", m.server.ID)
	case answer < left/2+1:
		return record.Conflict("without %s there are %d voters, of which %d answer: they could decide nothing; start the missing ones first (`veto cluster` names them)", m.server.ID, left, answer)
	}
	return nil
}

func (m memberOf) isLeader() bool { return m.server.ID == m.replica.config.ID }

// leave has the node begin to leave; when it is ready, it asks to be let go.
func (m memberOf) leave(ctx context.Context) (detail string, err error) {
	if err := m.spared(); err != nil {
		return "", err
	}
	if !m.answers {
		return "", record.Conflict("%s does not answer, and so cannot leave in order; if it is gone for good: `veto cluster remove %s`", m.server.ID, m.server.ID)
	}
	const begun = "it leaves now; another node shows when it has: `veto cluster`"
	if m.isLeader() {
		m.replica.beginToLeave()
		return begun, nil
	}
	addr, _ := m.replica.addressOf(m.server.ID)
	_, err = call[struct{}, struct{}](ctx, m.replica.peers, addr, m.server.ID, pathLeave, struct{}{})
	return begun, err
}

// letGo removes a node that has nothing left to tell.
func (m memberOf) letGo(from string) error {
	if from != m.server.ID || m.isLeader() {
		return record.Conflict("only %s itself can say that it is ready to go, and not while it leads", m.server.ID)
	}
	if err := m.spared(); err != nil {
		return err
	}
	m.replica.config.Log.Info("removing a node that leaves", "node", from)
	return m.replica.node().Remove(from, m.basedOn)
}

// remove has a node that answers stop, too, as otherwise a replica would come back at once.
func (m memberOf) remove(ctx context.Context, force bool) (detail string, err error) {
	if err := m.spared(); err != nil {
		return "", err
	}
	if m.answers && (!force || m.isLeader()) {
		return "", record.Conflict("%s answers: have it leave in order, with `veto cluster leave %s`, so that nothing is lost that only it has", m.server.ID, m.server.ID)
	}
	m.replica.config.Log.Warn("an operator removes a node", "node", m.server.ID)
	if m.answers {
		addr, _ := m.replica.addressOf(m.server.ID)
		if _, err := call[struct{}, struct{}](ctx, m.replica.peers, addr, m.server.ID, pathLeave, struct{}{}); err != nil {
			m.replica.config.Log.Warn("the node that is removed could not be told", "node", m.server.ID, "error", err)
		}
	}
	return "it is removed", m.replica.node().Remove(m.server.ID, m.basedOn)
}

// assign has the node itself keep the role: so it is as told after any restart, whoever leads.
func (m memberOf) assign(ctx context.Context, role record.NodeRole) error {
	if m.isLeader() {
		return m.replica.takeRole(role)
	}
	if !m.answers {
		return record.Conflict("%s does not answer, and a node keeps its role itself; start it first, or, if it is gone for good: `veto cluster remove %s`", m.server.ID, m.server.ID)
	}
	addr, _ := m.replica.addressOf(m.server.ID)
	_, err := call[record.NodeRole, struct{}](ctx, m.replica.peers, addr, m.server.ID, pathRole, role)
	return err
}

// votersMayLag is how many entries a node may be behind that becomes a voter.
const votersMayLag = 2000

func (m memberOf) promote(ctx context.Context) (detail string, err error) {
	if err := m.assign(ctx, record.NodeVoter); err != nil {
		return "", err
	}
	voters := len(slices.DeleteFunc(slices.Clone(m.servers), func(s consensus.Server) bool { return !s.Voter }))
	switch want := m.replica.config.Aim.Voters; {
	case m.server.Voter:
		return "it is a voter", nil
	case want > 0 && voters >= want:
		return fmt.Sprintf("it waits for the place of a voter: there are %d, and voters is %d; it takes it by itself when one is gone", voters, want), nil
	}
	state, err := m.replica.stateOf(ctx, m.server.ID, m.server.Address)
	if err != nil || state.LastIndex+votersMayLag < m.replica.node().LastIndex() {
		return "it becomes a voter by itself once it has caught up", err
	}
	return "it is a voter now", m.replica.node().Promote(m.server.ID, m.server.Address, m.basedOn)
}

// demote of the leader has another lead first, which then does the rest.
func (m memberOf) demote(ctx context.Context) (detail string, err error) {
	if err := m.spared(); err != nil {
		return "", err
	}
	if err := m.assign(ctx, record.NodeReplica); err != nil {
		return "", err
	}
	if !m.server.Voter {
		return "it is a replica", nil
	}
	if m.isLeader() {
		if err := m.replica.node().Handover(); err != nil {
			return "", err
		}
		return "", callError{codeNotLeader, consensus.ErrNotLeader}
	}
	return "it is a replica now", m.replica.node().Demote(m.server.ID, m.basedOn)
}
