package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"veto/client"
	"veto/node/dev"
	"veto/record"
	"veto/record/event"
)

// reader is someone who follows what happens, at one node.
type reader struct {
	events chan client.Event
	ended  chan error
	place  string // once it has ended
	stop   context.CancelFunc
}

func (s *story) follow(c *client.Client, after string) *reader {
	ctx, cancel := context.WithCancel(s.ctx)
	s.Cleanup(cancel)
	r := &reader{events: make(chan client.Event, 1000), ended: make(chan error, 1), stop: cancel}
	go func() {
		var err error
		r.place, err = c.Events(ctx, after, func(e client.Event) error { r.events <- e; return nil })
		r.ended <- err
	}()
	return r
}

func (r *reader) next(s *story) (client.Event, event.RevocationData) {
	s.Helper()
	select {
	case e := <-r.events:
		var data event.RevocationData
		if err := json.Unmarshal(e.Data, &data); err != nil {
			s.Fatal(err)
		}
		return e, data
	case err := <-r.ended:
		s.Fatalf("the stream ended: %v", err)
	case <-s.ctx.Done():
		s.Fatal("nothing happened")
	}
	return client.Event{}, event.RevocationData{}
}

// What happens is told on every node with the same ids and numbers, and a reader goes on over the
// loss of nodes and the restart of all.
func TestEventsGoOnAfterARestart(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	iss := s.cluster.Issuer().URL()
	name := func(i int) client.RevokeRequest {
		return client.RevokeRequest{Target: "subject", Issuer: iss, Value: fmt.Sprint("user-", i), Reason: "left"}
	}
	r := s.follow(client.New(client.Options{Control: []string{s.cluster.Control(0), s.cluster.Control(1), s.cluster.Control(2)}, Token: s.cluster.AdminToken()}), "0.0")
	if e, _ := r.next(s); e.Type != event.KeyCreated {
		t.Errorf("%+v", e)
	}
	var ids []string
	told := func(i int) {
		s.Helper()
		e, data := r.next(s)
		if e.Type != event.Revoked || data.Value != fmt.Sprint("user-", i) || data.Sequence != uint64(i+1) || data.Reason != "left" {
			t.Fatalf("%d: %+v %s", i, e, e.Data)
		}
		ids = append(ids, e.ID)
	}
	for i := range 3 {
		s.revoke(i, name(i))
		told(i)
	}
	if err := s.cluster.StopNode(0); err != nil { // the one that the reader is at
		t.Fatal(err)
	}
	s.revoke(1, name(3))
	told(3)
	// All stop, and start again; someone else resumes from what it knew long before.
	s.allBack(1, 2)
	s.revoke(2, name(4))
	told(4)
	for i := range 3 {
		again := s.follow(s.at(i), ids[1])
		for n := 2; n < 5; n++ {
			if e, _ := again.next(s); e.ID != ids[n] {
				t.Errorf("node %s: %s, want %s", dev.ID(i), e.ID, ids[n])
			}
		}
		again.stop()
	}
	receipt := s.revoke(0, name(5))
	told(5)
	if _, err := s.at(1).Lift(s.ctx, receipt.ID, "a mistake"); err != nil {
		t.Fatal(err)
	}
	if e, data := r.next(s); e.Type != event.Lifted || data.Value != "user-5" || data.Reason != "a mistake" || data.Sequence != 7 || e.Subject != receipt.ID {
		t.Errorf("%+v %s", e, e.Data)
	}
	// Who asks again is told that it was revoked, though what of is gone.
	s.gone(2, receipt.ID)
	again := s.follow(s.at(2), ids[4])
	if e, data := again.next(s); e.ID != ids[5] || !data.Gone || data.ID != receipt.ID || data.Value != "" {
		t.Errorf("%+v %s", e, e.Data)
	}
}

// allBack stops these nodes, too, and starts all.
func (s *story) allBack(running ...int) {
	s.Helper()
	for _, i := range running {
		if err := s.cluster.StopNode(i); err != nil {
			s.Fatal(err)
		}
	}
	for i := range s.nodes {
		if err := s.cluster.StartNode(i); err != nil {
			s.Fatal(err)
		}
	}
	for i := range s.nodes {
		if err := s.cluster.AwaitReady(s.ctx, i); err != nil {
			s.Fatal(err)
		}
	}
}

// gone waits until the node has no such revocation any more.
func (s *story) gone(i int, id string) {
	s.Helper()
	for {
		_, err := s.at(i).Revocation(s.ctx, id)
		var problem *client.Error
		if errors.As(err, &problem) && problem.Status == http.StatusNotFound {
			return
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("node %s has it still: %v", dev.ID(i), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// W4: a key that is taken away ends its streams, and a node that stops does not wait for them.
func TestStreamEndsWithItsKey(t *testing.T) {
	s := tell(t, 1)
	for name, take := range map[string]func(id string) error{
		"disabled": func(id string) error {
			yes := true
			_, err := s.at(0).UpdateKey(s.ctx, id, client.KeyChange{Disabled: &yes})
			return err
		},
		"rolled": func(id string) error {
			_, err := s.at(0).RollKey(s.ctx, id, 0, false)
			return err
		},
		"revoked": func(id string) error {
			s.revoke(0, client.RevokeRequest{Target: "key", Value: id})
			return nil
		},
		"deleted": func(id string) error { _, err := s.at(0).DeleteKey(s.ctx, id); return err },
	} {
		key, err := s.at(0).CreateKey(s.ctx, client.KeyFields{Roles: []record.Role{record.RoleAuditor}})
		if err != nil {
			t.Fatal(err)
		}
		r := s.follow(client.New(client.Options{Control: []string{s.cluster.Control(0)}, Token: key.Secret}), fmt.Sprintf("%d.0", key.Revision))
		if e, _ := r.next(s); e.Subject != key.ID {
			t.Errorf("%+v", e)
		}
		if err := take(key.ID); err != nil {
			t.Fatal(err)
		}
		var problem *client.Error
		select {
		case err := <-r.ended:
			if !errors.As(err, &problem) || problem.Status != http.StatusUnauthorized || len(r.events) != 0 {
				t.Errorf("%s: %v, %d events more", name, err, len(r.events))
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the stream goes on", name)
		}
	}
	r := s.follow(s.at(0), "0.0")
	r.next(s)
	before := time.Now()
	if err := s.cluster.StopNode(0); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(before); took > 4*time.Second {
		t.Errorf("the node waited %s for whoever listens", took)
	}
}
