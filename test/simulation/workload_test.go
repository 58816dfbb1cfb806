package simulation

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"veto/record"
	"veto/test/history"
	"veto/test/token"
	"veto/validate"
	"veto/validate/apikey"
	"veto/validate/keyset"
)

// credential is a token or an API key, and what was done about it.
type credential struct {
	number int
	text   string
	key    string        // the API key's id; empty for a token
	names  []record.Name // by which it may be revoked
	owner  int           // the only client that revokes and lifts it; -1 if it is never lifted

	mu       sync.Mutex
	touched  bool            // somebody asked to revoke it
	promised bool            // it was answered that it is revoked, for good
	last     record.Revision // of the last answer about it
	since    time.Duration   // when it was first answered that it is revoked at a revision; 0 if it is not
	lifts    int
	revoked  bool // as its owner knows
	disabled bool // rather than revoked
	stuck    bool // its owner does not know
	name     record.Name
}

func (c *credential) String() string { return fmt.Sprintf("credential %d %s", c.number, c.key) }

// credentials are all that there are.
type credentials struct {
	mu  sync.Mutex
	all []*credential
}

func (c *credentials) add(one *credential) *credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.number = len(c.all)
	c.all = append(c.all, one)
	return one
}

func (c *credentials) pick(random *rand.Rand) *credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return nil
	}
	if n := len(c.all); n > 10 && random.IntN(2) == 0 {
		return c.all[n-1-random.IntN(10)]
	}
	return c.all[random.IntN(len(c.all))]
}

// client is one of those who ask.
type client struct {
	*simulation
	id     int
	random *rand.Rand
}

// order is the clock of the history: what ended before something else began has a lower number.
func (c client) order() int64 { return c.clock.Add(1) }

// outcome is what a client knows of a change that it asked for.
type outcome int

const (
	done outcome = iota
	refused
	unknown
)

func (o outcome) String() string { return [...]string{"done", "refused", "unknown"}[o] }

// outcomeOf is what an error says. A node that has fallen said nothing.
func outcomeOf(n *incarnation, err error) outcome {
	var rejected *record.Rejection
	var unavailable *record.Unavailable
	switch {
	case n.dead.Load():
		return unknown
	case err == nil:
		return done
	case errors.As(err, &rejected), errors.As(err, &unavailable):
		return refused
	}
	return unknown
}

// with lets f use a node, if that is up.
func (c client) with(i int, limit time.Duration, f func(ctx context.Context, n *incarnation)) bool {
	n := c.net.whoIs(i)
	if n == nil || !n.begin() {
		return false
	}
	defer n.busy.Done()
	ctx, cancel := context.WithTimeout(n.ended, limit)
	defer cancel()
	f(ctx, n)
	return true
}

// saw keeps the highest revision that anyone was told of.
func (s *simulation) saw(r record.Revision) {
	for {
		now := s.latest.Load()
		if uint64(r) <= now || s.latest.CompareAndSwap(now, uint64(r)) {
			return
		}
	}
}

// prepare waits until the cluster is founded and knows the issuer, on all nodes.
func (s *simulation) prepare() {
	c := client{s, -1, s.random}
	set, err := keyset.PublicJWKS(map[string]crypto.PublicKey{kid: s.signing.Public()})
	if err != nil {
		s.t.Fatal(err)
	}
	keys, kept, err := keyset.ParseGiven(set, []string{"EdDSA"})
	if err != nil {
		s.t.Fatal(err)
	}
	issuer := record.PutIssuer{Issuer: record.Issuer{
		ID: "i", Issuer: issuer, JWKS: kept, Algorithms: []string{"EdDSA"}, MaxLifetime: record.Duration(life),
	}, Keys: keys}
	bodies := []record.Body{issuer, record.PutConsumer{Consumer: record.Consumer{ID: "all", Name: "of all keys"}}}
	for time.Since(s.began) < foundIn {
		if len(bodies) > 0 {
			c.with(s.random.IntN(nodes), 5*time.Second, func(ctx context.Context, n *incarnation) {
				if r, err := n.replica.Propose(ctx, record.Command{Body: bodies[0]}); err == nil {
					s.saw(r.Revision)
					bodies = bodies[1:]
				}
			})
		} else if s.level() {
			return
		}
		s.pause(50 * time.Millisecond)
	}
	s.wrong("the cluster was not founded in %s", foundIn)
}

// level tells whether all nodes are ready and know of the latest change.
func (s *simulation) level() bool {
	for i := range nodes {
		n := s.net.whoIs(i)
		if n == nil {
			return false
		}
		f := n.view.Freshness()
		if !f.Ready || uint64(f.Revision) < s.latest.Load() || n.replica.Pending() > 0 {
			return false
		}
	}
	return true
}

// work has clients ask until faults have ended.
func (s *simulation) work() {
	var all sync.WaitGroup
	end := time.Now().Add(s.plan.long)
	for n := range clients + senders {
		c := client{s, n, rand.New(rand.NewPCG(s.plan.seed, uint64(10+n)))}
		do, rest := c.one, 5
		if n >= clients {
			do, rest = c.sends, 1500
		}
		all.Go(func() {
			for time.Now().Before(end) {
				do()
				s.pause(time.Duration(rest+c.random.IntN(120)) * time.Millisecond)
			}
		})
	}
	all.Wait()
}

// sends sends a stream, or brings a message.
func (c client) sends() {
	node := c.random.IntN(nodes)
	if c.random.IntN(2) == 0 {
		c.stream(node)
		return
	}
	c.deliver(node)
}

// one is one call, or two that belong together.
func (c client) one() {
	node := c.random.IntN(nodes)
	switch n := c.random.IntN(100); {
	case n < 8:
		owner := -1
		if c.random.IntN(3) == 0 {
			owner = c.id
		}
		c.newToken(owner)
		return
	case n < 13:
		c.newKey(node)
		return
	case n < 25:
		c.register(node)
		return
	case n < 29:
		c.burst(node)
		return
	}
	one := c.credentials.pick(c.random)
	if one == nil {
		return
	}
	switch n := c.random.IntN(100); {
	case n >= 60 && one.owner == c.id:
		c.toggle(node, one)
	case n < 80:
		c.validate(node, one, c.least(one))
	case one.owner >= 0:
	case one.key != "" && n < 84:
		c.endKey(node, one, n < 82)
	case n < 96:
		c.revoke(node, one)
	}
}

// newToken makes a token that its owner may lift, or anyone revokes for good.
func (c client) newToken(owner int) *credential {
	n := c.made.Add(1)
	at := c.right()
	claims := map[string]any{
		"iss": issuer, "sub": fmt.Sprint("s", n), "jti": fmt.Sprint("j", n), "sid": fmt.Sprint("d", n),
		"iat": at.Unix(), "exp": at.Add(life - time.Minute).Unix(),
	}
	one := &credential{text: token.Sign(c.t, c.signing, kid, "", claims), owner: owner}
	for target, value := range map[record.Target]string{record.TargetJTI: "j", record.TargetSubject: "s", record.TargetSession: "d"} {
		one.names = append(one.names, record.Name{Target: target, Issuer: issuer, Value: fmt.Sprint(value, n)})
	}
	return c.credentials.add(one)
}

func (c client) newKey(node int) {
	secret, hash, hint, err := apikey.Generate(c.secrets, apikey.Form{Prefix: "veto"})
	if err != nil {
		c.t.Error(err)
	}
	owner := -1
	if c.random.IntN(2) == 0 {
		owner = c.id
	}
	id := fmt.Sprint("key_", c.made.Add(1))
	c.with(node, 2*time.Second, func(ctx context.Context, n *incarnation) {
		call := c.order()
		r, err := n.replica.Propose(ctx, record.Command{Body: record.CreateKey{Key: record.APIKey{ID: id, Consumer: "all", Hash: hash, Hint: hint}}})
		o := outcomeOf(n, err)
		c.tally.saw("make an API key", o.String())
		if o != done {
			return // nobody knows of it
		}
		c.saw(r.Revision)
		one := c.credentials.add(&credential{
			text: secret, key: id, owner: owner, last: r.Revision,
			names: []record.Name{{Target: record.TargetKey, Value: id}},
		})
		c.note(history.Question{Credential: one.number, Do: history.Make, Node: node}, history.Answer{Revision: r.Revision}, call)
	})
}

// note adds what was seen to the history, as done by now.
func (c client) note(q history.Question, a history.Answer, call int64) {
	c.history.Add(porcupine.Operation{ClientId: c.id, Input: q, Output: a, Call: call, Return: c.order()})
}

// open adds what may happen at any time from the call on.
func (c client) open(q history.Question, call int64) {
	c.history.Add(porcupine.Operation{ClientId: c.id, Input: q, Output: history.Answer{}, Call: call, Return: history.Forever})
}

// promise adds what an answer promises of a credential that is to be denied, from now on, and looks.
func (c client) promise(one *credential, q history.Question, a history.Answer) {
	c.promised(one, q, a)
	c.look(one, a, q.Node)
}

func (c client) promised(one *credential, q history.Question, a history.Answer) {
	q.Do = history.Promise
	now := c.order()
	c.history.Add(porcupine.Operation{ClientId: c.id, Input: q, Output: a, Call: now, Return: now})
	c.saw(a.Revision)
	one.mu.Lock()
	defer one.mu.Unlock()
	one.last = max(one.last, a.Revision)
	if a.Revision > 0 && one.since == 0 {
		one.since = time.Since(c.began)
	}
	one.promised = one.promised || one.owner < 0
}

func (c client) touch(one *credential) {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.touched = true
}

// least is a revision to ask for.
func (c client) least(one *credential) record.Revision {
	switch c.random.IntN(3) {
	case 0:
		one.mu.Lock()
		defer one.mu.Unlock()
		return one.last
	case 1:
		return record.Revision(c.latest.Load())
	}
	return 0
}

// look asks at once whether what was just answered is so: a node of its own, or another that is to
// know as much.
func (c client) look(one *credential, a history.Answer, at int) {
	for range c.random.IntN(3) {
		c.validate(at, one, a.Revision)
		at = c.random.IntN(nodes)
		c.pause(time.Duration(c.random.IntN(8)) * time.Millisecond)
	}
}

// validate asks a node, and holds the verdict against what can be told at once.
func (c client) validate(node int, one *credential, least record.Revision) {
	q := history.Question{Credential: one.number, Node: node, Min: least}
	one.mu.Lock()
	since, lifts := one.since, one.lifts
	one.mu.Unlock()
	r := validate.Request{Credential: one.text, MinRevision: q.Min, MaxStaleness: time.Duration(c.random.IntN(3)) * time.Second}
	c.with(node, time.Second, func(ctx context.Context, n *incarnation) {
		if c.random.IntN(2) == 0 {
			_ = n.view.AwaitRevision(ctx, q.Min) // if it does not come to that, the verdict says so
		}
		lowest := n.highest.Load()
		call := c.order()
		v := n.check.Validate(r, c.now(node))
		if n.dead.Load() {
			return
		}
		c.tally.saw("validate", string(v.Code))
		if uint64(v.Revision) < lowest {
			c.wrong("%s shows revision %d after %d", nodeID(node), v.Revision, lowest)
		}
		n.highest.Store(max(lowest, uint64(v.Revision)))
		if v.Outcome == validate.Allow {
			c.fresh(n, one, since, lifts, r, v)
		}
		if v.Code == validate.KeyDisabled {
			v.Code = validate.Revoked // as the model has it
		}
		if v.Outcome == validate.Allow || v.Code == validate.Revoked || v.Code == validate.KeyNotFound {
			c.note(q, history.Answer{Outcome: v.Outcome, Code: v.Code, At: v.Revision}, call)
		}
	})
}

// fresh holds an allowance against what it says of its age: what was answered before that, and what was
// answered before the node started, it must know.
func (c client) fresh(n *incarnation, one *credential, since time.Duration, lifts int, r validate.Request, v validate.Verdict) {
	one.mu.Lock()
	lifted := one.lifts != lifts
	one.mu.Unlock()
	asOf := v.AsOf.Sub(c.began) - time.Duration(c.plan.passed)*time.Second
	if since > 0 && !lifted && n.began.Sub(c.began) > since {
		c.wrong("credential %d, revoked by %s, is allowed on %s, which started at %s", one.number, since, nodeID(n.number), n.began.Sub(c.began))
	}
	if c.plan.clocks {
		return // with clocks that are wrong it is as fresh as they say
	}
	if since > 0 && !lifted && asOf > since {
		c.wrong("credential %d, revoked by %s, is allowed on %s as of %s, at revision %d", one.number, since, nodeID(n.number), asOf, v.Revision)
	}
	bound := maxStaleness
	if c.plan.stale {
		bound = time.Hour
	}
	if r.MaxStaleness > 0 {
		bound = min(bound, r.MaxStaleness)
	}
	if age := time.Since(c.began) - asOf; age > bound && !v.AsOf.IsZero() {
		c.wrong("credential %d is allowed on %s by a state %s old, and %s was asked for", one.number, nodeID(n.number), age, bound)
	}
}
