package httpapi

import "net/http"

// Check is one of the things that must hold for a node to be ready.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks,omitempty" doc:"With ?verbose: what must hold, and whether it does"`
}

// ReadinessOf sums the checks up, with the status that goes with it.
func ReadinessOf(checks []Check, verbose bool) (Readiness, int) {
	r, status := Readiness{Ready: true}, http.StatusOK
	for _, c := range checks {
		if !c.OK {
			r.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	if verbose {
		r.Checks = checks
	}
	return r, status
}
