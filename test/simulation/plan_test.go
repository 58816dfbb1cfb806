package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"veto/replication/consensus"
)

// plan is all that the seed alone decides of a run, but for what clients do and how late messages are.
type plan struct {
	seed     uint64
	long     time.Duration // how long clients ask and faults come
	timing   consensus.Timing
	exactMax int
	peppers  bool
	clocks   bool  // whether clocks may be wrong
	stale    bool  // whether nodes answer from whatever state they have
	passed   int64 // seconds into an hour at the beginning: revocations are kept by the hour
	steps    []step
}

// step is one fault: it begins at a time, on some node, and lasts.
type step struct {
	at, long time.Duration
	harm     int
	aim      aim
	size     int
}

// aim says whom a step is for. Who leads is known only then.
type aim int

const (
	theLeader aim = -1 // otherwise it is a node's number
	everyone  aim = -2
)

func (a aim) String() string {
	switch a {
	case theLeader:
		return "the leader"
	case everyone:
		return "all"
	}
	return nodeID(int(a))
}

func (s step) String() string {
	h := harms[s.harm]
	size := ""
	if h.size != nil {
		size = fmt.Sprintf(" (%d)", s.size)
	}
	return fmt.Sprintf("%6s for %6s: %s%s: %s", s.at.Round(time.Millisecond), s.long.Round(time.Millisecond), h.name, size, s.aim)
}

func newPlan(seed uint64) plan {
	random := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		seed: seed, long: 8*time.Second + time.Duration(random.Int64N(int64(8*time.Second))),
		exactMax: []int{2, 1 << 20}[random.IntN(2)], peppers: random.IntN(3) == 0, clocks: random.IntN(2) == 0,
		passed: random.Int64N(3600), stale: random.IntN(4) == 0,
	}
	p.timing = raftTiming(time.Duration(300+random.IntN(3000))*time.Millisecond, []uint64{4, 16, 64}[random.IntN(3)], []uint64{1, 8, 32}[random.IntN(3)])
	for at := time.Duration(random.Int64N(int64(time.Second))); at < p.long; at += time.Duration(random.Int64N(int64(2500 * time.Millisecond))) {
		s := step{at: at, long: time.Duration(random.Int64N(int64(4 * time.Second))), harm: random.IntN(len(harms))}
		if p.clocks && random.IntN(3) == 0 {
			s.harm = len(harms) - 1 - random.IntN(4) // those of clocks are the last
		}
		h := harms[s.harm]
		s.aim = aim(random.IntN(nodes))
		switch {
		case h.all:
			s.aim = everyone
		case random.IntN(2) == 0:
			s.aim = theLeader
		}
		if h.size != nil {
			s.size = h.size(random)
		}
		if h.clock && !p.clocks {
			continue
		}
		p.steps = append(p.steps, s)
	}
	return p
}

// harm is one kind of fault. Its do returns what ends it, which is right whatever else has happened.
type harm struct {
	name  string
	all   bool // it is for all nodes
	clock bool
	size  func(*rand.Rand) int
	do    func(s *simulation, at, size int) (mend func())
}

func between(least, most int) func(*rand.Rand) int {
	return func(r *rand.Rand) int { return least + r.IntN(most-least+1) }
}

// clockJumps are seconds to days, forward and back.
func clockJumps(r *rand.Rand) int {
	return []int{2, 200, 3 * 3600, 40 * 3600, 40 * 3600}[r.IntN(5)] * (1 - 2*r.IntN(2))
}

var harms = []harm{
	{name: "the machine falls", do: falling},
	{name: "the machine falls, and is there at once", do: func(s *simulation, at, _ int) func() { s.fall(at); s.revive(at); return func() {} }},
	{name: "stopped and started", do: func(s *simulation, at, _ int) func() { s.stopNode(at); return func() { s.revive(at) } }},
	{name: "a minority falls", all: true, do: func(s *simulation, _, _ int) func() {
		one, replica := s.random.IntN(voters), voters
		s.fall(one)
		s.fall(replica)
		return func() { s.revive(one); s.revive(replica) }
	}},
	{name: "all machines fall", all: true, do: func(s *simulation, _, _ int) func() {
		for i := range nodes {
			s.fall(i)
		}
		return func() {
			for i := range nodes {
				s.revive(i)
			}
		}
	}},
	{name: "cut off", do: func(s *simulation, at, _ int) func() {
		return s.cutting(func(from, to int) bool { return from == at || to == at })
	}},
	{name: "hears nobody", do: func(s *simulation, at, _ int) func() {
		return s.cutting(func(_, to int) bool { return to == at })
	}},
	{name: "nobody hears it", do: func(s *simulation, at, _ int) func() {
		return s.cutting(func(from, _ int) bool { return from == at })
	}},
	{name: "cut off from one other", do: func(s *simulation, at, _ int) func() {
		other := (at + 1) % nodes
		return s.cutting(func(from, to int) bool { return from == at && to == other || from == other && to == at })
	}},
	{name: "all are cut off from each other", all: true, do: func(s *simulation, _, _ int) func() {
		return s.cutting(func(int, int) bool { return true })
	}},
	{name: "cut off, then it falls", do: func(s *simulation, at, _ int) func() {
		heal := s.cutting(func(from, to int) bool { return from == at || to == at })
		s.pause(time.Second)
		s.fall(at)
		s.revive(at)
		s.pause(time.Second)
		return heal
	}},
	{name: "messages are lost, %", all: true, size: between(2, 30), do: func(s *simulation, _, percent int) func() {
		return s.weather(func(w *weather) { w.loss = float64(percent) / 100 }, func(w *weather) { w.loss = 0 })
	}},
	{name: "messages are late, ms", all: true, size: between(10, 600), do: func(s *simulation, _, ms int) func() {
		return s.weather(func(w *weather) { w.slow = time.Duration(ms) * time.Millisecond }, func(w *weather) { w.slow = 0 })
	}},
	{name: "notices, beacons and packets are lost", all: true, do: func(s *simulation, _, _ int) func() {
		return s.weather(func(w *weather) { w.muted = true }, func(w *weather) { w.muted = false })
	}},
	{name: "notices, beacons and packets come twice", all: true, do: func(s *simulation, _, _ int) func() {
		return s.weather(func(w *weather) { w.twice = 0.5 }, func(w *weather) { w.twice = 0 })
	}},
	{name: "the log's disk is slow, ms", size: between(20, 400), do: func(s *simulation, at, ms int) func() {
		s.nodes[at].sync.Store(int64(time.Duration(ms) * time.Millisecond))
		return func() { s.nodes[at].sync.Store(0) }
	}},
	{name: "its clock is wrong, s", clock: true, size: clockJumps, do: misleading},
	{name: "its clock is wrong, s, and it falls", clock: true, size: clockJumps, do: func(s *simulation, at, size int) func() {
		mend := misleading(s, at, size)
		s.pause(time.Second)
		s.fall(at)
		s.revive(at)
		return mend
	}},
	{name: "a clock is wrong, s, and another leader falls", all: true, clock: true, size: clockJumps, do: func(s *simulation, _, size int) func() {
		leader := max(s.leader(), 0)
		mend := misleading(s, (leader+1)%voters, size)
		s.pause(200 * time.Millisecond)
		s.fall(leader)
		s.revive(leader)
		return mend
	}},
	{name: "hours pass, min, and the leader falls", all: true, clock: true, size: between(61, 105), do: func(s *simulation, _, minutes int) func() {
		if s.passed.Load()-s.plan.passed < 120*60 { // more would be longer than tokens live
			s.passed.Add(int64(minutes) * 60)
		}
		s.pause(time.Second)
		at := max(s.leader(), 0) // whoever leads next drops what has expired
		s.fall(at)
		s.revive(at)
		return func() {}
	}},
}

func falling(s *simulation, at, _ int) func() {
	s.fall(at)
	return func() { s.revive(at) }
}

// misleading sets a clock, unless a majority of the voters would then be wrong.
func misleading(s *simulation, at, seconds int) func() {
	for i := range voters {
		if i != at && s.nodes[i].wrong.Load() != 0 && at < voters {
			return func() {}
		}
	}
	s.nodes[at].wrong.Store(int64(seconds))
	return func() { s.nodes[at].wrong.Store(0) }
}

// cutting cuts links. Of overlapping cuts the end of the first heals what both have cut.
func (s *simulation) cutting(f func(from, to int) bool) (heal func()) {
	s.net.change(f, func(w *weather) { w.cut = true })
	return func() { s.net.change(f, func(w *weather) { w.cut = false }) }
}

func (s *simulation) weather(bad, good func(*weather)) (mend func()) {
	all := func(int, int) bool { return true }
	s.net.change(all, bad)
	return func() { s.net.change(all, good) }
}

func (s *simulation) pause(d time.Duration) { <-time.After(d) }

// nemesis carries out the plan, one thing after the other, and then mends all.
func (s *simulation) nemesis() {
	type end struct {
		at   time.Duration
		mend func()
	}
	var ends []end
	until := func(at time.Duration) {
		for len(ends) > 0 && ends[0].at <= at {
			s.pause(max(0, ends[0].at-time.Since(s.began)))
			ends[0].mend()
			ends = ends[1:]
		}
		s.pause(max(0, at-time.Since(s.began)))
	}
	begin := time.Since(s.began)
	for _, step := range s.plan.steps {
		until(begin + step.at)
		at := int(step.aim)
		if step.aim == theLeader {
			at = max(s.leader(), 0)
		}
		s.tally.did(harms[step.harm].name)
		s.tell("%s, at %d", step, at)
		ends = append(ends, end{time.Since(s.began) + step.long, harms[step.harm].do(s, at, step.size)})
		slices.SortStableFunc(ends, func(a, b end) int { return int(a.at - b.at) })
	}
	until(begin + s.plan.long)
	for _, e := range ends {
		e.mend()
	}
	s.heal()
}

// heal mends whatever there is.
func (s *simulation) heal() {
	s.net.change(func(int, int) bool { return true }, func(w *weather) { *w = weather{} })
	for i := range nodes {
		s.nodes[i].wrong.Store(0)
		s.nodes[i].sync.Store(0)
		s.revive(i)
	}
	s.tell("all is mended")
}
