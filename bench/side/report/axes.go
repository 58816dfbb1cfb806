package report

import (
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// lines is a grid that does not stand in the foreground.
func (t theme) lines() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = t.grid, t.grid
	g.Vertical.Width, g.Horizontal.Width = vg.Points(0.6), vg.Points(0.6)
	return g
}

// decades marks the powers of ten, and twice and five times these where there are few.
func decades(text func(float64) string) plot.Ticker {
	return plot.TickerFunc(func(low, high float64) (ticks []plot.Tick) {
		low = max(low, 1e-9)
		steps := []float64{1}
		if math.Log10(high/low) < 3.2 {
			steps = []float64{1, 2, 5}
		}
		for p := math.Floor(math.Log10(low)); p <= math.Ceil(math.Log10(high)); p++ {
			for _, s := range steps {
				if v := s * math.Pow(10, p); v >= low && v <= high {
					ticks = append(ticks, plot.Tick{Value: v, Label: text(v)})
				}
			}
		}
		return ticks
	})
}

// count writes a number for people: 1,200 or 85 k.
func count(v float64) string {
	switch {
	case v >= 1e6:
		return short(v/1e6) + " M"
	case v >= 1e4:
		return short(v/1e3) + " k"
	case v >= 1000:
		return fmt.Sprintf("%d,%03d", int(v)/1000, int(v)%1000)
	}
	return short(v)
}

// micros writes microseconds.
func micros(v float64) string {
	switch {
	case v >= 1e6:
		return short(v/1e6) + " s"
	case v >= 1000:
		return short(v/1e3) + " ms"
	}
	return short(v) + " us"
}

// short has three digits that count, and no zeros behind the point.
func short(v float64) string {
	digits := 0
	if v > 0 && v < 100 {
		digits = max(0, min(2, 1-int(math.Floor(math.Log10(v)))))
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		text = strconv.FormatFloat(f, 'f', -1, 64)
	}
	return text
}

// beside draws the plot with room on its right for the legend.
func (t theme) beside(p *plot.Plot, room float64, words string) ([]byte, error) {
	legend := p.Legend
	p.Legend = plot.NewLegend()
	return t.drawn(width, tall, words, func(c draw.Canvas) {
		p.Draw(draw.Crop(c, 0, -vg.Points(room), 0, 0))
		legend.XOffs, legend.YOffs, legend.Left, legend.Top = 0, -vg.Points(40), true, true
		legend.Draw(draw.Crop(c, c.Max.X-c.Min.X-vg.Points(room-14), 0, 0, 0))
	})
}
