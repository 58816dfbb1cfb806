package measure

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// median is the middle of them; 0 if there are none.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	mid := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[mid-1] + sorted[mid]) / 2
	}
	return sorted[mid]
}

// Median is the middle of them; 0 if there are none.
func Median(all []float64) float64 { return median(all) }

// Spread is how far the furthest lies from the median, as a share of it.
func Spread(all []float64) float64 {
	mid, far := median(all), 0.0
	for _, v := range all {
		far = max(far, math.Abs(v-mid))
	}
	if mid == 0 {
		return 0
	}
	return far / mid
}

// Slope is by what power y grows with x: 1 where twice as many cost twice as much, 0 where they cost the same. It is
// fitted to the logarithms, by least squares.
func Slope(x, y []float64) float64 {
	var lx, ly []float64
	for i := range x {
		if x[i] > 0 && y[i] > 0 {
			lx, ly = append(lx, math.Log(x[i])), append(ly, math.Log(y[i]))
		}
	}
	if len(lx) < 2 {
		return math.NaN()
	}
	_, slope := stat.LinearRegression(lx, ly, nil, false)
	return slope
}

// Each is what one more of x adds to y, by a straight line through all points, by least squares.
func Each(x, y []float64) float64 {
	if len(x) < 2 {
		return math.NaN()
	}
	_, slope := stat.LinearRegression(x, y, nil, false)
	return slope
}
