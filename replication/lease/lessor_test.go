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

// leader is a Lessor in its term.
type leader struct {
	*lease.Lessor
	term uint64
}

// elect has a new Lessor lead.
func elect(term uint64, at time.Time) leader {
	l := leader{lease.New(), term}
	l.Lead(term, at)
	return l
}

// L1
func TestSharesNeverExceedTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, members := cluster(rapid.IntRange(1, 5).Draw(t, "nodes"))
		now := start
		leaders := []leader{elect(1, now)} // by terms; all but the last believe that they lead, too
		var late []func()
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(t, "pause")) * time.Millisecond)
			last := leaders[len(leaders)-1]
			last.Lead(last.term, now)
			n := rapid.SampledFrom(nodes).Draw(t, "node")
			demand := uint64(rapid.IntRange(0, 1000).Draw(t, "demand")) * second
			asked := leaders[n.term-1]
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // another leads, and nobody has heard of it
				leaders = append(leaders, elect(last.term+1, now))
			case 1: // it starts anew
				n.held, n.until, n.number = 0, time.Time{}, n.number+1000
			case 2: // the report is lost
				n.ask(demand, now)
			case 3: // the answer is lost, and the report comes again, late, to whoever leads
				r := n.ask(demand, now)
				asked.Grant(n.id, r, members, now)
				late = append(late, func() { leaders[len(leaders)-1].Grant(n.id, r, members, now) })
			case 4:
				for _, f := range late {
					f()
				}
				late = nil
			case 5: // it hears who leads
				n.term = last.term
			default:
				r := n.ask(demand, now)
				n.take(asked.Grant(n.id, r, members, now.Add(3*time.Millisecond)), now)
			}
			if sum := held(nodes, now); sum > leased {
				t.Fatalf("the nodes hold %d of %d", sum, leased)
			}
		}
	})
}

// L1
func TestLateReports(t *testing.T) {
	nodes, members := cluster(2)
	now := start
	l := elect(1, now)
	before := nodes[0].ask(1000*second, now) // when it held nothing
	rounds(l, nodes, members, []uint64{1000, 0}, 2, &now)
	for name, r := range map[string]limit.Report{
		"an earlier report":         before,
		"the same again":            {Number: nodes[0].number, Term: 1, Asks: before.Asks},
		"a report of another term":  {Number: nodes[0].number + 1, Asks: before.Asks},
		"a report of a later term":  {Number: nodes[0].number + 1, Term: 2, Asks: before.Asks},
		"a report that is too long": {Number: nodes[0].number + 1, Term: 1, Asks: make([]limit.Ask, limit.MaxAsks+1)},
	} {
		if a := l.Grant("n0", r, members, now); len(a.Grants) > 0 {
			t.Errorf("%s is granted %+v", name, a.Grants)
		}
	}
	// Nor is it believed that it holds nothing, or wants less.
	r := nodes[0].ask(0, now)
	r.Term, r.Asks[0].Held = 2, 0
	l.Grant("n0", r, members, now)
	if nodes[1].take(l.Grant("n1", nodes[1].ask(second, now), members, now), now); held(nodes, now) > leased {
		t.Errorf("the nodes hold %d of %d", held(nodes, now), leased)
	}
}

// L1
func TestUnconfirmedLeaderGrantsNothing(t *testing.T) {
	nodes, members := cluster(1)
	l := elect(1, start)
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{time.Second, 1}, {time.Second + 1, 0}} {
		at := start.Add(c.after)
		if a := l.Grant("n0", nodes[0].ask(second, at), members, at); len(a.Grants) != c.want {
			t.Errorf("%s after a majority confirmed it a leader granted %+v", c.after, a.Grants)
		}
	}
	if a := lease.New().Grant("n0", limit.Report{Number: 1, Asks: []limit.Ask{{Key: "k", Demand: second}}}, members, start); len(a.Grants) > 0 {
		t.Errorf("a node that never led granted %+v", a.Grants)
	}
}

// L1
func TestNewLeaderWaitsForLeasesOfTheLast(t *testing.T) {
	nodes, members := cluster(3) // n2 tells nothing
	last, next := elect(1, start), elect(2, start.Add(time.Millisecond))
	now := start.Add(time.Second) // the last may still take itself for the leader
	for _, n := range []*node{nodes[0], nodes[0], nodes[2]} {
		last.Grant(n.id, n.ask(0, now), members, now)
	}
	last.Grant("n1", limit.Report{Number: 1, Term: 1, Last: true}, members, now)
	if nodes[0].take(last.Grant("n0", nodes[0].ask(second, now), members, now), now); nodes[0].held != leased {
		t.Fatalf("%d of %d are held", nodes[0].held, leased)
	}
	nodes[1].term, nodes[1].number = 2, 1
	for now.Before(start.Add(7 * time.Second)) {
		now = now.Add(50 * time.Millisecond)
		next.Lead(2, now)
		nodes[1].take(next.Grant("n1", nodes[1].ask(second, now), members, now), now)
		if sum := held(nodes[:2], now); sum > leased {
			t.Fatalf("after %s the nodes hold %d of %d", now.Sub(start), sum, leased)
		}
	}
	if nodes[1].held != leased {
		t.Errorf("in the end %d of %d are held", nodes[1].held, leased)
	}
}

// L1
func TestLostAnswer(t *testing.T) {
	nodes, members := cluster(2)
	l, now := elect(1, start), start
	rounds(l, nodes, members, []uint64{1000, 0}, 2, &now)
	nodes[1].take(l.Grant("n1", nodes[1].ask(1000*second, now), members, now), now)
	l.Grant("n0", nodes[0].ask(second, now), members, now) // it is to hold less, and never hears of it
	nodes[1].take(l.Grant("n1", nodes[1].ask(1000*second, now), members, now), now)
	if sum := held(nodes, now); sum > leased {
		t.Errorf("the nodes hold %d of %d", sum, leased)
	}
}

// rounds has each node tell its demand so many times, half a second apart.
func rounds(l leader, nodes []*node, members []string, demand []uint64, count int, now *time.Time) {
	for range count {
		*now = now.Add(500 * time.Millisecond)
		l.Lead(l.term, *now)
		for i, n := range nodes {
			n.take(l.Grant(n.id, n.ask(demand[i]*second, *now), members, *now), *now)
		}
	}
}

// L2
func TestSharesFollowTheDemand(t *testing.T) {
	nodes, members := cluster(4)
	l, now := elect(1, start), start
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

// L2: who asks for little leaves the others theirs, and who asks for nearly all has all.
func TestLittleDemandLeavesRoom(t *testing.T) {
	for _, c := range []struct {
		demand      uint64 // of a rate of 1000
		least, most float64
	}{{1, 0.33, 0.34}, {300, 0.54, 0.57}, {600, 0.77, 0.79}, {900, 1, 1}, {5000, 1, 1}} {
		nodes, members := cluster(3)
		l, now := elect(1, start), start
		rounds(l, nodes, members, []uint64{0, 0, 0}, 1, &now)
		ask := func(n *node, demand uint64) float64 {
			r := n.ask(demand*second, now)
			r.Asks[0].Rate = 1000 * second
			n.take(l.Grant(n.id, r, members, now), now)
			return float64(n.held) / leased
		}
		if got := ask(nodes[0], c.demand); got < c.least || got > c.most {
			t.Errorf("who asks for %d of 1000 is granted %.2f of it", c.demand, got)
		}
		if got := ask(nodes[1], 1); c.demand == 1 && got < 0.33 {
			t.Errorf("another is granted %.2f", got)
		}
	}
}

// L2: shares do not move for what the demand goes up and down by anyway.
func TestSharesRest(t *testing.T) {
	nodes, members := cluster(2)
	l, now := elect(1, start), start
	rounds(l, nodes, members, []uint64{100, 100}, 4, &now)
	before := nodes[0].held
	if rounds(l, nodes, members, []uint64{97, 103}, 1, &now); nodes[0].held != before {
		t.Errorf("%d moved to %d", before, nodes[0].held)
	}
	if rounds(l, nodes, members, []uint64{80, 120}, 1, &now); nodes[0].held == before {
		t.Errorf("%d stayed", before)
	}
}

// L2
func TestSameReportsSameShares(t *testing.T) {
	run := func() string {
		nodes, members := cluster(5)
		l, now, said := elect(1, start), start, ""
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
	l, now := elect(1, start), start
	rounds(l, nodes, members, []uint64{1000, 0}, 2, &now)
	taken := now
	if nodes[0].held != leased {
		t.Fatalf("alone with its demand a node has %d of %d", nodes[0].held, leased)
	}
	grant := func(after time.Duration) uint32 {
		at := taken.Add(after)
		l.Lead(1, at)
		nodes[1].take(l.Grant("n1", nodes[1].ask(second, at), members, at), at)
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
	l, now := elect(1, start), start
	rounds(l, nodes, members, []uint64{10, 10}, 3, &now)
	before := nodes[0].held
	next := elect(2, now)
	nodes[0].term, nodes[1].term = 2, 2
	nodes[1].number++
	next.Grant("n1", limit.Report{Number: nodes[1].number, Term: 2, Asks: []limit.Ask{{Key: "another"}}}, members, now) // not all
	nodes[0].take(next.Grant("n0", nodes[0].ask(1000*second, now), members, now), now)
	nodes[0].take(next.Grant("n0", nodes[0].ask(1000*second, now), members, now), now)
	if nodes[0].held != before {
		t.Fatalf("a new leader gave %d to who held %d, before it knew what others hold", nodes[0].held, before)
	}
	nodes[1].take(next.Grant("n1", nodes[1].ask(10*second, now), members, now), now) // gives some up
	now = now.Add(time.Millisecond)
	nodes[1].take(next.Grant("n1", nodes[1].ask(10*second, now), members, now), now) // and says so
	nodes[0].take(next.Grant("n0", nodes[0].ask(1000*second, now), members, now), now)
	if nodes[0].held <= before {
		t.Errorf("when all have told, %d of %d is held", nodes[0].held, leased)
	}
}

// L4
func TestBurstHasRested(t *testing.T) {
	nodes, members := cluster(2)
	l, now := elect(1, start), start
	grant := func(i int, demand uint64) limit.Grant {
		l.Lead(1, now)
		a := l.Grant(nodes[i].id, nodes[i].ask(demand, now), members, now)
		nodes[i].take(a, now)
		return a.Grants[0]
	}
	grant(0, 0)
	if grant(1, 0); grant(0, second).Full { // nobody holds anything now, but for who was there before
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
	l, now := elect(1, start), start
	for i := range 1000 {
		l.Grant("n0", limit.Report{Number: uint64(i + 1), Term: 1, Asks: []limit.Ask{{Key: fmt.Sprint(i), Demand: second, Refill: 2000}}}, []string{"n0"}, now)
	}
	if n := l.Keys(); n != 1000 {
		t.Fatalf("%d of 1000 are known", n)
	}
	now = now.Add(limit.LeaseMillis*time.Millisecond*2 + 5*time.Second)
	l.Lead(1, now)
	l.Grant("n0", limit.Report{Number: 5000, Term: 1}, []string{"n0"}, now)
	if n := l.Keys(); n != 0 {
		t.Errorf("%d are still known", n)
	}
}

// L5
func TestLeasesAreBounded(t *testing.T) {
	l := elect(1, start)
	grant := func(n int, key string) limit.Grant {
		a := l.Grant("n0", limit.Report{Number: uint64(n), Term: 1, Last: true, Asks: []limit.Ask{{Key: key, Demand: second}}}, []string{"n0"}, start)
		return a.Grants[0]
	}
	grant(1, "k")
	for i := range lease.MaxKeys / limit.MaxAsks {
		r := limit.Report{Number: uint64(i + 2), Term: 1}
		for j := range limit.MaxAsks {
			r.Asks = append(r.Asks, limit.Ask{Key: fmt.Sprint(i, j), Demand: second})
		}
		l.Grant("n0", r, []string{"n0"}, start)
	}
	if n := l.Keys(); n != lease.MaxKeys {
		t.Errorf("%d are leased, of at most %d", n, lease.MaxKeys)
	}
	if g := grant(1<<20, "one more"); g != (limit.Grant{}) {
		t.Errorf("%+v was granted beyond that", g)
	}
	if g := grant(1<<20+1, "k"); g.Share != leased {
		t.Errorf("%+v was granted of what is leased", g)
	}
}
