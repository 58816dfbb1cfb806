package node_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"veto/client"
	"veto/node"
	"veto/node/dev"
	"veto/record"
	"veto/record/trail"
	"veto/replication/store"
	"veto/validate"
)

// head waits until all nodes have the same audit trail, and is its head.
func (s *story) head() client.AuditHead {
	s.Helper()
	for {
		first, err := s.at(0).AuditHead(s.ctx)
		same := err == nil
		for i := 1; same && i < s.nodes; i++ {
			h, err := s.at(i).AuditHead(s.ctx)
			same = err == nil && h == first
		}
		if same {
			return first
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("the nodes do not come to the same head: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *story) trail(i int, f trail.Filter) string {
	s.Helper()
	var out bytes.Buffer
	if err := s.at(i).ExportAudit(s.ctx, &out, f); err != nil {
		s.Fatal(err)
	}
	return out.String()
}

// changes are one of each kind of change, made at different nodes, the secrets that were in them, and the node that took the one over NATS: a client that a node does not
// know yet goes to another.
func (s *story) changes() (secrets []string, overNATS string) {
	s.Helper()
	must := func(_ any, err error) {
		s.Helper()
		if err != nil {
			s.Fatal(err)
		}
	}
	secrets = append(secrets, s.cluster.AdminToken())
	a, b := s.at(1), s.at(2)
	shared := "a shared secret that nobody may see, ever"
	must(a.PutIssuer(s.ctx, "inner", client.Rules{Issuer: "https://inner.example", SharedSecret: base64.RawURLEncoding.EncodeToString([]byte(shared)), Algorithms: []string{"HS256"}}))
	must(a.PutConsumer(s.ctx, "shop", client.ConsumerFields{Name: "Shop", Metadata: []byte(`{"pin":"pin-4711"}`), Managers: []record.Person{{Issuer: "corp", Subject: "m@shop.example"}}}))
	k, err := b.CreateKey(s.ctx, client.KeyFields{Consumer: "shop", Name: "till", Metadata: []byte(`{"pin":"pin-4711"}`)})
	must(k, err)
	off := true
	must(a.UpdateKey(s.ctx, k.ID, client.KeyChange{Disabled: &off}))
	operator := s.key(client.KeyFields{Roles: revoker, Name: "night shift"})
	token := s.token()
	s.eventually(2, token, validate.OK)
	secrets = append(secrets, shared, base64.RawURLEncoding.EncodeToString([]byte(shared)), k.Secret, operator.Secret, token, "pin-4711", "m@shop.example")
	c, _ := s.nats(1, operator)
	receipt, problem := s.revokeBy(c, `{"target":"jti","issuer":"https://inner.example","value":"over-nats"}`, "")
	if problem.Code != "" {
		s.Fatalf("%+v", problem)
	}
	s.revoke(2, client.RevokeRequest{Token: token, Reason: "leaked"})
	lines := strings.Repeat(`{"target":"subject","issuer":"https://inner.example","value":"bulk"}`+"\n", 3)
	_, err = a.RevokeAll(s.ctx, "k", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(lines)), nil }, func(client.Progress) {})
	must(nil, err)
	must(b.Lift(s.ctx, receipt.ID, "a mistake"))
	must(b.DeleteKey(s.ctx, k.ID))
	must(b.DeleteConsumer(s.ctx, "shop"))
	must(b.DeleteIssuer(s.ctx, "inner"))
	return secrets, c.ConnectedServerName()
}

// N7: every node has the same trail, also when leaders change and nodes were away; it says who, what
// and from where, and holds no secret.
func TestAuditTrailOnThreeNodes(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	secrets, overNATS := s.changes()
	first := s.head()
	leader := s.leader()
	if err := s.cluster.StopNode(leader); err != nil {
		t.Fatal(err)
	}
	other := (leader + 1) % 3
	for { // until another leads
		if _, err := s.at(other).PutConsumer(s.ctx, "later", client.ConsumerFields{}); err == nil {
			break
		} else if s.ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if err := s.cluster.StartNode(leader); err != nil {
		t.Fatal(err)
	}
	last := s.head()
	if last.Sequence <= first.Sequence || last.Began == 0 {
		t.Errorf("%+v then %+v", first, last)
	}
	for i := range 3 {
		report, err := s.at(i).VerifyAudit(s.ctx, first.Head, last.Head)
		if err != nil || report.Entries < last.Sequence || report.Before != 0 {
			t.Errorf("%s: %+v %v", dev.ID(i), report, err)
		}
		all := s.trail(i, trail.Filter{})
		for n, secret := range secrets {
			if strings.Contains(all, secret) {
				t.Errorf("%s: the trail holds secret %d:\n%s", dev.ID(i), n, all)
			}
		}
		for _, want := range []string{
			`"action":"found"`, `"action":"put_issuer"`, `"action":"put_consumer"`, `"action":"create_key"`, `"action":"update_key"`, `"action":"import"`,
			`"action":"lift"`, `"action":"delete_key"`, `"action":"delete_consumer"`, `"action":"delete_issuer"`, `"action":"put_signing_keys"`,
			`"by_name":"night shift","from":{"node":"` + overNATS + `","way":"nats","address":"127.0.0.1"},"action":"revoke"`,
			`"by_name":"first admin","from":{"node":"n3","way":"http","address":"127.0.0.1"},"action":"revoke"`,
			`"way":"cluster"}`, `{"of":"shop","field":"metadata"}`, `"field":"disabled","from":"false","to":"true"`, `"reason":"a mistake"`,
		} {
			if !strings.Contains(all, want) {
				t.Errorf("%s: there is no %s in the trail:\n%s", dev.ID(i), want, all)
			}
		}
	}
	if some := s.trail(1, trail.Filter{By: "night shift"}); strings.Count(some, "\n") != 2 || !strings.Contains(some, `"filter":"by=night shift"`) {
		t.Errorf("%s", some)
	}
	for _, n := range s.status(0).Nodes {
		if n.Audit != record.AuditAgrees || n.AuditHead == "" {
			t.Errorf("%+v", n)
		}
	}
}

func (s *story) status(i int) record.ClusterStatus {
	s.Helper()
	status, err := s.at(i).Cluster(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	return status
}

// tamper changes the trail of a node on its disk, while it is stopped: its entries, and, unless that is
// nil, its head, of which a zero one is none.
func (s *story) tamper(i int, change func(all []trail.Entry) *trail.Head) {
	s.Helper()
	if err := s.cluster.StopNode(i); err != nil {
		s.Fatal(err)
	}
	disk, err := store.Open(filepath.Join(s.cluster.NodeConfig(i).DataDir, "state"), store.Options{Log: logger(s.T)})
	if err != nil {
		s.Fatal(err)
	}
	var all []trail.Entry
	from := record.TableAudit.Key()
	err = disk.Scan(from, record.KeyAfter(from), func(_, v []byte) (bool, error) {
		var e trail.Entry
		err := record.Decode(v, &e)
		all = append(all, e)
		return true, err
	})
	head := change(all)
	batch := disk.Begin()
	put := func(key []byte, v any) {
		b, errEncode := record.Encode(v)
		err = errors.Join(err, errEncode, batch.Put(key, b))
	}
	for _, e := range all {
		put(record.AuditKey(e.Revision, e.Number), e)
	}
	switch key := record.TableMeta.Key([]byte("audit/head")); {
	case head == nil:
	case head.Sequence == 0:
		err = errors.Join(err, batch.Delete(key), batch.Delete(record.TableMeta.Key([]byte("level"))))
	default:
		put(key, head)
	}
	if err := errors.Join(err, batch.Commit(disk.Applied()), disk.Close()); err != nil {
		s.Fatal(err)
	}
	if err := s.cluster.StartNode(i); err != nil {
		s.Fatal(err)
	}
	if err := s.cluster.AwaitReady(s.ctx, i); err != nil {
		s.Fatal(err)
	}
}

// N7: what was changed on the disk of a stopped node is found.
func TestTamperedDiskIsFound(t *testing.T) {
	s := tell(t, 3)
	for range 5 {
		s.key(client.KeyFields{Roles: revoker})
	}
	written := s.head()
	var place string
	s.tamper(1, func(all []trail.Entry) *trail.Head {
		all[2].ByName, place = "somebody else", all[2].Place()
		return nil
	})
	var broken *trail.Broken
	if _, err := s.at(1).VerifyAudit(s.ctx); !errors.As(err, &broken) || broken.Entry != place {
		t.Errorf("entry %s was altered, and found was: %v", place, err)
	}
	// Made anew as a whole it is a chain, and not the one that the others have.
	s.tamper(1, func(all []trail.Entry) *trail.Head {
		var head trail.Head
		for i := range all {
			if _, err := head.Next(&all[i]); err != nil {
				t.Fatal(err)
			}
		}
		return &head
	})
	if _, err := s.at(1).VerifyAudit(s.ctx); err != nil {
		t.Errorf("a forgery that is whole: %v", err)
	}
	if _, err := s.at(1).VerifyAudit(s.ctx, written.Head); !errors.As(err, &broken) || !strings.Contains(broken.Why, "does not hold the head") {
		t.Errorf("the head that was written down is not missed: %v", err)
	}
	if _, err := s.at(0).VerifyAudit(s.ctx, written.Head); err != nil {
		t.Errorf("a node that nobody touched: %v", err)
	}
	s.key(client.KeyFields{Roles: revoker})
	for _, n := range s.status(0).Nodes {
		if want := n.ID == dev.ID(1); (n.Audit == record.AuditDiffers) != want {
			t.Errorf("%s: %q", n.ID, n.Audit)
		}
	}
}

// N7: a cluster that is older than the chain begins one, all nodes at the same revision.
func TestOldClusterBeginsItsChain(t *testing.T) {
	s := tell(t, 1)
	s.key(client.KeyFields{Roles: revoker})
	before := s.head()
	old := 0
	s.tamper(0, func(all []trail.Entry) *trail.Head {
		for i := range all {
			all[i].Sequence, all[i].Hash = 0, trail.Hash{}
		}
		old = len(all)
		return &trail.Head{}
	})
	for {
		if h, err := s.at(0).AuditHead(s.ctx); err == nil {
			if h.Began <= before.Revision {
				t.Errorf("it began at %d, and %d was before", h.Began, before.Revision)
			}
			break
		} else if s.ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	s.key(client.KeyFields{Roles: revoker})
	if r, err := s.at(0).VerifyAudit(s.ctx); err != nil || r.Before != uint64(old) || r.Entries < 2 {
		t.Errorf("%d from before: %+v %v", old, r, err)
	}
}

// N7: what is older than it is kept is removed on all nodes alike, and the rest is verified from there on: also by who wrote
// down a head, and not by one of what was removed.
func TestAuditTrailIsCut(t *testing.T) {
	s := tellOf(t, 3, func(c *node.Config) { c.AuditRetention = 24 * time.Hour })
	for range 5 {
		s.key(client.KeyFields{Roles: revoker})
	}
	for s.status(0).Level < record.LevelTrail {
		select {
		case <-s.ctx.Done():
			t.Fatal("the level is not raised")
		case <-time.After(20 * time.Millisecond):
		}
	}
	old := s.head()
	s.key(client.KeyFields{Roles: revoker})
	last := s.head()
	s.ahead.Store(int64(3 * 24 * time.Hour)) // for the leader that comes next
	s.stopAll()
	s.restartAll()
	s.key(client.KeyFields{Roles: revoker})
	for s.head().After == "" {
		select {
		case <-s.ctx.Done():
			t.Fatal("nothing was removed")
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.key(client.KeyFields{Roles: revoker})
	now := s.head()
	for i := range 3 {
		r, err := s.at(i).VerifyAudit(s.ctx, now.Head)
		if err != nil || r.After != now.After || r.Removed == 0 || r.Removed < old.Sequence || r.Entries != now.Sequence-r.Removed {
			t.Errorf("node %d: %+v %v", i, r, err)
		}
		if _, err := s.at(i).VerifyAudit(s.ctx, last.Head); err != nil {
			t.Errorf("node %d, by a head of before that is there: %v", i, err)
		}
		var broken *trail.Broken
		if _, err := s.at(i).VerifyAudit(s.ctx, old.Head); r.After != old.Text && (!errors.As(err, &broken) || !strings.Contains(broken.Why, "cannot be told any more")) {
			t.Errorf("node %d, by a head of what was removed: %v", i, err)
		}
	}
	if said := s.trail(1, trail.Filter{Action: trail.ActionCut}); strings.Count(said, `"audit_trail"`) != 1 || !strings.Contains(said, now.After) {
		t.Errorf("%s", said)
	}
	for _, n := range s.status(0).Nodes {
		if n.Audit == record.AuditDiffers {
			t.Errorf("%s has another trail", n.ID)
		}
	}
}
