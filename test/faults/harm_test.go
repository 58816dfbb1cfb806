//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// harm is one kind of it: it lasts until what do returns is called. That is right whatever else is
// broken or mended meanwhile.
type harm struct {
	name string
	aim  aim
	size func(r *rand.Rand) int // nil if there is nothing to measure
	do   func(n *nemesis, at []int, size int) (mend func())
}

func between(least, most int) func(*rand.Rand) int {
	return func(r *rand.Rand) int { return least + r.IntN(most-least+1) }
}

// clockJumps are seconds to hours, forward and back.
func clockJumps(r *rand.Rand) int {
	return []int{2, 20, 200, 2000, 3 * 3600, 40 * 3600}[r.IntN(6)] * (1 - 2*r.IntN(2))
}

var harms = []harm{
	{"kill -9 of the leader", theLeader, nil, (*nemesis).killing},
	{"kill -9 of a node", oneNode, nil, (*nemesis).killing},
	{"kill -9 of a minority of the voters", aMinority, nil, (*nemesis).killing},
	{"kill -9 of all nodes", everyNode, nil, (*nemesis).killing},
	{"a node is stopped and started", oneNode, nil, (*nemesis).stopping},
	{"the leader is frozen", theLeader, nil, (*nemesis).freezing},
	{"a node is frozen", oneNode, nil, (*nemesis).freezing},
	{"the leader is cut off", theLeader, nil, (*nemesis).isolating},
	{"a node is cut off", oneNode, nil, (*nemesis).isolating},
	{"the replicas are cut off", theReplicas, nil, (*nemesis).isolating},
	{"two halves", half, nil, (*nemesis).isolating},
	{"a ring", everyNode, nil, func(n *nemesis, at []int, _ int) func() {
		for i := range at {
			for j := range at {
				if d := (i - j + len(at)) % len(at); d > 1 && d < len(at)-1 {
					n.net.cut(at[i], at[j])
				}
			}
		}
		return n.net.heal
	}},
	{"all nodes are cut off from each other", everyNode, nil, func(n *nemesis, at []int, _ int) func() {
		for _, i := range at {
			n.net.isolate([]int{i})
		}
		return n.net.heal
	}},
	{"the leader hears nobody", theLeader, nil, (*nemesis).deafening},
	{"a node hears nobody", oneNode, nil, (*nemesis).deafening},
	{"nobody hears the leader", theLeader, nil, func(n *nemesis, at []int, _ int) func() {
		for i := range n.nodes {
			if i != at[0] {
				n.net.cut(at[0], i)
			}
		}
		return n.net.heal
	}},
	{"a link is down", oneNode, nil, func(n *nemesis, at []int, _ int) func() { return n.each(at, n.net.unplug, n.net.plug) }},
	{"cut off, then killed", oneNode, nil, func(n *nemesis, at []int, _ int) func() {
		n.net.isolate(at)
		n.wait(time.Second)
		n.killing(at, 0)()
		n.wait(time.Second)
		return n.net.heal
	}},
	{"packets are lost, % of a node's", oneNode, between(5, 40), (*nemesis).losing},
	{"packets are lost, % of everyone's", everyNode, between(2, 10), (*nemesis).losing},
	{"links are slow, by ms", everyNode, between(10, 300), func(n *nemesis, at []int, ms int) func() {
		return n.each(at, func(i int) { n.net.slow(i, ms) }, n.net.fast)
	}},
	{"notices are lost at a node", oneNode, nil, (*nemesis).muting},
	{"all notices are lost", everyNode, nil, (*nemesis).muting},
	{"the leader's clock is wrong, by s", theLeader, clockJumps, (*nemesis).misleading},
	{"a node's clock is wrong, by s", oneNode, clockJumps, (*nemesis).misleading},
	{"a node's disk is full", oneNode, nil, (*nemesis).filling},
	{"the leader's disk is full", theLeader, nil, (*nemesis).filling},
	{"a node's disk is slow, by ms", oneNode, between(50, 1000), func(n *nemesis, at []int, ms int) func() {
		return n.ailing(at, time.Duration(ms)*time.Millisecond, "")
	}},
	{"a node's disk fails", oneNode, nil, func(n *nemesis, at []int, _ int) func() {
		n.sick(at)
		return n.ailing(at, 0, "EIO")
	}},
	{"an issuer lies", nobody, func(r *rand.Rand) int { return r.IntN(len(lies)) }, func(n *nemesis, _ []int, which int) func() {
		n.fetched.tell(lies[which].tell)
		n.refetch()
		return func() { n.fetched.tell(nil) }
	}},
	{"an issuer is down", nobody, nil, func(n *nemesis, _ []int, _ int) func() {
		n.fetched.down()
		n.fetched.rotate()
		n.refetch()
		return n.fetched.up
	}},
	{"an issuer has a new key", nobody, nil, func(n *nemesis, _ []int, _ int) func() { n.fetched.rotate(); return func() {} }},
	{"the user's NATS server is down", nobody, nil, func(n *nemesis, _ []int, _ int) func() {
		n.stream.server.Kill()
		return n.stream.server.Run
	}},
}

func (n *nemesis) each(at []int, harm, mend func(i int)) func() {
	for _, i := range at {
		harm(i)
	}
	return func() {
		for _, i := range at {
			mend(i)
		}
	}
}

func (n *nemesis) killing(at []int, _ int) func() { return n.each(at, n.kill, n.start) }

func (n *nemesis) stopping(at []int, _ int) func() { return n.each(at, n.stop, n.start) }

func (n *nemesis) freezing(at []int, _ int) func() {
	return n.each(at, func(i int) { n.proc.signal(i, syscall.SIGSTOP) }, func(i int) { n.proc.signal(i, syscall.SIGCONT) })
}

func (n *nemesis) isolating(at []int, _ int) func() { n.net.isolate(at); return n.net.heal }

func (n *nemesis) deafening(at []int, _ int) func() {
	for i := range n.nodes {
		if i != at[0] {
			n.net.cut(i, at[0])
		}
	}
	return n.net.heal
}

func (n *nemesis) losing(at []int, percent int) func() {
	return n.each(at, func(i int) { n.net.filter(i, "lossy", fmt.Sprintf("numgen random mod 100 < %d", percent)) }, func(i int) { n.net.unfilter(i, "lossy") })
}

// muting loses what nodes tell each other ahead of the log: notices, beacons, and nothing else.
func (n *nemesis) muting(at []int, _ int) func() {
	return n.each(at, func(i int) { n.net.filter(i, "mute", "ip dscp af21") }, func(i int) { n.net.unfilter(i, "mute") })
}

func (n *nemesis) misleading(at []int, seconds int) func() {
	return n.each(at, func(i int) { n.setClock(i, seconds) }, func(i int) { n.setClock(i, 0) })
}

func (n *nemesis) filling(at []int, _ int) func() {
	n.sick(at)
	return n.each(at, func(i int) { n.disks[i].fill() }, func(i int) { n.disks[i].free(); n.start(i) })
}

// ailing has what the nodes ask of their disks take longer, or fail. A node may end of that.
func (n *nemesis) ailing(at []int, delay time.Duration, failure string) func() {
	var all []*sickness
	for _, i := range at {
		s, err := sicken(n.proc.number(i), delay, failure)
		if err != nil {
			n.t.Logf("the disk of %s stays as it is: %v", id(i), err)
			continue
		}
		all = append(all, s)
	}
	return func() {
		for _, s := range all {
			s.cure()
		}
		for _, i := range at {
			n.start(i)
		}
	}
}
