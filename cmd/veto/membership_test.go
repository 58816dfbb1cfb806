package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"veto/record"
	"veto/test/said"
)

// status is the cluster as the node sees it.
func (c *cluster) status(i int) record.ClusterStatus {
	c.t.Helper()
	var s record.ClusterStatus
	if err := json.Unmarshal([]byte(c.veto(i, "", "cluster")), &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// node is what the cluster says of a node; a zero one if it has none of the name.
func (c *cluster) node(asked, of int) record.NodeStatus {
	c.t.Helper()
	for _, n := range c.status(asked).Nodes {
		if n.ID == fmt.Sprintf("n%d", of+1) && n.Member {
			return n
		}
	}
	return record.NodeStatus{}
}

// told waits until the node that is asked has heard from the other which role that wants.
func (c *cluster) told(asked, of int) (n record.NodeStatus) {
	c.t.Helper()
	c.until(fmt.Sprintf("n%d says its role", of+1), func() bool {
		n = c.node(asked, of)
		return n.Wants != ""
	})
	return n
}

// gone waits until the node that is asked has heard that the other is no member any more.
func (c *cluster) gone(asked, of int) {
	c.t.Helper()
	c.until(fmt.Sprintf("n%d is no member", of+1), func() bool { return !c.node(asked, of).Member })
}

func (c *cluster) votes(asked, of int) {
	c.t.Helper()
	c.until(fmt.Sprintf("n%d votes", of+1), func() bool {
		n := c.node(asked, of)
		return n.Role == record.NodeVoter && n.State == "alive"
	})
}

func (c *cluster) folder(i int) string { return filepath.Join(c.dir, fmt.Sprintf("n%d", i+1)) }

func (c *cluster) wipe(i int) {
	c.t.Helper()
	if err := os.RemoveAll(c.folder(i)); err != nil {
		c.t.Fatal(err)
	}
}

// ends waits until a node has ended by itself, and gives its exit code.
func (c *cluster) ends(i int) int {
	c.t.Helper()
	done := make(chan struct{})
	go func() { _ = c.nodes[i].cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = c.nodes[i].cmd.Process.Kill()
		<-done
		c.t.Fatalf("n%d does not end:\n%s", i+1, c.nodes[i].out)
	}
	return c.nodes[i].cmd.ProcessState.ExitCode()
}

func (c *cluster) revoked(at int, consumer string) {
	c.t.Helper()
	c.until(fmt.Sprintf("n%d denies %s", at+1, consumer), func() bool {
		return strings.Contains(c.veto(at, "", "revocations", "list"), `"`+consumer+`"`)
	})
}

// A node that is given the id of a voter by mistake, with nothing on its disk, is not let in while that one lives, though gossip has
// lost it; it goes on as the voter that it is.
func TestTwinOfAVoterIsNotLetIn(t *testing.T) {
	for _, isLost := range []bool{false, true} {
		c := startCluster(t)
		leader := c.status(0).Leader
		at := slices.IndexFunc([]string{"n1", "n2", "n3"}, func(id string) bool { return id != leader })
		asked := (at + 1) % 3
		voter := c.nodes[at]
		twin := *voter
		if isLost {
			c.loseToGossip(at, asked)
		}
		twin.port, twin.out, twin.args = voter.port+30, &said.Output{}, append(slices.Clip(twin.args), "--data-dir", filepath.Join(c.dir, "twin"))
		c.nodes[at] = &twin
		c.start(at)
		c.until("its twin is not let in", func() bool {
			if isLost {
				return strings.Contains(c.nodes[0].out.String()+c.nodes[1].out.String()+c.nodes[2].out.String(), "the one with an empty data directory is not let in")
			}
			return strings.Contains(twin.out.String(), "does not let it in: node "+fmt.Sprintf("n%d", at+1)+" runs at")
		})
		if n := c.node(asked, at); n.Role != record.NodeVoter || !isLost && n.Address != fmt.Sprintf("127.0.0.1:%d", voter.port+2) {
			t.Errorf("the living voter is now %+v", n)
		}
		c.kill(at, syscall.SIGKILL)
		c.nodes[at] = voter
	}
}

// loseToGossip starts a node again with a gossip key that the others lack: Raft and calls reach it.
func (c *cluster) loseToGossip(i, asked int) {
	c.t.Helper()
	c.kill(i, syscall.SIGKILL)
	of, others := filepath.Join(c.dir, "lost"), filepath.Join(c.dir, "others")
	if out, code := execute(c.t, nil, "", "certs", "authority", "--dir", others); code != exitOK {
		c.t.Fatal(out)
	}
	if err := errors.Join(exec.Command("cp", "-a", filepath.Join(c.dir, "certs"), of).Run(), // with the modes
		os.Rename(filepath.Join(others, "gossip.key"), filepath.Join(of, "gossip.key"))); err != nil {
		c.t.Fatal(err)
	}
	c.nodes[i].args = append(slices.Clip(c.nodes[i].args), "--certs-dir", of)
	c.start(i)
	c.until("gossip has lost it", func() bool {
		n := c.node(asked, i)
		return n.State == "dead" && n.Level > 0
	})
}

// A dead node is replaced under its id at the same address, at another one, and under another id, each time
// with nothing left of its disk; and when it comes back with the old one it is told that it was removed.
func TestDeadNodeIsReplaced(t *testing.T) {
	c := startCluster(t)
	for _, name := range []string{"shop", "depot"} {
		c.veto(0, "", "consumers", "put", name)
	}
	c.veto(0, "", "revoke", "consumer", "shop")

	c.kill(2, syscall.SIGKILL)
	c.wipe(2)
	c.start(2)
	c.ready(2)
	c.votes(0, 2)
	c.revoked(2, "shop")
	if !strings.Contains(c.nodes[0].out.String()+c.nodes[1].out.String(), "a voter came back with an empty data directory") {
		t.Error("the empty node went on as the voter that it was")
	}

	c.kill(2, syscall.SIGKILL)
	c.wipe(2)
	c.nodes[2].port += 30
	c.until("gossip knows that n3 is dead", func() bool { return c.node(0, 2).State == "dead" })
	c.start(2)
	c.ready(2)
	c.votes(0, 2)
	at := fmt.Sprintf("127.0.0.1:%d", c.nodes[2].port+2)
	c.until("n3 is at "+at, func() bool { return c.node(1, 2).Address == at })

	c.kill(2, syscall.SIGKILL)
	c.start(c.add(c.nodes[0].port + 40))
	c.ready(3)
	c.votes(0, 3)
	c.revoked(3, "shop")
	if out, code := execute(t, c.env, "", "cluster", "remove", "n4", "--address", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[0].port+1)); code == exitOK || !strings.Contains(out, "veto cluster leave n4") {
		t.Errorf("one that answers was removed: %s", out)
	}
	c.until("n3 is removed", func() bool {
		_, code := execute(t, c.env, "", "cluster", "remove", "n3", "--address", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[0].port+1))
		return code == exitOK
	})
	c.gone(0, 2)
	c.start(2)
	if code := c.ends(2); code != exitError || !strings.Contains(c.nodes[2].out.String(), "was removed from its cluster while it was away") {
		t.Errorf("it came back with %d:\n%s", code, c.nodes[2].out)
	}
	c.wipe(2)
	c.start(2)
	c.ready(2)
	c.votes(0, 2)
}

// Who leads leaves while it takes revocations: the leadership moves once, what it answered is in the log, it
// is no member any more, and ends well; and does not come back by mistake.
func TestLeaderLeavesInOrder(t *testing.T) {
	c := startCluster(t)
	leader := c.leader()
	other := (leader + 1) % 3
	for i := range 40 {
		c.veto(other, "", "consumers", "put", fmt.Sprintf("shop-%d", i))
	}
	elections := func() (n int) {
		for _, p := range c.nodes {
			n += strings.Count(p.out.String(), "election won")
		}
		return n
	}
	before := elections()
	answered, left := map[string]bool{}, make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-left:
				return
			default:
			}
			name := fmt.Sprintf("shop-%d", i%40)
			if _, code := execute(t, c.env, "", "revoke", "consumer", name, "--address", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[leader].port+1)); code == exitOK {
				answered[name] = true
			}
		}
	})
	stop := sync.OnceFunc(func() { close(left); wg.Wait() })
	defer stop()
	c.until("some are revoked", func() bool { return strings.Contains(c.veto(other, "", "revocations", "list"), "shop-3") })
	out := c.veto(other, "", "cluster", "leave", fmt.Sprintf("n%d", leader+1))
	stop()
	if !strings.Contains(out, `"done": true`) {
		t.Error(out)
	}
	if code := c.ends(leader); code != exitOK {
		t.Errorf("it ended with %d:\n%s", code, c.nodes[leader].out)
	}
	c.gone(other, leader)
	if n := elections() - before; n != 1 {
		t.Errorf("the leadership moved %d times", n)
	}
	if len(answered) < 4 {
		t.Errorf("%v were taken", answered)
	}
	for name := range answered {
		c.revoked(other, name)
	}
	c.start(leader)
	if code := c.ends(leader); code != exitError || !strings.Contains(c.nodes[leader].out.String(), "left its cluster on") {
		t.Errorf("it came back with %d:\n%s", code, c.nodes[leader].out)
	}
	id := fmt.Sprintf("n%d", leader+1)
	out, code := execute(t, nil, "", "cluster", "recover", "--node-id", id, "--data-dir", filepath.Join(c.dir, id), "--certs-dir", filepath.Join(c.dir, "certs"))
	if code != exitError || !strings.Contains(out, ": the cluster went on without this node") || !strings.Contains(out, "last entry") {
		t.Errorf("a recovery of a node that left does not say so:\n%s", out)
	}
	c.wipe(leader)
	c.start(leader)
	c.ready(leader)
	c.votes(other, leader)
}

// An operator makes replicas of voters and voters of replicas, as long as those that are left can decide; a
// node keeps what it was made.
func TestRolesAreGivenByOperators(t *testing.T) {
	c := startCluster(t, "--voters", "3")
	c.start(c.add(c.nodes[0].port+40, "--voters", "3"))
	c.ready(3)
	if n := c.told(0, 3); n.Role != record.NodeReplica || n.Wants != record.NodeVoter {
		t.Errorf("a fourth: %+v", n)
	}
	c.veto(0, "", "cluster", "demote", "n2")
	c.votes(0, 3)
	if n := c.told(0, 1); n.Role != record.NodeReplica || n.Wants != record.NodeReplica {
		t.Errorf("%+v", n)
	}
	c.kill(1, syscall.SIGTERM)
	c.start(1)
	c.ready(1)
	if n := c.told(0, 1); n.Role != record.NodeReplica || n.Wants != record.NodeReplica {
		t.Errorf("after a restart: %+v", n)
	}
	out := c.veto(0, "", "cluster", "promote", "n2")
	if !strings.Contains(out, "waits for the place of a voter") {
		t.Error(out)
	}
	leader := c.leader()
	c.veto(0, "", "cluster", "demote", fmt.Sprintf("n%d", leader+1))
	c.votes(0, 1)
	if n := c.node(0, leader); n.Role != record.NodeReplica {
		t.Errorf("%+v", n)
	}
	voters := func() (all []int) {
		for i := range c.nodes {
			if c.node(0, i).Role == record.NodeVoter {
				all = append(all, i)
			}
		}
		return all
	}()
	if len(voters) != 3 {
		t.Fatal(voters)
	}
	now := c.status(0).Leader
	at := slices.IndexFunc(voters, func(i int) bool { return i != 0 && fmt.Sprintf("n%d", i+1) != now })
	c.kill(voters[at], syscall.SIGKILL)
	c.until("a voter that is needed is not demoted", func() bool {
		out, code := execute(t, c.env, "", "cluster", "demote", now, "--address", fmt.Sprintf("http://127.0.0.1:%d", c.nodes[0].port+1))
		return code == exitError && strings.Contains(out, "could decide nothing")
	})
}
