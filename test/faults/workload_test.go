//go:build faults

package faults

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"veto/client"
	"veto/record"
	"veto/validate"
)

// workload is clients that revoke and validate, and what they saw.
type workload struct {
	*cluster
	start  time.Time
	tokens []string

	mu       sync.Mutex
	history  []porcupine.Operation
	receipts map[int]record.Revision // the last of each token
	promised map[int]bool            // tokens whose revocation was answered
	counts   counts
	lastSeen time.Time
	silence  time.Duration // the longest without any answer
}

type counts struct{ revoked, pending, refused, allowed, denied, unknown, failed int }

func newWorkload(c *cluster) *workload {
	return &workload{cluster: c, start: time.Now(), lastSeen: time.Now(), receipts: map[int]record.Revision{}, promised: map[int]bool{}}
}

// run keeps asking until ctx ends. Each worker has tokens of its own and all share the rest, so
// that what one is told is checked by others.
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

// fresh is how many of the newest tokens are asked about most.
const fresh = 24

func (w *workload) pick(random *rand.Rand) (token int, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.tokens) < fresh || random.IntN(12) == 0 {
		w.tokens = append(w.tokens, w.token(time.Now().Format("150405.000000000")))
	}
	token = len(w.tokens) - 1 - random.IntN(fresh/2)
	token = max(token, 0)
	return token, w.tokens[token]
}

func (w *workload) one(ctx context.Context, worker int, random *rand.Rand) {
	token, text := w.pick(random)
	q := question{token: token, node: random.IntN(len(w.nodes)), revoke: random.IntN(10) == 0}
	if !q.revoke && random.IntN(2) == 0 {
		w.mu.Lock()
		q.min = w.receipts[token]
		w.mu.Unlock()
	}
	call := time.Since(w.start).Nanoseconds()
	var a answer
	var answered bool
	if q.revoke {
		a, answered = w.revoke(ctx, q, text)
	} else {
		a, answered = w.validate(ctx, q, text)
	}
	back := time.Since(w.start).Nanoseconds()
	if !answered || a.pending {
		// Whatever it asked for may be done at any later time. What a pending receipt promises
		// is checked at the end.
		back = math.MaxInt64 / 2
	}
	w.note(porcupine.Operation{ClientId: worker, Input: q, Output: a, Call: call, Return: back}, q, a, answered)
}

func (w *workload) revoke(ctx context.Context, q question, text string) (answer, bool) {
	receipt, err := w.at(q.node).Revoke(ctx, client.RevokeRequest{Token: text}, false, 300*time.Millisecond)
	if err != nil {
		return answer{}, false
	}
	a := answer{revision: receipt.Revision, pending: receipt.State == record.StatePending}
	names := receipt.EnforcedOn
	if a.pending {
		names = receipt.DurableOn
	}
	for i := range w.nodes {
		if slices.Contains(names, id(i)) {
			a.holds |= 1 << i
		}
	}
	return a, true
}

func (w *workload) validate(ctx context.Context, q question, text string) (answer, bool) {
	v, err := w.at(q.node).Validate(ctx, client.Question{Credential: text, MinRevision: q.min})
	if err != nil {
		return answer{}, false
	}
	if v.Outcome == validate.Deny && v.Code != validate.Revoked {
		return answer{}, true // a node that has not heard of the issuer yet, and says no more than that
	}
	return answer{outcome: v.Outcome}, true
}

func (w *workload) note(op porcupine.Operation, q question, a answer, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, op)
	if answered {
		now := time.Now()
		w.silence = max(w.silence, now.Sub(w.lastSeen))
		w.lastSeen = now
	}
	switch {
	case !answered && q.revoke:
		w.counts.refused++
	case !answered:
		w.counts.failed++
	case q.revoke:
		w.promised[q.token] = true
		w.receipts[q.token] = max(w.receipts[q.token], a.revision)
		w.counts.revoked++
		if a.pending {
			w.counts.pending++
		}
	case a.outcome == validate.Allow:
		w.counts.allowed++
	case a.outcome == validate.Deny:
		w.counts.denied++
	default:
		w.counts.unknown++
	}
}
