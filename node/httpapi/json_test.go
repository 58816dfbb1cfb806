package httpapi_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"veto/node/httpapi"
	"veto/record"
)

// H7
func TestReadJSON(t *testing.T) {
	const secret = "veto_op_rJZS5qaEAWmsDtK1nOmRD8maAjcdiH4REdk0"
	type part struct{ At time.Time }
	type whole struct {
		part
		Parts []part
		Count int
		Small uint8
		Text  string
		Is    bool
		Map   map[string]string
		To    record.Target
		For   record.Duration
	}
	for text, want := range map[string]string{
		`{"At":"2026-11-26T01:00:00Z","Parts":[{"At":"2026-11-26T01:00:00.5+01:00"}],"Count":1}`: "",
		`{"At":"2026-11-26T1:00:00Z"}`:      "At: expected",
		`{"At":"2026-11-26T01:00:00,5Z"}`:   "At: expected",
		`{"Parts":[{},{"At":"yesterday"}]}`: "Parts[1].At: expected",
		`{"at":"2026-11-26T01:00:00Z"}`:     "at: unexpected",
		`{"Parts":[{"1":2}]}`:               "Parts[0].1: unexpected",
		`{"Parts":[5]}`:                     "Parts[0]: expected object",
		`{"Parts":{}}`:                      "Parts: expected array",
		`{"Count":"` + secret + `"}`:        "Count: expected integer",
		`{"Count":1.5}`:                     "Count: expected integer",
		`{"Count":1.0}`:                     "Count: expected integer",
		`{"Count":1e999}`:                   "Count: expected integer",
		`{"Small":-1}`:                      "Small: expected integer",
		`{"Small":256}`:                     "Small: number is too large",
		`{"Text":[]}`:                       "Text: expected string",
		`{"Is":"true"}`:                     "Is: expected boolean",
		`{"Map":[]}`:                        "Map: expected object",
		`{"Map":{"a":5}}`:                   "Map.a: expected string",
		`{"To":5}`:                          "To: expected string",
		`{"To":"` + secret + `"}`:           `To: expected value to be one of "jti, token,`,
		`{"For":5}`:                         "For: expected string",
		`{"For":"` + secret + `"}`:          "For: is not",
		`{"At":5}`:                          "At: expected string",
		`{"` + secret + `":5}`:              "unexpected",
		`{"a b":5}`:                         "unexpected",
		`[]`:                                "expected object",
		`{"Count":1,"Count":2}`:             "this is not JSON",
		`{"Count":1}{}`:                     "this is not JSON",
		`{"Count":1`:                        "this is not JSON",
		"{\"At\":\"\xff\"}":                 "this is not JSON",
		`{"Parts":[{"At":"2026-11-26T01:00:00z"}]}`:       "Parts[0].At: expected",
		`{"At":"2026-11-26T01:00:00+25:00"}`:              "At: expected",
		`{"Count":1,"` + strings.Repeat("x", 33) + `":2}`: "unexpected",
	} {
		var into whole
		err := httpapi.ReadJSON([]byte(text), &into)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		var field *httpapi.FieldError
		if problem := (*httpapi.Problem)(nil); err != nil && errors.As(err, &problem) == errors.As(err, &field) {
			t.Errorf("%s: a %T", text, err)
		}
		if err != nil && strings.Contains(err.Error(), secret[8:]) {
			t.Errorf("what was sent is repeated: %v", err)
		}
	}
	if err := httpapi.ReadJSON([]byte(`{"a":{"b":1e999}}`), new(any)); err == nil || err.Error() != "a.b: number is too large" {
		t.Error(err)
	}
}
