package measure

// Scale is the section on how cost grows.
type Scale struct {
	Curves []Curve `json:"curves"`
}

// Curve is how one cost grows with one amount.
type Curve struct {
	Of   string `json:"of"`   // what grows
	Cost string `json:"cost"` // what it costs
	Unit string `json:"unit"`
	X    []float64
	Y    []float64
	// Slope is the power by which the cost grows with the amount: 1 is in proportion, 0 not at all.
	Slope float64 `json:"slope"`
	Note  string  `json:"note"`
}
