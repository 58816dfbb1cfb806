package report

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"veto/bench/side/measure"
)

// shown are the systems in the picture of validations, in the order of the legend, each with its place in the
// series of colours.
func shown() []struct {
	name   string
	colour int
	floor  bool
} {
	return []struct {
		name   string
		colour int
		floor  bool
	}{
		{"empty-fasthttp", 7, true},
		{"veto-warm", 0, false},
		{"empty", 7, true},
		{"veto-cold", 1, false},
		{"introspection", 6, false},
		{"golang-jwt-cached", 4, false},
		{"golang-jwt-etcd", 2, false},
		{"golang-jwt-redis", 3, false},
		{"jwx-redis", 5, false},
	}
}

// latencies draws the p99 of the open loop against the rate.
func latencies(t theme, v *measure.Validate) ([]byte, error) {
	p := t.canvas("Latency against throughput, one core each", "validations a second", "99 of 100 are answered within")
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = decades(count), decades(micros)
	p.Add(t.lines())
	low, high, right := math.Inf(1), 0.0, 0.0
	for _, s := range shown() {
		i := slices.IndexFunc(v.Systems, func(m measure.Measure) bool { return m.Name == s.name })
		if i < 0 {
			continue
		}
		var at plotter.XYs
		for _, o := range v.Systems[i].Open {
			y := float64(max(o.Latency.P99, 1))
			at = append(at, plotter.XY{X: o.Wanted, Y: y})
			low, high, right = min(low, y), max(high, y), max(right, o.Wanted)
		}
		if len(at) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(at)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = t.series[s.colour], vg.Points(1.8)
		points.Color, points.Shape, points.Radius = t.series[s.colour], draw.CircleGlyph{}, vg.Points(2.6)
		if s.floor {
			line.Dashes, line.Width = []vg.Length{vg.Points(4), vg.Points(3)}, vg.Points(1.2)
		}
		if s.colour == 0 {
			line.Width = vg.Points(3)
		}
		p.Add(line, points)
		p.Legend.Add(" "+v.Systems[i].Title, line)
	}
	p.Y.Min, p.Y.Max = low*0.7, high*1.5
	// The legend stands beside the curves.
	p.X.Max = right * 1.2
	return t.beside(p, 250, "Latency against throughput: how long 99 of 100 validations take at rising rates, Veto beside what else people build")
}

// bar is a line of a picture of bars.
type bar struct {
	title string
	value float64
	veto  bool
	floor bool
}

// bars draws values as bars, the largest on top, each with its number.
func bars(t theme, title, unit string, all []bar, words string) ([]byte, error) {
	slices.SortStableFunc(all, func(a, b bar) int { return int(math.Copysign(1, a.value-b.value)) })
	p := t.canvas(title, unit, "")
	p.X.Tick.Marker = plot.TickerFunc(func(low, high float64) (ticks []plot.Tick) {
		for _, k := range (plot.DefaultTicks{}).Ticks(low, high) {
			if k.Label != "" {
				k.Label = count(k.Value)
			}
			ticks = append(ticks, k)
		}
		return ticks
	})
	var names []string
	top := 0.0
	for i, b := range all {
		names = append(names, b.title)
		one, err := plotter.NewBarChart(plotter.Values{b.value}, vg.Points(17))
		if err != nil {
			return nil, err
		}
		one.Horizontal, one.XMin, one.LineStyle.Width = true, float64(i), 0
		one.Color = t.series[7]
		switch {
		case b.veto:
			one.Color = t.series[0]
		case b.floor:
			one.Color = color.Transparent
			one.LineStyle.Width, one.LineStyle.Color = vg.Points(1.2), t.series[7]
		}
		label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: b.value, Y: float64(i)}}, Labels: []string{count(b.value)}})
		if err != nil {
			return nil, err
		}
		label.Offset.X = vg.Points(6)
		label.TextStyle[0] = sans(plain, t.ink)
		label.TextStyle[0].YAlign = draw.YCenter
		p.Add(one, label)
		top = max(top, b.value)
	}
	p.X.Min, p.X.Max = 0, top*1.12
	p.NominalY(names...)
	p.Y.Tick.Label.Color = t.ink
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	return t.svg(p, width, 80+30*float64(len(all)), words)
}

// denials draws when half, and 99 of 100, were denied on all nodes: a line for each, by the delay between them.
func denials(t theme, d *measure.Denial) ([]byte, error) {
	p := t.canvas("From a revocation's request to its denial on every node", "time, from the median to the 99th of 100", "")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades(micros)
	lines := t.lines()
	lines.Horizontal.Width = 0
	p.Add(lines)
	var names []string
	low, high := math.Inf(1), 0.0
	row := 0
	for i := len(d.Systems) - 1; i >= 0; i-- {
		s := d.Systems[i]
		names = append(names, s.Title)
		for k, at := range s.At {
			y := float64(row) + 0.18*(float64(len(s.At)-1)/2-float64(k))
			c := t.series[7]
			if s.Veto {
				c = t.series[0]
			}
			line, points, err := plotter.NewLinePoints(plotter.XYs{{X: at.P50, Y: y}, {X: max(at.P99, at.P50*1.001), Y: y}})
			if err != nil {
				return nil, err
			}
			line.Color, line.Width = c, vg.Points(3)
			points.Color, points.Shape, points.Radius = c, draw.CircleGlyph{}, vg.Points(3.4)
			where := "in one place"
			if at.DelayMS > 0 {
				where = short(at.DelayMS) + " ms apart"
			}
			label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: max(at.P99, at.P50), Y: y}}, Labels: []string{where}})
			if err != nil {
				return nil, err
			}
			label.Offset.X = vg.Points(8)
			label.TextStyle[0] = sans(9.5, t.faint)
			label.TextStyle[0].YAlign = draw.YCenter
			p.Add(line, points, label)
			low, high = min(low, at.P50), max(high, at.P99)
		}
		row++
	}
	p.X.Min, p.X.Max = low*0.6, high*4
	p.Y.Min, p.Y.Max = -0.5, float64(row)-0.5
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.5, float64(row)-0.5
	p.Y.Tick.Label.Color = t.ink
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	return t.svg(p, width, 90+70*float64(row), "Time from a revocation's request to its denial on every node, by the delay between regions, Veto beside what else people build")
}
