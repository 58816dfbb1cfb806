package report

import (
	"fmt"
	"strings"

	"veto/bench/side/measure"
)

func (p *page) denial(part *Part[measure.Denial]) {
	d := part.Found
	p.line("## From a revocation's request to its denial on every node\n")
	p.run(part.Run)
	p.picture("denial", "Time to denial")
	head := []string{"system", "one way between nodes", "Veto is quicker by", "p50", "p99", "longest", "revocations"}
	p.head(head...)
	var veto []measure.DeniedAt
	for _, s := range d.Systems {
		if s.Veto {
			veto = s.At
		}
	}
	for _, s := range d.Systems {
		for _, at := range s.At {
			quicker := ""
			for _, v := range veto {
				if v.DelayMS == at.DelayMS {
					quicker = ratio([]float64{at.P50}, []float64{v.P50})
				}
			}
			p.row(s.Title, short(at.DelayMS)+" ms", quicker, micros(at.P50), micros(at.P99), micros(at.Max), fmt.Sprint(at.Count))
		}
	}
	p.line("\nThree nodes, of three regions, with a relay for each way between them. Revoked in turn at each, by HTTP, and each node\nis asked all the time, every 0.1 ms, about the token, by HTTP: what is told is up to as much too long, for all alike.\n")
	p.head("while the leader is gone", "denied on all that are left after")
	for _, s := range d.Systems {
		switch {
		case s.LeaderLostMS > 0:
			p.row(s.Title, micros(s.LeaderLostMS*1000))
		case s.LeaderLostMS < 0:
			p.row(s.Title, "not within the limit")
		}
	}
	p.line("")
	for _, s := range d.Systems {
		p.line("- **%s**: %s", s.Title, s.About)
	}
	p.line("")
}

// pairs are systems that were measured in both sections: for validations, and for denials.
func pairs() [][2]string {
	return [][2]string{{"veto-warm", "veto"}, {"golang-jwt-cached", "cached"}, {"golang-jwt-etcd", "etcd"}}
}

// both shows that to be fast and to be fresh are two things.
func (p *page) both(v measure.Validate, d measure.Denial) {
	p.line("## Fast and fresh\n")
	p.head("system", "processor a request", "answers a second", "a revoked token is still allowed for")
	for _, pair := range pairs() {
		for _, s := range v.Systems {
			for _, denied := range d.Systems {
				if s.Name == pair[0] && denied.Name == pair[1] && len(denied.At) > 0 {
					p.row(s.Title, micros(measure.Median(s.CPU)), count(measure.Median(s.Rates)), micros(denied.At[0].P50)+", p99 "+micros(denied.At[0].P99))
				}
			}
		}
	}
	for _, s := range v.Systems {
		if strings.HasSuffix(s.Name, "-redis") || s.Name == "introspection" || s.Name == "opa" {
			p.row(s.Title, micros(measure.Median(s.CPU)+measure.Median(s.StoreCPU)), count(measure.Median(s.Rates)), "no longer than it takes to tell the one that is asked")
		}
	}
	p.line("\nAll in one place. Who asks one store for each request is fresh at once, and depends on it for each request; in another region each\nrequest goes there and back.\n")
}

func (p *page) revoke(part *Part[measure.Revoke]) {
	p.line("## Committing revocations\n")
	p.run(part.Run)
	p.head("system", "writers", "Veto commits", "and takes of the processor", "a second", "spread", "p50", "p99", "processor each")
	var veto *measure.Revoked
	for i, s := range part.Found.Systems {
		if s.Name == "veto" {
			veto = &part.Found.Systems[i]
		}
	}
	for _, s := range part.Found.Systems {
		for i, at := range s.At {
			times, takes := "", ""
			if veto != nil && i < len(veto.At) {
				times, takes = ratio(veto.At[i].Rates, at.Rates), ratio(veto.At[i].CPU, at.CPU)
			}
			p.row(s.Title, fmt.Sprint(at.Writers), times, takes, count(measure.Median(at.Rates)), fmt.Sprintf("%.0f %%", 100*measure.Spread(at.Rates)),
				micros(at.P50), micros(at.P99), micros(measure.Median(at.CPU)))
		}
		if len(s.Bulk) > 0 {
			times := ""
			if veto != nil {
				times = ratio(veto.Bulk, s.Bulk)
			}
			p.row(s.Title, "many at once", times, "", count(measure.Median(s.Bulk)), fmt.Sprintf("%.0f %%", 100*measure.Spread(s.Bulk)), "", "", "")
		}
	}
	p.line("\nEverything, the writers too, shares all cores and one disk. The processor time is that of all processes that commit, without who asks.\n")
	for _, s := range part.Found.Systems {
		p.line("- **%s**: %s When a machine stops it loses %s.", s.Title, s.About, s.Loses)
	}
	p.line("")
}

func (p *page) scale(part *Part[measure.Scale]) {
	p.line("## How cost grows\n")
	p.run(part.Run)
	p.head("what grows", "cost", "grows by the power", "1,000 more add", "from", "to", "measured")
	for _, c := range part.Found.Curves {
		if len(c.X) == 0 {
			continue
		}
		last := len(c.X) - 1
		var all string
		for i := range c.X {
			if i > 0 {
				all += ", "
			}
			all += count(c.X[i]) + ": " + short(c.Y[i])
		}
		slope, each := "too few points", ""
		if c.Slope != nil {
			slope = fmt.Sprintf("%.2f", *c.Slope)
		}
		if c.Each != nil {
			each = fmt.Sprintf("%.2g %s", 1000**c.Each, c.Unit)
		}
		p.row(c.Of, c.Cost, slope, each, short(c.Y[0])+" "+c.Unit, short(c.Y[last])+" "+c.Unit, all)
	}
	p.line("\nA power of 1 is a cost in proportion, 0 one that does not grow; fitted to the logarithms, by least squares. What\n1,000 more add is a straight line through the same points, and says more where most of a cost is there with none.\n")
	for _, c := range part.Found.Curves {
		if c.Note != "" {
			p.line("- **%s, %s**: %s", c.Of, c.Cost, c.Note)
		}
	}
	p.line("\nWhat this comes to beyond one machine is in [SCALE.md](../SCALE.md).\n")
}

func (p *page) inside(part *Part[measure.Inside]) {
	p.line("## Inside a process, without HTTP\n")
	p.run(part.Run)
	p.head("check", "algorithm", "times the bare signature", "best", "allocations")
	for _, c := range part.Found.Checks {
		floor, allocs := "", ""
		if c.Floor > 0 {
			floor = fmt.Sprintf("%.2f x", c.Floor)
		}
		if c.Allocs >= 0 {
			allocs = short(c.Allocs)
		}
		p.row(c.What, c.Alg, floor, micros(c.Nanos/1000), allocs)
	}
	p.line("\nThe bare signature is checked by Go's standard library, hash included, in turns with each. The libraries only verify the\ntoken and its claims; Veto looks up its revocation and its own freshness as well.\n")
}
