package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"veto/client"
	"veto/node"
	"veto/node/dev"
	"veto/test/ports"
)

// waits waits until the node with the control plane says in its readiness what is wanted.
func (s *story) waits(control, what string) {
	s.Helper()
	for {
		var got struct {
			Checks []struct{ Detail string }
		}
		r, err := http.Get(control + "/readyz?verbose")
		if err == nil {
			err = json.NewDecoder(r.Body).Decode(&got)
			_ = r.Body.Close()
		}
		if err != nil {
			s.Fatal(err)
		}
		for _, c := range got.Checks {
			if strings.Contains(c.Detail, what) {
				return
			}
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("it does not say %q: %+v", what, got)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// N14: a voter whose disk was lost, with one that has everything but for the last change, make no majority:
// together they would forget that change.
func TestEmptyVoterDoesNotVote(t *testing.T) {
	s := tell(t, 3)
	s.trustDemoIssuer(0)
	leader := s.leader()
	behind, lost := (leader+1)%3, (leader+2)%3
	if err := s.cluster.StopNode(behind); err != nil {
		t.Fatal(err)
	}
	receipt := s.revoke(leader, client.RevokeRequest{Target: "jti", Issuer: s.cluster.Issuer().URL(), Value: "x"})
	for _, i := range []int{lost, leader} {
		if err := s.cluster.StopNode(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(s.cluster.NodeConfig(lost).DataDir); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{behind, lost} {
		if err := s.cluster.StartNode(i); err != nil {
			t.Fatal(err)
		}
	}
	s.waits(s.cluster.Control(lost), "to let it in")
	if s.cluster.Node(behind).Leads() || s.cluster.Node(lost).Leads() {
		t.Fatal("an empty voter helped elect a leader that lacks what was committed")
	}
	if err := s.cluster.StartNode(leader); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.cluster.AwaitReady(s.ctx, i); err != nil {
			t.Fatal(err)
		}
		if _, err := s.at(i).Revocation(s.ctx, receipt.ID); err != nil {
			t.Error(err)
		}
	}
}

// N14
func TestNodeThatFoundsNothingSaysSo(t *testing.T) {
	s := tellOf(t, 1, nil)
	c := s.cluster.NodeConfig(0)
	port := ports.Take(t)
	c.DataDir, c.NodeID, c.Port, c.Join = t.TempDir(), "n1", port, []string{"127.0.0.1:1"}
	n, err := node.Start(c, node.Surroundings{Version: "test", Now: time.Now, Log: logger(t), AdminToken: func(string) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	s.waits(fmt.Sprintf("http://127.0.0.1:%d", port+1), "with --join and --bootstrap-expect 1 a node founds none")
}

// Of a cluster on one machine a node that is to leave does, and the others go on; it can come again.
func TestNodeOfADevClusterLeaves(t *testing.T) {
	s := tell(t, 3)
	if _, err := s.at(0).LeaveCluster(s.ctx, dev.ID(2)); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-s.cluster.Ended():
		if e.Node != dev.ID(2) || e.Err != nil || s.cluster.Node(2) != nil {
			t.Errorf("%+v", e)
		}
	case <-s.ctx.Done():
		t.Fatal("it did not leave")
	}
	s.trustDemoIssuer(0)
	if err := s.cluster.StartNode(2); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.AwaitReady(s.ctx, 2); err != nil {
		t.Error(err)
	}
}

// Close comes while the node leaves, and cannot, as the others are not there: it ends that, and all is closed when
// it returns.
func TestCloseWhileTheNodeLeaves(t *testing.T) {
	s := tell(t, 3)
	n := s.cluster.Node(2)
	for i := range 2 {
		if err := s.cluster.StopNode(i); err != nil {
			t.Fatal(err)
		}
	}
	left := make(chan error, 1)
	go func() { left <- n.Leave(context.WithoutCancel(s.ctx)) }()
	<-n.Closed() // it has begun
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	select {
	case err := <-left:
		if err == nil || !strings.Contains(err.Error(), "still a member") {
			t.Errorf("it left without the others: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it leaves still, and is closed")
	}
	if err := n.Leave(s.ctx); err == nil || !strings.Contains(err.Error(), "still a member") {
		t.Errorf("it left when it was closed: %v", err)
	}
}

// A directory with nodes that would not be started is refused: after the others have left, the first would found
// another cluster in it.
func TestSmallerDevClusterIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, dev.ID(2)), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := dev.Start(t.Context(), dev.Config{Dir: dir, Nodes: 2, Port: ports.Take(t), Version: "test", Now: time.Now, Log: logger(t), Ready: func(string) {}})
	if err == nil || !strings.Contains(err.Error(), "give --nodes 3") {
		t.Errorf("%v", err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("something was made: %v %v", all, err)
	}
}
