//go:build faults

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"veto/client"
	"veto/record"
	"veto/test/history"
)

// credential is a token or an API key that the workload asks about.
type credential struct {
	number int
	text   string
	denied []client.RevokeRequest // each denies it, and no other
	key    string                 // the API key's id; empty if it is a token
	kid    string                 // what it was signed with, if that was fetched
	// owner is the client that alone revokes it, and lifts that again; -1 if anybody revokes it and
	// nobody lifts.
	owner int

	// last is the latest revision at which something of it was answered.
	last record.Revision
	// promised is set when its end was answered, and no lift can follow; taken when that was by a stream
	// of the user's.
	promised bool
	// lifted is set while what its owner was told last is that it may be used again, revoked that it may
	// not; stuck when its owner does not know.
	lifted, revoked, stuck bool
	standing               string // the id of what its owner revoked last
	// touched is set when somebody asked for its end, answered or not.
	touched bool
}

// credentials are all of a run.
type credentials struct {
	mu  sync.Mutex
	all []*credential
	// highest is the latest revision that anybody was told of.
	highest record.Revision
}

// recent is how many of the newest are asked about.
const recent = 16

func (c *credentials) add(one credential) *credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.number = len(c.all)
	c.all = append(c.all, &one)
	return &one
}

// pick gives one of the newest, now and then an older one; nil if there is none.
func (c *credentials) pick(random *rand.Rand) *credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return nil
	}
	reach := min(recent, len(c.all))
	if random.IntN(20) == 0 {
		reach = len(c.all)
	}
	return c.all[len(c.all)-1-random.IntN(reach)]
}

// least is the revision to ask for: none, the credential's own, or the latest of all.
func (c *credentials) least(one *credential, random *rand.Rand) record.Revision {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch random.IntN(4) {
	case 0, 1:
		return one.last
	case 2:
		return c.highest
	}
	return 0
}

// told notes a revision that was answered.
func (c *credentials) told(one *credential, r record.Revision, change func(*credential)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.last, c.highest = max(one.last, r), max(c.highest, r)
	if change != nil {
		change(one)
	}
}

// read gives what change does not write meanwhile.
func (c *credentials) read(one *credential) credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *one
}

// newToken signs one; an owned one is revoked, and lifted again, by its maker alone.
func (w *workload) newToken(random *rand.Rand, worker int, owned bool) *credential {
	from := w.given
	if random.IntN(3) == 0 {
		from = w.fetched
	}
	name := fmt.Sprintf("%d-%d", worker, time.Since(w.began).Nanoseconds())
	named := func(target, prefix string) client.RevokeRequest {
		return client.RevokeRequest{Target: target, Issuer: from.name, Value: prefix + name}
	}
	one := credential{owner: -1}
	if one.text, one.kid = from.token(name, w.life); from == w.given {
		one.kid = ""
	}
	one.denied = []client.RevokeRequest{
		{Token: one.text}, named("jti", ""), named("subject", "user-"), named("client", "client-"), named("session", "session-"),
	}
	if owned {
		one.owner = worker
		one.denied = one.denied[1+random.IntN(4):][:1] // what is lifted has one name
	}
	return w.credentials.add(one)
}

// newKey has an API key made, for a consumer of its own or for one that many have.
func (w *workload) newKey(ctx context.Context, random *rand.Rand, worker, node int) {
	fields := client.KeyFields{Consumer: "all", Scopes: []string{"read"}}
	if random.IntN(3) == 0 {
		fields.Consumer = fmt.Sprintf("c-%d-%d", worker, time.Since(w.began).Nanoseconds())
		_, err := w.at(node).PutConsumer(ctx, fields.Consumer, client.ConsumerFields{Name: "of one key"})
		w.tally.count("make a consumer", node, err)
		if err != nil {
			return
		}
	}
	call := w.now()
	k, err := w.at(node).CreateKey(ctx, fields)
	w.tally.count("make an API key", node, err)
	if err != nil {
		return
	}
	w.addKey(k, worker, node, call)
}

func (w *workload) addKey(k client.NewKey, worker, node int, call int64) {
	if k.Secret == "" {
		return // the answer was lost, and who asked again was not told it
	}
	one := credential{text: k.Secret, key: k.ID, owner: -1, denied: []client.RevokeRequest{{Target: "key", Value: k.ID}}}
	if k.Consumer != "all" {
		one.denied = append(one.denied, client.RevokeRequest{Target: "consumer", Value: k.Consumer})
	}
	added := w.credentials.add(one)
	w.credentials.told(added, k.Revision, nil)
	w.note(worker, history.Question{Credential: added.number, Do: history.Make, Node: node}, history.Answer{Revision: k.Revision}, call)
}
