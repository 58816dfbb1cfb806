//go:build upgrade

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"veto/client"
	"veto/record"
	"veto/validate"
)

const voters, replicas = 3, 1

func TestRollingUpgrade(t *testing.T) {
	old, now := previous(t), present(t)
	c := start(t, old[0])
	w := c.load(8)
	w.more(100)
	for _, to := range append(old[1:], now) {
		w.roll(to)
	}
	c.knowsAll()
	w.more(100)
	w.stop()
	w.check()
	c.sameTrail()
	c.leavesBehind(old[0])
}

// roll has all nodes run another version, one after the other.
func (w *load) roll(to string) {
	w.t.Helper()
	leader := w.leader()
	for n := range voters + replicas {
		i := (leader + 1 + n) % (voters + replicas) // so that the leader is not the first
		how := os.Signal(syscall.SIGTERM)
		if n%2 == 1 {
			how = os.Kill
		}
		w.end(i, how)
		w.more(50)
		w.start(i, to, roleOf(i)...)
		w.ready(i)
		w.more(50)
	}
}

// leader is who leads in the eyes of the first node that knows.
func (c *cluster) leader() (found int) {
	c.until("a leader", func() bool {
		s, err := c.clients[0].Cluster(c.t.Context())
		if err != nil {
			return false
		}
		for i := range c.nodes {
			if id(i) == s.Leader {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// knowsAll asks for what came with the newest level.
func (c *cluster) knowsAll() {
	c.t.Helper()
	c.until("the newest level to be in force", func() bool {
		s, err := c.clients[0].Cluster(c.t.Context())
		return err == nil && s.Level == record.LevelNewest
	})
	var refused *client.Error
	if err := c.passOn(1, "after"); !errors.As(err, &refused) || refused.Code != string(record.ReasonConflict) {
		c.t.Errorf("what only the newer version refuses, when all nodes run it: %v", err)
	}
	c.opens(1)
	for _, session := range c.sessions {
		c.accept(session)
	}
}

// passOn gives an issuer's id that names a consumer's manager to another iss, by way of a node: from level 3 on
// that is refused.
func (c *cluster) passOn(i int, name string) error {
	c.t.Helper()
	var last error
	try := 0
	c.until("an issuer's id to be passed on by "+id(i), func() bool {
		try++ // a new name each time: the answer of the time before may be what was lost
		last = c.tryPassOn(c.clients[i], fmt.Sprintf("%s-%d", name, try))
		var refused *client.Error
		return last == nil || errors.As(last, &refused) && refused.Code == string(record.ReasonConflict)
	})
	return last
}

func (c *cluster) tryPassOn(to *client.Client, name string) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
	defer cancel()
	was := client.Rules{Issuer: issuer + "/" + name + "/was", JWKS: c.set, Algorithms: []string{"EdDSA"}}
	is := was
	is.Issuer = issuer + "/" + name + "/is"
	if _, err := to.PutIssuer(ctx, name, was); err != nil {
		return err
	}
	if _, err := to.PutConsumer(ctx, name, client.ConsumerFields{Managers: []record.Person{{Issuer: name, Subject: "alice"}}}); err != nil {
		return err
	}
	if _, err := to.DeleteIssuer(ctx, name); err != nil {
		return err
	}
	_, err := to.PutIssuer(ctx, name, is)
	return err
}

// opens opens a portal session by way of a node, which all accept: from level 3 on it is stored in another way.
func (c *cluster) opens(i int) {
	c.t.Helper()
	name := "portal-" + id(i)
	c.until("a portal session by "+id(i), func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		defer cancel()
		if _, err := c.clients[i].PutConsumer(ctx, name, client.ConsumerFields{}); err != nil {
			return false
		}
		s, err := c.clients[i].OpenPortalSession(ctx, name, time.Hour)
		if err == nil {
			c.sessions = append(c.sessions, s.Secret)
		}
		return err == nil
	})
	c.accept(c.sessions[len(c.sessions)-1])
}

func (c *cluster) accept(session string) {
	c.t.Helper()
	for i := range voters + replicas {
		with := c.newClient(i, session)
		c.until("a portal session to be accepted by "+id(i), func() bool {
			ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
			defer cancel()
			_, err := with.Me(ctx, "")
			return err == nil
		})
	}
}

// sameTrail holds the audit trails of all nodes against each other, and verifies one.
func (c *cluster) sameTrail() {
	c.t.Helper()
	c.until("all nodes to have the same audit trail", func() bool {
		s, err := c.clients[0].Cluster(c.t.Context())
		if err != nil || len(s.Nodes) != len(c.nodes) {
			return false
		}
		for _, n := range s.Nodes {
			if n.AuditHead == "" || n.AuditHead != s.Nodes[0].AuditHead {
				return false
			}
		}
		return true
	})
	if r, err := c.clients[0].VerifyAudit(c.t.Context()); err != nil || r.Entries == 0 {
		c.t.Errorf("the audit trail: %+v, %v", r, err)
	}
}

// V3
func (c *cluster) leavesBehind(old string) {
	c.t.Helper()
	i := c.add(old)
	c.start(i, old, roleOf(i)...)
	c.until("the leader to see that a node is too old", func() bool {
		for j := range i {
			if strings.Contains(c.log(j), "too old for this cluster") {
				return true
			}
		}
		return false
	})
	if c.isReady(i) {
		c.t.Error("a node of the previous version is ready in a cluster that has left it behind")
	}
}

// load is clients that revoke and validate.
type load struct {
	*cluster
	good string
	stop func()

	mu       sync.Mutex
	receipts map[string]record.Receipt // by token
	counts   map[string]int
	wrong    []string
}

// load has clients go on until stop.
func (c *cluster) load(clients int) *load {
	w := &load{cluster: c, good: c.token("good"), receipts: map[string]record.Receipt{}, counts: map[string]int{}}
	ctx, cancel := context.WithCancel(c.t.Context())
	var wg sync.WaitGroup
	w.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		c.t.Logf("%d revocations have receipts; answers: %v", len(w.receipts), w.counts)
	})
	c.t.Cleanup(w.stop)
	for n := range clients {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		wg.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				w.one(ctx, random, fmt.Sprintf("%d-%d", n, k))
			}
		})
	}
	return w
}

func (w *load) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// one revokes a token and asks another node about it, and about one that is good.
func (w *load) one(ctx context.Context, random *rand.Rand, jti string) {
	token := w.token(jti)
	r, err := w.clients[random.IntN(voters+replicas)].Revoke(ctx, client.RevokeRequest{Token: token}, false, time.Second)
	if err != nil {
		w.count("not revoked")
		return
	}
	w.count("revoked, " + r.State)
	w.mu.Lock()
	w.receipts[token] = r
	w.mu.Unlock()
	at := random.IntN(voters + replicas)
	if r.State == record.StateCommitted {
		w.ask(ctx, at, client.Question{Credential: token, MinRevision: r.Revision}, validate.Deny)
	}
	w.ask(ctx, at, client.Question{Credential: w.good}, validate.Allow)
}

func (w *load) ask(ctx context.Context, node int, q client.Question, want validate.Outcome) {
	v, err := w.clients[node].Validate(ctx, q)
	switch {
	case err != nil:
		w.count("not answered")
	case v.Outcome != want && v.Outcome != validate.Unknown:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.wrong = append(w.wrong, fmt.Sprintf("%s said %s (%s), and should say %s", id(node), v.Outcome, v.Code, want))
	default:
		w.count("validated, " + v.Outcome.String())
	}
}

// more waits until so many more were revoked.
func (w *load) more(n int) {
	w.t.Helper()
	have := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.receipts)
	}
	want := have() + n
	w.until(fmt.Sprintf("%d revocations", want), func() bool { return have() >= want })
}

// check holds all that was answered against what every node says in the end.
func (w *load) check() {
	w.t.Helper()
	w.mu.Lock()
	receipts, wrong := make(map[string]record.Receipt, len(w.receipts)), w.wrong
	for token, r := range w.receipts {
		receipts[token] = r
	}
	w.mu.Unlock()
	for _, text := range wrong {
		w.t.Error(text)
	}
	for i := range voters + replicas {
		lost := 0
		for token := range receipts {
			w.until("a revoked token to be denied on "+id(i), func() bool {
				v, err := w.clients[i].Validate(w.t.Context(), client.Question{Credential: token})
				if err == nil && v.Outcome == validate.Allow {
					lost++
				}
				return err == nil && v.Outcome != validate.Unknown
			})
		}
		if lost > 0 {
			w.t.Errorf("%s has lost %d of %d revocations", id(i), lost, len(receipts))
		}
	}
}
