package validate

import "time"

// Finding is one check of a credential, as explain tells it.
type Finding struct {
	// Check names it, Result is pass, fail or skip: that it could not be made.
	Check  string `json:"check"`
	Result string `json:"result"`
	// Code is that of a check that failed.
	Code Code `json:"code,omitempty"`
	// Detail says for people what was looked at. It never holds the credential.
	Detail string `json:"detail,omitempty"`
}

// Trail takes down every check in its order. A nil Trail takes down nothing.
type Trail struct {
	Checks []Finding
	// MaxStaleness is that of the issuer whom the credential names, also of one that is refused.
	MaxStaleness time.Duration
}

// Tell takes down the outcome of a check.
func (t *Trail) Tell(check string, code Code, detail string) {
	if t == nil {
		return
	}
	c := Finding{Check: check, Result: "pass", Detail: detail}
	if code != OK {
		c.Result, c.Code = "fail", code
	}
	t.Checks = append(t.Checks, c)
}

// Skip takes down that a check could not be made.
func (t *Trail) Skip(check string) {
	if t != nil {
		t.Checks = append(t.Checks, Finding{Check: check, Result: "skip"})
	}
}
