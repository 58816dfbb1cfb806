//go:build faults

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"
)

// aim says which nodes a harm befalls.
type aim int

const (
	nobody aim = iota
	oneNode
	theLeader // whoever it is then: the plan does not say
	aMinority
	theReplicas
	half
	everyNode // in an order by the seed
)

// blow is one harm of a plan.
type blow struct {
	harm harm
	at   []int // empty for the leader
	size int
}

func (b blow) String() string {
	text := b.harm.name
	if b.harm.size != nil {
		text += fmt.Sprintf(" %d", b.size)
	}
	if strings.HasPrefix(text, "an issuer lies") {
		text = "an issuer lies: " + lies[b.size].name
	}
	if b.harm.aim != theLeader && len(b.at) > 0 {
		text += ":"
		for _, i := range b.at {
			text += " " + id(i)
		}
	}
	return text
}

// step is one or two blows at once, how long they last, and the peace after them.
type step struct {
	blows       []blow
	lasts, rest time.Duration
}

func (s step) String() string {
	var names []string
	for _, b := range s.blows {
		names = append(names, b.String())
	}
	return fmt.Sprintf("%s, for %s, then %s", strings.Join(names, "; and "), s.lasts, s.rest)
}

// newPlan is what will happen, by the seed alone: every kind in turn, in an order that is drawn anew
// when all have been.
func newPlan(random *rand.Rand, kinds []harm, voters, nodes int, long time.Duration) []step {
	var plan []step
	var left []harm
	draw := func() blow {
		if len(left) == 0 {
			left = slices.Clone(kinds)
			random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		}
		h := left[0]
		left = left[1:]
		b := blow{harm: h, at: h.aim.nodes(random, voters, nodes)}
		if h.size != nil {
			b.size = h.size(random)
		}
		return b
	}
	for total := time.Duration(0); total < long; {
		s := step{blows: []blow{draw()}, lasts: lasting(random), rest: lasting(random) / 2}
		if random.IntN(4) == 0 && len(kinds) > 1 {
			if also := draw(); !clockOf(also) || !clockOf(s.blows[0]) { // never those of a majority
				s.blows = append(s.blows, also)
			}
		}
		plan = append(plan, s)
		total += s.lasts + s.rest
	}
	return plan
}

func clockOf(b blow) bool { return strings.Contains(b.harm.name, "clock") }

// lasting is mostly a moment, and now and then longer than anyone waits for an answer.
func lasting(random *rand.Rand) time.Duration {
	if random.IntN(5) == 0 {
		return 8 * time.Second
	}
	return time.Duration(500+random.IntN(2500)) * time.Millisecond
}

func (a aim) nodes(random *rand.Rand, voters, nodes int) []int {
	order := random.Perm(nodes)
	switch a {
	case oneNode:
		return order[:1]
	case aMinority:
		return random.Perm(voters)[:(voters-1)/2]
	case half:
		return order[:nodes/2]
	case everyNode:
		return order
	case theReplicas:
		var all []int
		for i := voters; i < nodes; i++ {
			all = append(all, i)
		}
		return all
	}
	return nil
}

// nemesis carries out a plan.
type nemesis struct {
	*cluster
	began time.Time
	done  map[string]int

	sickened []death // disks that were broken, and when: who has such may end of it
}

// wait lets harm last: time itself is what is waited for.
func (n *nemesis) wait(d time.Duration) { <-time.After(d) }

func (n *nemesis) run(plan []step) {
	for _, s := range plan {
		var mends []func()
		for _, b := range s.blows {
			at := b.at
			if b.harm.aim == theLeader {
				at = []int{max(n.leader(), 0)}
			}
			n.t.Logf("%12s: %s%s", time.Since(n.began).Round(time.Millisecond), b, n.named(b, at))
			n.done[b.harm.name]++
			mends = append(mends, b.harm.do(n, at, b.size))
		}
		n.wait(s.lasts)
		for _, mend := range slices.Backward(mends) {
			mend()
		}
		n.wait(s.rest)
	}
	n.heal()
}

func (n *nemesis) named(b blow, at []int) string {
	if b.harm.aim == theLeader {
		return ": " + id(at[0])
	}
	return ""
}

// heal makes all good: what was broken, and nodes that ended of it.
func (n *nemesis) heal() {
	n.net.heal()
	for i := range n.nodes {
		n.net.fast(i)
		n.net.plug(i)
		n.net.unfilter(i, "lossy")
		n.net.unfilter(i, "mute")
		n.proc.signal(i, syscall.SIGCONT)
		n.disks[i].free()
		n.setClock(i, 0)
		n.start(i)
	}
}

// sick notes that the nodes may end by themselves.
func (n *nemesis) sick(at []int) {
	for _, i := range at {
		n.sickened = append(n.sickened, death{i, time.Now()})
	}
}

// crashes are nodes that ended by themselves, with no disk to blame.
func (n *nemesis) crashes() []death {
	n.proc.mu.Lock()
	defer n.proc.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.proc.died), func(d death) bool {
		return slices.ContainsFunc(n.sickened, func(s death) bool {
			return s.node == d.node && d.at.After(s.at) && d.at.Before(s.at.Add(time.Minute))
		})
	})
}

// clocks tells whether one was wrong.
func (n *nemesis) clocks() bool {
	for name := range n.done {
		if strings.Contains(name, "clock") {
			return true
		}
	}
	return false
}

// refetch has some node fetch the issuer's keys now, whatever comes of it.
func (n *nemesis) refetch() {
	for i := range n.nodes {
		go func() {
			ctx, cancel := context.WithTimeout(n.t.Context(), 2*time.Second)
			defer cancel()
			_, _ = n.at(i).RefreshIssuer(ctx, n.fetched.id())
		}()
	}
}
