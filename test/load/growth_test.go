package load

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// series is what was measured of one thing at even intervals.
type series []float64

// allowed is how much a thing may be more at the end than in the middle: a part of it, and an amount, whichever is more.
type allowed struct{ part, amount float64 }

// grows tells by how much the second half of the series rises from its begin to its end, by the line that fits the least of
// each few measurements best: what goes up and down by itself is at rest in its lowest points. The first half is left
// out, as everything is being filled.
func (s series) grows(a allowed) (by float64, too bool) {
	rest := s[len(s)/2:]
	few := max(len(rest)/8, 1)
	var low series
	for some := range slices.Chunk(rest, few) {
		low = append(low, slices.Min(some))
	}
	var x, y, xy, xx float64
	n := float64(len(low))
	for i, v := range low {
		x, y, xy, xx = x+float64(i), y+v, xy+float64(i)*v, xx+float64(i*i)
	}
	by = (n*xy - x*y) / (n*xx - x*x) * (n - 1)
	return by, by > max(a.part*y/n, a.amount)
}

// S2
func TestGrowthIsSeen(t *testing.T) {
	series := func(value func(i int) float64) (s series) {
		for i := range 400 {
			s = append(s, value(i))
		}
		return s
	}
	for name, c := range map[string]struct {
		value func(i int) float64
		too   bool
	}{
		"the same":                    {func(int) float64 { return 1000 }, false},
		"up and down":                 {func(i int) float64 { return 1000 + 500*float64(i%7) }, false},
		"filled at first":             {func(i int) float64 { return 10 * float64(min(i, 150)) }, false},
		"less":                        {func(i int) float64 { return 1000 - float64(i) }, false},
		"a little":                    {func(i int) float64 { return 1000 + 0.1*float64(i) }, false},
		"without an end":              {func(i int) float64 { return 1000 + 2*float64(i) }, true},
		"without an end, up and down": {func(i int) float64 { return 1000 + 2*float64(i) + 500*float64(i%7) }, true},
		"doubled late":                {func(i int) float64 { return 1000 * float64(1+i/300) }, true},
	} {
		if by, too := series(c.value).grows(allowed{0.1, 50}); too != c.too {
			t.Errorf("%s: grew by %.0f, too much: %t", name, by, too)
		}
	}
}

// shape shows nine of the measurements, from the first to the last.
func (s series) shape() string {
	var all []string
	for i := range 9 {
		all = append(all, human(s[i*(len(s)-1)/8]))
	}
	return strings.Join(all, ", ")
}

// human writes a number that may be of bytes.
func human(v float64) string {
	if v > 1<<20 || v < -(1<<20) {
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	}
	return fmt.Sprintf("%.0f", v)
}
