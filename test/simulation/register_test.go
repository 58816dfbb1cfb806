package simulation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"veto/record"
	"veto/test/history"
)

// registers are API keys of which only the name counts: each is a register that the log orders.
type registers struct {
	mu    sync.Mutex
	ids   []string
	known map[string]record.Revision // at which one was last read
	names map[string]string          // and what it was then
	ops   []porcupine.Operation
}

type registerDo int

const (
	toCreate registerDo = iota
	toSet
	toSwap // if it is still what was read
	toDelete
	toRead
)

// registerCall is one call, and registerAnswer what came of it: absent says that there was none, differs
// that it was not as was asked for.
type registerCall struct {
	id           string
	do           registerDo
	name, expect string
}

type registerAnswer struct {
	told, absent, differs bool
	name                  string
}

// registerModel has the key's name as its state; empty while there is none.
var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[string][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.(registerCall).id
			parts[id] = append(parts[id], op)
		}
		var all [][]porcupine.Operation
		for _, p := range parts {
			all = append(all, p)
		}
		return all
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		now, q, a := state.(string), input.(registerCall), output.(registerAnswer)
		there := now != ""
		met := there && (q.do != toSwap || now == q.expect)
		switch {
		case q.do == toRead:
			return a.name == now, now
		case q.do == toCreate && !a.told && !there, q.do == toCreate && a.told && !a.differs:
			return !there, q.name
		case q.do == toCreate:
			return there || !a.told, now
		case a.told && (a.absent || a.differs):
			return !met, now
		case !met:
			return !a.told, now
		case q.do == toDelete:
			return true, ""
		}
		return true, q.name
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

func (c client) noteRegister(q registerCall, a registerAnswer, call int64) {
	op := porcupine.Operation{ClientId: c.id, Input: q, Output: a, Call: call, Return: history.Forever}
	if a.told {
		op.Return = c.order()
	}
	c.registers.mu.Lock()
	defer c.registers.mu.Unlock()
	c.registers.ops = append(c.registers.ops, op)
}

// register does something about one of the keys.
func (c client) register(node int) {
	r := &c.registers
	r.mu.Lock()
	n := len(r.ids)
	q := registerCall{name: fmt.Sprint("name-", c.made.Add(1))}
	if n > 0 {
		q.id = r.ids[c.random.IntN(n)]
	}
	at := r.known[q.id]
	q.expect = r.names[q.id]
	r.mu.Unlock()
	switch w := c.random.IntN(20); {
	case n < 3 || w == 0:
		q.id = fmt.Sprint("key_r", c.random.IntN(4))
		c.create(node, q)
	case w < 10:
		c.read(node, q)
	case w < 14:
		q.do = toSet
		c.update(node, q, record.Condition{}, record.UpdateKey{ID: q.id, Name: &q.name})
	case w < 18 && at > 0:
		q.do = toSwap
		c.update(node, q, record.Condition{When: record.WhenRevision, Revisions: []record.Revision{at}}, record.UpdateKey{ID: q.id, Name: &q.name})
	case w == 18:
		q.do = toDelete
		c.update(node, q, record.Condition{}, record.DeleteKey{ID: q.id})
	}
}

func (c client) create(node int, q registerCall) {
	key := record.APIKey{ID: q.id, Name: q.name, Consumer: "all", Hint: "veto_…"}
	_, _ = c.secrets.Read(key.Hash[:]) // it never fails
	c.update(node, q, record.Condition{}, record.CreateKey{Key: key})
	c.registers.mu.Lock()
	defer c.registers.mu.Unlock()
	c.registers.ids = append(c.registers.ids, q.id)
}

func (c client) update(node int, q registerCall, when record.Condition, body record.Body) {
	c.with(node, 2*time.Second, func(ctx context.Context, n *incarnation) {
		call := c.order()
		r, err := n.replica.Propose(ctx, record.Command{Condition: when, Body: body})
		o := outcomeOf(n, err)
		c.tally.saw("change a key's name", o.String())
		a := registerAnswer{told: o != unknown}
		var rejected *record.Rejection
		if o == refused {
			if !errors.As(err, &rejected) || rejected.Reason == record.ReasonOlderNodes {
				return // nothing was done, and nothing was learned
			}
			a.absent, a.differs = rejected.Reason == record.ReasonNotFound, rejected.Reason != record.ReasonNotFound
		}
		c.saw(r.Revision) // whoever was refused has learned something, too
		c.noteRegister(q, a, call)
	})
}

// read reads a key on a node that has all that was answered by now.
func (c client) read(node int, q registerCall) {
	q = registerCall{id: q.id, do: toRead}
	c.with(node, time.Second, func(ctx context.Context, n *incarnation) {
		call := c.order()
		if err := n.view.AwaitRevision(ctx, record.Revision(c.latest.Load())); err != nil {
			c.tally.saw("read a key", "behind")
			return
		}
		k, ok, err := n.view.Key(q.id)
		if n.dead.Load() {
			return
		}
		if err != nil {
			c.wrong("key %s cannot be read: %v", q.id, err)
		}
		// Who is told of a change before it was answered must not have others ask for less. What was read may
		// be ahead of the revision for a moment, in which no time passes.
		c.pause(time.Millisecond)
		c.saw(n.view.Freshness().Revision)
		c.tally.saw("read a key", "done")
		c.noteRegister(q, registerAnswer{told: true, name: k.Name}, call)
		c.registers.mu.Lock()
		defer c.registers.mu.Unlock()
		if c.registers.known == nil {
			c.registers.known, c.registers.names = map[string]record.Revision{}, map[string]string{}
		}
		c.registers.known[q.id], c.registers.names[q.id] = 0, ""
		if ok {
			c.registers.known[q.id], c.registers.names[q.id] = k.Revision, k.Name
		}
	})
}
