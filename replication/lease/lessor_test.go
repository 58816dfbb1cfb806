package lease_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"veto/record/limit"
	"veto/replication/lease"
)

const (
	leased = limit.Whole - limit.Floors
	second = 1000 // of demand
)

var start = time.Unix(1_800_000_000, 0)

// node is one that asks for shares of the key k.
type node struct {
	id     string
	number uint64
	term   uint64
	held   uint32
	until  time.Time
}

func (n *node) ask(demand uint64, now time.Time) limit.Report {
	if !now.Before(n.until) {
		n.held = 0
	}
	n.number++
	return limit.Report{Number: n.number, Term: n.term, Last: true, Asks: []limit.Ask{{Key: "k", Demand: demand, Held: n.held, Refill: 2000}}}
}

func (n *node) take(a limit.Answer, asked time.Time) {
	if len(a.Grants) == 1 {
		n.held, n.until = a.Grants[0].Share, asked.Add(limit.LeaseMillis*time.Millisecond)
	}
}

func cluster(size int) (nodes []*node, members []string) {
	for i := range size {
		nodes = append(nodes, &node{id: fmt.Sprintf("n%d", i), term: 1})
		members = append(members, nodes[i].id)
	}
	return nodes, members
}

func held(nodes []*node, now time.Time) (sum uint64) {
	for _, n := range nodes {
		if now.Before(n.until) {
			sum += uint64(n.held)
		}
	}
	return sum
}

// L1
func TestSharesNeverExceedTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, members := cluster(rapid.IntRange(1, 5).Draw(t, "nodes"))
		leaders, leader, term := []*lease.Lessor{lease.New(), lease.New()}, 0, uint64(1)
		now := start
		var late []func()
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(t, "pause")) * time.Millisecond)
			n := rapid.SampledFrom(nodes).Draw(t, "node")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // another leads
				leader, term = 1-leader, term+1
				for _, n := range nodes {
					n.term = term
				}
			case 1: // it starts anew
				n.held, n.until, n.number = 0, time.Time{}, n.number+1000
			case 2: // the report is lost
				n.ask(5*second, now)
			case 3: // the answer is lost, and the report comes again, late
				r := n.ask(uint64(rapid.IntRange(0, 1000).Draw(t, "demand"))*second, now)
				leaders[leader].Grant(n.id, r, term, members, now)
				late = append(late, func() { leaders[leader].Grant(n.id, r, term, members, now) })
			case 4:
				for _, f := range late {
					f()
				}
				late = nil
			default:
				r := n.ask(uint64(rapid.IntRange(0, 1000).Draw(t, "demand"))*second, now)
				n.take(leaders[leader].Grant(n.id, r, term, members, now.Add(3*time.Millisecond)), now)
			}
			if sum := held(nodes, now); sum > leased {
				t.Fatalf("the nodes hold %d of %d", sum, leased)
			}
		}
	})
}

// rounds has each node tell its demand so many times, half a second apart.
func rounds(l *lease.Lessor, nodes []*node, members []string, demand []uint64, count int, now *time.Time) {
	for range count {
		*now = now.Add(500 * time.Millisecond)
		for i, n := range nodes {
			n.take(l.Grant(n.id, n.ask(demand[i]*second, *now), 1, members, *now), *now)
		}
	}
}

// L2
func TestSharesFollowTheDemand(t *testing.T) {
	nodes, members := cluster(4)
	l, now := lease.New(), start
	for _, demand := range [][]uint64{{100, 100, 100, 100}, {1000, 0, 0, 0}, {0, 0, 1000, 0}, {10, 20, 30, 40}, {5, 0, 0, 5}} {
		rounds(l, nodes, members, demand, 4, &now)
		total := uint64(0)
		for _, d := range demand {
			total += d
		}
		for i, n := range nodes {
			want := float64(leased) * float64(demand[i]) / float64(total)
			if got := float64(n.held); got < want*0.95-1 || got > want*1.06+1 {
				t.Errorf("with demand %v node %d has %.3f of what is leased, not %.3f", demand, i, got/leased, want/leased)
			}
		}
	}
}

// L2
func TestSameReportsSameShares(t *testing.T) {
	run := func() string {
		nodes, members := cluster(5)
		l, now, said := lease.New(), start, ""
		for i := range 40 {
			rounds(l, nodes, members, []uint64{uint64(i), 7, uint64(40 - i), 3, uint64(i * i)}, 1, &now)
			for _, n := range nodes {
				said += fmt.Sprint(n.held, " ")
			}
		}
		return said
	}
	if a, b := run(), run(); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

// L3
func TestLeaseRunsOut(t *testing.T) {
	nodes, members := cluster(2)
	l, now := lease.New(), start
	rounds(l, nodes, members, []uint64{1000, 0}, 2, &now)
	taken := now
	if nodes[0].held != leased {
		t.Fatalf("alone with its demand a node has %d of %d", nodes[0].held, leased)
	}
	grant := func(after time.Duration) uint32 {
		at := taken.Add(after)
		nodes[1].take(l.Grant("n1", nodes[1].ask(second, at), 1, members, at), at)
		return nodes[1].held
	}
	if got := grant(limit.LeaseMillis*time.Millisecond - 1); got != 0 {
		t.Errorf("%d was granted while another held it", got)
	}
	if got := grant(limit.LeaseMillis * time.Millisecond); got != leased {
		t.Errorf("%d was granted of what nobody holds", got)
	}
}

// L1
func TestNewLeaderRaisesNothing(t *testing.T) {
	nodes, members := cluster(2)
	l, now := lease.New(), start
	rounds(l, nodes, members, []uint64{10, 10}, 3, &now)
	before := nodes[0].held
	next := lease.New()
	nodes[0].term, nodes[1].term = 2, 2
	nodes[0].take(next.Grant("n0", nodes[0].ask(1000*second, now), 2, members, now), now)
	if nodes[0].held != before {
		t.Fatalf("a new leader gave %d to who held %d, before it knew what others hold", nodes[0].held, before)
	}
	nodes[1].take(next.Grant("n1", nodes[1].ask(10*second, now), 2, members, now), now) // gives some up
	now = now.Add(time.Millisecond)
	nodes[1].take(next.Grant("n1", nodes[1].ask(10*second, now), 2, members, now), now) // and says so
	nodes[0].take(next.Grant("n0", nodes[0].ask(1000*second, now), 2, members, now), now)
	if nodes[0].held <= before {
		t.Errorf("when all have told, %d of %d is held", nodes[0].held, leased)
	}
}

// L4
func TestBurstHasRested(t *testing.T) {
	nodes, members := cluster(2)
	l, now := lease.New(), start
	grant := func(i int, demand uint64) limit.Grant {
		a := l.Grant(nodes[i].id, nodes[i].ask(demand, now), 1, members, now)
		nodes[i].take(a, now)
		return a.Grants[0]
	}
	if grant(0, second).Full {
		t.Error("a new leader takes a burst for whole")
	}
	now = now.Add(time.Minute)
	if !grant(0, second).Full {
		t.Error("a burst that has rested is not given")
	}
	if grant(0, second).Full {
		t.Error("a burst is given twice")
	}
	grant(0, 0)
	grant(0, 0) // it holds nothing now
	now = now.Add(time.Second)
	if g := grant(1, second); g.Full || g.Share != leased {
		t.Errorf("%+v is given right after another node", g)
	}
	now = now.Add(limit.LeaseMillis*time.Millisecond + 2*time.Second)
	if !grant(0, second).Full {
		t.Error("a burst that has rested since is not given")
	}
}

// L5
func TestForgets(t *testing.T) {
	l, now := lease.New(), start
	for i := range 1000 {
		l.Grant("n0", limit.Report{Number: uint64(i + 1), Term: 1, Asks: []limit.Ask{{Key: fmt.Sprint(i), Demand: second, Refill: 2000}}}, 1, []string{"n0"}, now)
	}
	if n := l.Keys(); n != 1000 {
		t.Fatalf("%d of 1000 are known", n)
	}
	now = now.Add(limit.LeaseMillis*time.Millisecond*2 + 5*time.Second)
	l.Grant("n0", limit.Report{Number: 5000, Term: 1}, 1, []string{"n0"}, now)
	if n := l.Keys(); n != 0 {
		t.Errorf("%d are still known", n)
	}
}
