//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"veto/client"
	"veto/record"
	"veto/test/history"
	"veto/validate"
)

// workload is clients that revoke, lift, make keys and validate, and what they saw.
type workload struct {
	*cluster
	began       time.Time
	credentials credentials
	history     history.Log
	tally       *tally
	forged      atomic.Int64 // tokens that nobody signed and somebody allowed
}

func newWorkload(c *cluster) *workload {
	return &workload{cluster: c, began: time.Now(), tally: newTally(c.nodes)}
}

func (w *workload) now() int64 { return time.Since(w.began).Nanoseconds() }

// run keeps asking until ctx ends. All share the credentials, so that what one is told is checked by
// others.
func (w *workload) run(ctx context.Context, workers int, seed uint64) {
	var wg sync.WaitGroup
	for n := range workers {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		wg.Go(func() {
			for ctx.Err() == nil {
				w.one(ctx, n, random)
			}
		})
	}
	wg.Wait()
}

// one is one call, or two that belong together.
func (w *workload) one(ctx context.Context, worker int, random *rand.Rand) {
	node := random.IntN(w.nodes)
	switch n := random.IntN(600); {
	case n < 30:
		w.newToken(random, worker, random.IntN(6) == 0)
		return
	case n < 40:
		w.newKey(ctx, random, worker, node)
		return
	case n < 42:
		w.bulk(ctx, random, worker, node)
		return
	case n < 48 && w.stream != nil:
		w.event(ctx, random, worker)
		return
	case n < 60:
		w.forge(ctx, random, node)
		return
	}
	one := w.credentials.pick(random)
	if one == nil {
		return
	}
	switch n := random.IntN(100); {
	case n >= 60 && one.owner == worker:
		w.toggle(ctx, random, worker, node, one)
	case n < 88:
		w.validate(ctx, random, worker, node, one)
	case one.owner >= 0:
	case one.key != "" && n < 92:
		w.roll(ctx, worker, node, one)
	case one.key != "" && n < 94:
		w.remove(ctx, worker, node, one)
	default:
		w.revoke(ctx, random, worker, node, one)
	}
}

// note adds what was seen to the history, as done by now.
func (w *workload) note(worker int, q history.Question, a history.Answer, call int64) {
	w.history.Add(porcupine.Operation{ClientId: worker, Input: q, Output: a, Call: call, Return: w.now()})
}

// promise adds what an answer promises of a credential that is to be denied, from now on. Some node may
// deny it long before, and others not yet.
func (w *workload) promise(worker int, q history.Question, a history.Answer) {
	q.Do = history.Promise
	now := w.now()
	w.history.Add(porcupine.Operation{ClientId: worker, Input: q, Output: a, Call: now, Return: now})
}

// open adds what may happen at any time from the call on.
func (w *workload) open(worker int, q history.Question, call int64) {
	w.history.Add(porcupine.Operation{ClientId: worker, Input: q, Output: history.Answer{}, Call: call, Return: history.Forever})
}

func (w *workload) validate(ctx context.Context, random *rand.Rand, worker, node int, one *credential) {
	q := history.Question{Credential: one.number, Node: node, Min: w.credentials.least(one, random)}
	call := w.now()
	v, err := w.at(node).Validate(ctx, client.Question{Credential: one.text, MinRevision: q.Min})
	what := "validate"
	if one.key != "" {
		what = "validate an API key"
	}
	if err != nil {
		w.tally.count(what, node, err)
		return
	}
	a, said := verdictOf(v)
	if !said { // that promises nothing
		w.tally.saw(what + ": " + string(v.Code))
		return
	}
	w.tally.count(what, node, nil)
	w.tally.saw(what + ": " + v.Outcome.String())
	w.note(worker, q, a, call)
}

// verdictOf is what the model knows of a verdict. A node whose clock is wrong, or that has not heard of
// an issuer or of its newest key, denies for other reasons.
func verdictOf(v validate.Verdict) (history.Answer, bool) {
	a := history.Answer{Outcome: v.Outcome, Code: v.Code, At: v.Revision}
	revoked := v.Code == validate.Revoked || v.Code == validate.KeyNotFound
	return a, v.Outcome == validate.Allow || v.Outcome == validate.Deny && revoked
}

// revoke has a credential denied for good. One in ten waits until all nodes enforce it.
func (w *workload) revoke(ctx context.Context, random *rand.Rand, worker, node int, one *credential) (record.Receipt, error) {
	enforced, wait := random.IntN(10) == 0, 300*time.Millisecond
	what := "revoke"
	if enforced {
		what, wait = "revoke, wait=enforced", time.Second
	}
	request := one.denied[random.IntN(len(one.denied))]
	w.credentials.told(one, 0, func(c *credential) { c.touched = true })
	q, call := history.Question{Credential: one.number, Do: history.Revoke, Node: node}, w.now()
	receipt, err := w.at(node).Revoke(ctx, request, enforced, wait)
	w.tally.count(what, node, err)
	if err != nil {
		w.open(worker, q, call)
		return receipt, err
	}
	names := receipt.EnforcedOn
	if receipt.State == record.StatePending {
		w.tally.saw(what + ": pending")
		w.open(worker, q, call) // the log has it some time later
		names = receipt.DurableOn
	} else {
		w.note(worker, q, history.Answer{}, call)
	}
	a := history.Answer{Revision: receipt.Revision}
	for i := range w.nodes {
		if slices.Contains(names, id(i)) {
			a.Holds |= 1 << i
		}
	}
	w.promise(worker, q, a)
	w.credentials.told(one, receipt.Revision, func(c *credential) { c.promised = c.owner < 0 })
	return receipt, nil
}

// toggle revokes what its owner has lifted, and lifts what it has revoked. Once the owner does not know
// what is so, it leaves it alone.
func (w *workload) toggle(ctx context.Context, random *rand.Rand, worker, node int, one *credential) {
	switch was := w.credentials.read(one); {
	case was.stuck:
	case !was.revoked:
		receipt, err := w.revoke(ctx, random, worker, node, one)
		known := err == nil && receipt.State == record.StateCommitted
		w.credentials.told(one, 0, func(c *credential) {
			c.revoked, c.lifted, c.stuck, c.standing = known, false, !known, receipt.ID
			c.promised = err == nil && !known // it is not lifted any more
		})
	default:
		w.lift(ctx, worker, node, one)
	}
}

func (w *workload) lift(ctx context.Context, worker, node int, one *credential) {
	q, call := history.Question{Credential: one.number, Do: history.Lift, Node: node}, w.now()
	changed, err := w.at(node).Lift(ctx, w.credentials.read(one).standing, "as it was a test")
	w.tally.count("lift", node, err)
	if err != nil {
		w.open(worker, q, call)
		w.credentials.told(one, 0, func(c *credential) { c.stuck = true })
		return
	}
	w.note(worker, q, history.Answer{Revision: changed.Revision}, call)
	w.credentials.told(one, changed.Revision, func(c *credential) { c.revoked, c.lifted = false, true })
}

// roll gives a key another secret; the one before is over.
func (w *workload) roll(ctx context.Context, worker, node int, one *credential) {
	w.credentials.told(one, 0, func(c *credential) { c.touched = true })
	q, call := history.Question{Credential: one.number, Do: history.Revoke, Node: node}, w.now()
	k, err := w.at(node).RollKey(ctx, one.key, 0, true)
	w.tally.count("roll an API key", node, err)
	if err != nil {
		w.open(worker, q, call)
		return
	}
	w.note(worker, q, history.Answer{}, call)
	w.promise(worker, q, history.Answer{Revision: k.Revision})
	w.credentials.told(one, k.Revision, func(c *credential) { c.promised = true })
	// Whoever revokes the key by another of its secrets revokes this one as well, and the model knows
	// nothing of that: so it is only looked for that it denies what is promised.
	w.addRolled(k, one)
}

func (w *workload) addRolled(k client.NewKey, before *credential) {
	if k.Secret == "" {
		return // the answer was lost, and who asked again was not told it
	}
	added := w.credentials.add(credential{text: k.Secret, key: k.ID, owner: -1, denied: before.denied, touched: true})
	w.credentials.told(added, k.Revision, nil)
	w.open(-1, history.Question{Credential: added.number, Do: history.Revoke}, 0)
}

func (w *workload) remove(ctx context.Context, worker, node int, one *credential) {
	w.credentials.told(one, 0, func(c *credential) { c.touched = true })
	q, call := history.Question{Credential: one.number, Do: history.Revoke, Node: node}, w.now()
	changed, err := w.at(node).DeleteKey(ctx, one.key)
	w.tally.count("delete an API key", node, err)
	if err != nil {
		w.open(worker, q, call)
		return
	}
	w.note(worker, q, history.Answer{}, call)
	w.promise(worker, q, history.Answer{Revision: changed.Revision})
	w.credentials.told(one, changed.Revision, func(c *credential) { c.promised = true })
}

// bulk is a stream of revocations, of which some are looked at.
func (w *workload) bulk(ctx context.Context, random *rand.Rand, worker, node int) {
	const lines, watched = 200, 8
	var text strings.Builder
	some, refused := map[uint64]*credential{}, 0
	for i := range lines {
		request := client.RevokeRequest{Target: "jti", Issuer: w.given.name, Value: fmt.Sprintf("bulk-%d-%d-%d", worker, w.now(), i)}
		if i%(lines/watched) == 0 {
			one := w.newToken(random, worker, false)
			w.credentials.told(one, 0, func(c *credential) { c.touched = true })
			some[uint64(i+1)], request = one, one.denied[random.IntN(len(one.denied))]
		}
		line, err := json.Marshal(request)
		if err != nil {
			w.t.Error(err)
		}
		text.Write(append(line, '\n'))
	}
	options := client.Options{Token: w.admin}
	for i := range w.nodes {
		options.Control = append(options.Control, w.control((node+i)%w.nodes))
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	call := w.now()
	last, err := client.New(options).RevokeAll(ctx, fmt.Sprintf("stream-%d-%d", worker, call), func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text.String())), nil
	}, func(p client.Progress) {
		if p.Line > 0 && some[p.Line] != nil && some[p.Line].denied[0].Token != "" { // its key was not known yet
			delete(some, p.Line)
			refused++
		}
	})
	if err == nil && (!last.Done || last.Refused != uint64(refused)) {
		w.t.Errorf("a stream ended as %+v, of which %d tokens were refused", last, refused)
	}
	w.tally.count("a stream of 200 revocations", -1, err)
	for _, one := range some {
		q := history.Question{Credential: one.number, Do: history.Revoke, Node: node}
		if err != nil {
			w.open(worker, q, call)
			continue
		}
		w.note(worker, q, history.Answer{}, call)
		w.promise(worker, q, history.Answer{Revision: last.Revision})
		w.credentials.told(one, last.Revision, func(c *credential) { c.promised = true })
	}
}

// event has another system revoke, by the user's NATS server.
func (w *workload) event(ctx context.Context, random *rand.Rand, worker int) {
	one := w.credentials.pick(random)
	if one == nil || one.owner >= 0 {
		return
	}
	body, err := json.Marshal(one.denied[len(one.denied)-1]) // by name: a token is refused while its key is not known
	if err != nil {
		w.t.Error(err)
		return
	}
	w.credentials.told(one, 0, func(c *credential) { c.touched = true })
	w.open(worker, history.Question{Credential: one.number, Do: history.Revoke}, w.now())
	err = w.stream.publish(ctx, body)
	w.tally.count("revoke, by the user's NATS server", -1, err)
	if err == nil {
		w.credentials.told(one, 0, func(c *credential) { c.promised = true })
	}
}

// forge shows a token that its issuer never signed.
func (w *workload) forge(ctx context.Context, random *rand.Rand, node int) {
	from := []*issuer{w.given, w.fetched}[random.IntN(2)]
	v, err := w.at(node).Validate(ctx, client.Question{Credential: from.forged([]string{"k1", "k2", "invented"}[random.IntN(3)])})
	w.tally.count("validate a forged token", -1, err)
	if err == nil && v.Outcome == validate.Allow {
		w.forged.Add(1)
		w.t.Errorf("%s allowed a token that %s never signed", id(node), from.name)
	}
}
