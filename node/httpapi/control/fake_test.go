package control_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"veto/node/httpapi/watch"
	"veto/record"
	"veto/record/event"
	"veto/record/trail"
	"veto/test/token"
	"veto/validate/keyset"
)

// cluster is a state in memory that applies commands at once: enough to see what the control
// plane asks for and shows. What commands mean is tested in replication/machine.
type cluster struct {
	head        trail.Head
	mu          sync.Mutex
	revision    record.Revision
	issuers     map[string]record.Issuer
	signing     map[string]record.SigningKeys
	consumers   map[string]record.Consumer
	keys        map[string]record.APIKey
	roles       map[string]record.DefinedRole
	revocations map[record.Digest]record.Revocation
	requests    map[string]remembered
	commands    []record.Command
	fail        error // what Propose gives instead
	ready       bool
	leaderless  bool // revocations stay pending
	pending     map[record.Digest]record.Revocation
	sessions    map[string]record.PortalSession
	trust       *keyset.Holder
	meanwhile   func() // what others do before an answer is made
	backup      func(io.Writer) error
}

type remembered struct {
	sum    [32]byte
	result record.Result
}

func newCluster() *cluster {
	return &cluster{
		revision: 10, ready: true, trust: keyset.NewHolder(),
		issuers: map[string]record.Issuer{}, signing: map[string]record.SigningKeys{},
		consumers: map[string]record.Consumer{}, keys: map[string]record.APIKey{},
		roles: map[string]record.DefinedRole{}, sessions: map[string]record.PortalSession{},
		revocations: map[record.Digest]record.Revocation{}, requests: map[string]remembered{},
	}
}

func (c *cluster) Propose(_ context.Context, command record.Command) (record.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return record.Result{}, c.fail
	}
	encoded, err := command.Encode()
	if err != nil {
		return record.Result{}, err
	}
	if _, err := record.DecodeCommand(encoded); err != nil {
		return record.Result{}, errors.New("no node could read this from the log: " + err.Error())
	}
	if b, ok := command.Body.(record.Import); ok {
		return c.importPart(b), nil
	}
	if was, ok := c.requests[command.Request.Key]; ok && command.Request.Key != "" {
		if was.sum != command.Request.Sum {
			return record.Result{}, record.Conflict("this Idempotency-Key was used for another request")
		}
		was.result.Repeated = true
		return was.result, nil
	}
	result, err := c.apply(command.Body)
	if err != nil {
		return record.Result{}, err
	}
	c.revision++
	result.Revision = c.revision
	c.stamp(result.Ref)
	c.commands = append(c.commands, command)
	c.requests[command.Request.Key] = remembered{command.Request.Sum, result}
	if c.meanwhile != nil {
		c.meanwhile()
	}
	return result, nil
}

// stamp gives the record that was changed its revision.
func (c *cluster) stamp(id string) {
	if one, ok := c.consumers[id]; ok {
		one.Revision = c.revision
		c.consumers[id] = one
	}
	if k, ok := c.keys[id]; ok {
		k.Revision = c.revision
		c.keys[id] = k
	}
	if r, ok := c.roles[id]; ok {
		r.Revision = c.revision
		c.roles[id] = r
	}
}

func (c *cluster) create(b record.CreateKey) (record.Result, error) {
	for _, k := range c.keys {
		if k.Hash == b.Key.Hash {
			return record.Result{}, &record.Rejection{Reason: record.ReasonDuplicateKey, Detail: k.ID + " has this hash"}
		}
	}
	c.keys[b.Key.ID] = b.Key
	return record.Result{Ref: b.Key.ID}, nil
}

func (c *cluster) roll(b record.RollKey) (record.Result, error) {
	k, ok := c.keys[b.ID]
	if !ok {
		return record.Result{}, record.NotFound("there is no API key %s", b.ID)
	}
	if k.Disabled {
		return record.Result{}, &record.Rejection{Reason: record.ReasonKeyDisabled, Detail: "it is disabled"}
	}
	k.Rotating = &record.Rotating{Hash: k.Hash, Hint: k.Hint, Until: now().Add(b.Overlap)}
	k.Hash, k.Hint = b.Hash, b.Hint
	c.keys[b.ID] = k
	return record.Result{Ref: b.ID}, nil
}

func (c *cluster) portal(body record.Body) (record.Result, error) {
	switch b := body.(type) {
	case record.OpenSession:
		s := record.PortalSession{ID: record.SessionID(b.Hash), Consumer: b.Consumer, Hash: b.Hash, ExpiresAt: now().Add(b.Lifetime)}
		c.sessions[s.ID] = s
		return record.Result{Ref: s.ID}, nil
	case record.EndSession:
		return remove(c.sessions, b.ID)
	case record.ManageKey:
		if b.Roll != nil {
			return c.roll(*b.Roll)
		}
		return c.apply(*b.Create)
	}
	return record.Result{}, errors.New("not of the portal")
}

func (c *cluster) apply(body record.Body) (record.Result, error) {
	switch b := body.(type) {
	case record.PutIssuer:
		b.Issuer.Revision = c.revision + 1
		c.issuers[b.Issuer.ID] = b.Issuer
		c.signing[b.Issuer.ID] = record.SigningKeys{IssuerID: b.Issuer.ID, Keys: b.Keys}
		c.trustAll()
		return record.Result{Ref: b.Issuer.ID}, nil
	case record.DeleteIssuer:
		return remove(c.issuers, b.ID)
	case record.PutConsumer:
		c.consumers[b.Consumer.ID] = b.Consumer
		return record.Result{Ref: b.Consumer.ID}, nil
	case record.UpdateConsumer:
		one, ok := c.consumers[b.ID]
		if !ok {
			return record.Result{}, record.NotFound("there is no consumer %s", b.ID)
		}
		if b.Disabled != nil {
			one.Disabled = *b.Disabled
		}
		c.consumers[b.ID] = one
		return record.Result{Ref: b.ID}, nil
	case record.DeleteConsumer:
		return remove(c.consumers, b.ID)
	case record.CreateKey:
		return c.create(b)
	case record.UpdateKey:
		k, ok := c.keys[b.ID]
		if !ok {
			return record.Result{}, record.NotFound("there is no API key %s", b.ID)
		}
		if b.Disabled != nil {
			k.Disabled = *b.Disabled
		}
		if b.Roles != nil {
			k.Roles = *b.Roles
		}
		c.keys[b.ID] = k
		return record.Result{Ref: b.ID}, nil
	case record.RollKey:
		return c.roll(b)
	case record.OpenSession, record.EndSession, record.ManageKey:
		return c.portal(body)
	case record.PutPepper:
		return record.Result{Ref: "2"}, nil
	case record.DeleteKey:
		return remove(c.keys, b.ID)
	case record.PutRole:
		c.roles[string(b.Role.ID)] = b.Role
		return record.Result{Ref: string(b.Role.ID)}, nil
	case record.DeleteRole:
		return remove(c.roles, string(b.ID))
	case record.Revoke:
		for _, r := range b.Revocations {
			c.revocations[digestKey.Digest(r.Name)] = r
		}
		return record.Result{}, nil
	case record.MarkLeaked:
		return record.Result{}, nil
	case record.Lift:
		return remove(c.revocations, b.Digest)
	}
	return record.Result{}, errors.New("not a command of the control plane")
}

func (c *cluster) importPart(b record.Import) record.Result {
	c.revision++
	r := record.Result{Revision: c.revision}
	for n, item := range b.Items {
		if item.Alike < 0 {
			r.Refused = append(r.Refused, record.Refusal{Number: b.First + uint64(n)})
			continue
		}
		one := b.Alike[item.Alike]
		one.Value = item.Value
		c.revocations[digestKey.Digest(one.Name)] = one
	}
	return r
}

func remove[K comparable, V any](m map[K]V, id K) (record.Result, error) {
	if _, ok := m[id]; !ok {
		return record.Result{}, record.NotFound("there is nothing of that id")
	}
	delete(m, id)
	return record.Result{}, nil
}

func (c *cluster) trustAll() {
	var issuers []record.Issuer
	var keys []record.SigningKeys
	for id, i := range c.issuers {
		issuers, keys = append(issuers, i), append(keys, c.signing[id])
	}
	c.trust.Swap(issuers, keys)
}

func (c *cluster) last() record.Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commands[len(c.commands)-1]
}

func (c *cluster) changes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.commands)
}

var digestKey = record.DigestKey{1}

func (c *cluster) MostLines() int { return record.MaxImport }

func (c *cluster) Freshness() record.Freshness {
	c.mu.Lock()
	defer c.mu.Unlock()
	return record.Freshness{Revision: c.revision, AsOf: now(), Ready: c.ready}
}

func (c *cluster) Revoked(n record.Name, _ int64) (record.Revocation, bool) {
	s, ok, _ := c.Revocation(digestKey.Digest(n))
	return s.Revocation, ok
}

func (c *cluster) Digest(n record.Name) record.Digest { return digestKey.Digest(n) }

func (c *cluster) InUse() record.ClassSet { return record.SingleTargets }

func (c *cluster) FirstDenied(all []record.Digest, _ int64) int {
	return slices.IndexFunc(all, func(d record.Digest) bool {
		_, ok, _ := c.Revocation(d)
		return ok
	})
}

func (c *cluster) AnsweredBy(record.Digest, int64) string { return "the test" }

func (c *cluster) RevocationID(n record.Name) string { return digestKey.Digest(n).RevocationID() }

func (c *cluster) APIKey(h record.KeyHash, _ *record.KeyRoom) (k *record.APIKey, old, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.keys {
		if k.Hash == h || k.ByOld(h) {
			return &k, k.ByOld(h), true
		}
	}
	return nil, false, false
}

func (c *cluster) Locked() bool { return false }

func (c *cluster) Imports() bool { return false }

func (c *cluster) Issuers() []record.Issuer { return above(c, c.issuers, "", 1000) }

func (c *cluster) SigningKeys(id string) (record.SigningKeys, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.signing[id]
	return k, ok
}

func (c *cluster) Consumer(id string) (*record.Consumer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.consumers[id]
	return &found, ok
}

func (c *cluster) Consumers(q record.ConsumerQuery, after string, limit int) ([]record.Consumer, string, error) {
	all := slices.DeleteFunc(above(c, c.consumers, after, 1000), func(one record.Consumer) bool { return !q.Finds(&one) })
	return firstOf(all, limit, func(one record.Consumer) string { return one.ID })
}

// firstOf is a page, and where the next begins.
func firstOf[T any](all []T, limit int, id func(T) string) ([]T, string, error) {
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], id(all[limit-1]), nil
}

func (c *cluster) Seal(purpose, text string) [16]byte { return digestKey.Seal(purpose, text) }

func (c *cluster) Key(id string) (record.APIKey, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.keys[id]
	return k, ok, nil
}

func (c *cluster) KeyOf(consumer, id string) (record.APIKey, bool, error) {
	k, ok, err := c.Key(id)
	return k, ok && k.Consumer == consumer, err
}

func (c *cluster) KeysOf(consumer, after string, limit int) ([]record.APIKey, error) {
	all := slices.DeleteFunc(above(c, c.keys, after, 1000), func(k record.APIKey) bool { return k.Consumer != consumer })
	return all[:min(limit, len(all))], nil
}

func (c *cluster) Session(id string) (record.PortalSession, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[id]
	return s, ok, nil
}

func (c *cluster) SessionBySecret(sum record.KeyHash) (record.PortalSession, bool, error) {
	return c.Session(record.SessionID(sum))
}

func (c *cluster) Managed(p record.Person, _ int) ([]string, error) {
	var ids []string
	for _, one := range above(c, c.consumers, "", 1000) {
		if one.IsManager(p) {
			ids = append(ids, one.ID)
		}
	}
	return ids, nil
}

func (c *cluster) Keys(q record.KeyQuery, now time.Time, after string, limit int) ([]record.APIKey, string, error) {
	all := slices.DeleteFunc(above(c, c.keys, after, 1000), func(k record.APIKey) bool {
		found, _ := q.Finds(&k, now, func() (bool, error) {
			_, is := c.Revoked(record.Name{Target: record.TargetKey, Value: k.ID}, record.NoIssuedAt)
			return is, nil
		})
		return !found
	})
	return firstOf(all, limit, func(k record.APIKey) string { return k.ID })
}

func (c *cluster) Role(id record.Role) (record.DefinedRole, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.roles[string(id)]
	return r, ok, nil
}

func (c *cluster) Roles(after string, limit int) ([]record.DefinedRole, string, error) {
	return firstOf(above(c, c.roles, after, limit+1), limit, func(r record.DefinedRole) string { return string(r.ID) })
}

func (c *cluster) Revocation(d record.Digest) (record.Standing, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.pending[d]; ok {
		return record.Standing{Revocation: r, Node: "n1"}, true, nil
	}
	r, ok := c.revocations[d]
	return record.Standing{Revocation: r}, ok, nil
}

func (c *cluster) Stands(_ context.Context, r record.Revocation, a record.Accepted) (record.Revocation, bool, error) {
	r.Revision = a.Revision
	return r, a.Revision != 0, nil
}

func (c *cluster) EveryRevocation(cursor string, limit int) ([]record.Revocation, string, error) {
	return c.Revocations(cursor, limit)
}

func (c *cluster) Revocations(_ string, limit int) ([]record.Revocation, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []record.Revocation
	for _, r := range c.revocations {
		all = append(all, r)
	}
	return all[:min(limit, len(all))], "", nil
}

func (c *cluster) Audit(after trail.Entry, limit int) ([]trail.Entry, error) {
	var all []trail.Entry
	for r := after.Revision + 1; r <= 5 && len(all) < limit; r++ {
		all = append(all, trail.Entry{Revision: r, Action: "revoke", Refs: []string{}})
	}
	return all, nil
}

func (c *cluster) AuditAnchor() (trail.Head, error) { return trail.Head{}, nil }

func (c *cluster) AuditHead() (trail.Head, error) { return c.head, nil }

func (c *cluster) AwaitRevision(ctx context.Context, r record.Revision) error {
	if r > c.revision {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (c *cluster) Status(context.Context) record.ClusterStatus {
	return record.ClusterStatus{ID: "cluster-1", Leader: "n1", Revision: c.revision, Nodes: []record.NodeStatus{}}
}

// ChangeMember knows one node.
func (c *cluster) ChangeMember(_ context.Context, m record.MemberChange) (record.MemberChanged, error) {
	if m.Node != "n2" {
		return record.MemberChanged{}, record.NotFound("the cluster has no node %q", m.Node)
	}
	return record.MemberChanged{Node: m.Node, Done: true, Detail: fmt.Sprint(m.Action, " ", m.Force)}, nil
}

// Revoke proposes at once, or, without a leader, leaves it pending.
func (c *cluster) Revoke(ctx context.Context, t record.Taken, _ time.Duration) (record.Accepted, error) {
	if c.leaderless {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pending = map[record.Digest]record.Revocation{digestKey.Digest(t.Revocation.Name): t.Revocation}
		return record.Accepted{Outbox: record.OutboxID{1}, Number: 1}, nil
	}
	r, err := c.Propose(ctx, record.Command{By: t.By, Request: t.Request, Body: record.Revoke{Revocations: []record.Revocation{t.Revocation}}})
	return record.Accepted{Revision: r.Revision, Kept: record.KeptUntil(time.Time{})}, err
}

// Events has one, and what came before is dropped.
func (c *cluster) Events(after event.ID, _ int) ([]event.Fact, event.ID, error) {
	if after.Revision < 5 {
		return nil, after, watch.Gone(5)
	}
	k := record.APIKey{ID: "key_1", Created: 6}
	f := event.Fact{ID: event.ID{Revision: 6, Number: 1}, Item: event.KeyItem(&k, false, 6), Record: &k}
	if after.Revision >= 6 {
		return nil, after, nil
	}
	return []event.Fact{f}, f.ID, nil
}

func (c *cluster) Now() (event.ID, error) { return event.ID{Revision: 6, Number: 1}, nil }

func (c *cluster) Await(ctx context.Context, r record.Revision) error {
	if r <= 6 {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *cluster) ClusterID() string { return "cluster-1" }

func (c *cluster) EnforcedOn(ctx context.Context, a record.Accepted, all bool) (on, pending []string) {
	deadline, _ := ctx.Deadline()
	return []string{"n1", "at " + strconv.Itoa(int(a.Revision)), "all " + strconv.FormatBool(all)},
		[]string{"within " + time.Until(deadline).Round(time.Second).String()}
}

func above[V any](c *cluster, m map[string]V, after string, limit int) []V {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id := range m {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var out []V
	for _, id := range ids[:min(limit, len(ids))] {
		out = append(out, m[id])
	}
	return out
}

// signer signs tokens of an issuer.
type signer struct {
	key ed25519.PrivateKey
	iss string
}

func newSigner(t *testing.T) signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, "https://issuer.example"}
}

func (s signer) jwks(t *testing.T) json.RawMessage {
	t.Helper()
	set, err := keyset.PublicJWKS(map[string]crypto.PublicKey{"k1": s.key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (s signer) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": s.iss, "sub": "someone", "iat": now().Unix(), "exp": now().Add(time.Hour).Unix()}
	for name, v := range claims {
		all[name] = v
	}
	return token.Sign(t, s.key, "k1", "JWT", all)
}

// peppers are the cluster's, of which it has one.
type peppers struct{ *cluster }

func (p peppers) Status() record.PepperStatus {
	return record.PepperStatus{
		State: record.PepperHeld, Peppers: []record.Pepper{{ID: 1, Wrapped: []byte("nobody's business"), WrappedBy: "a", MadeAt: now()}},
		Keys: []record.ChainCount{{Peppers: []record.PepperID{1}, Secrets: len(p.keys)}},
	}
}

func (p peppers) Rotate(ctx context.Context, c record.Command) (record.Result, error) {
	c.Body = record.PutPepper{Pepper: record.Pepper{ID: 2, Wrapped: []byte("nobody's business"), WrappedBy: "a"}}
	return p.Propose(ctx, c)
}
