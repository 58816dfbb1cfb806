package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"veto/node/httpapi"
	"veto/record"
)

// body is the JSON of POST /v1/validate.
type body struct {
	Credential  string
	Audience    string
	Scopes      []string
	MinRevision record.Revision
}

const (
	maxScopes = 100
	// maxNamed is how long a name may be to be repeated in an answer: shorter than any
	// credential, as one may stand where a name should.
	maxNamed = 32
)

// readBody reads the JSON strictly: one object, exact names, none twice, no null. Errors name
// the member, never its value.
func readBody(raw []byte) (body, *httpapi.Problem) {
	var b body
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return body{}, bad("the body is not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return body{}, bad("the body must be a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return body{}, bad("the body is not JSON")
		}
		if seen[name] {
			return body{}, bad(called(name) + " is there twice")
		}
		seen[name] = true
		if problem := b.read(name, d); problem != nil {
			return body{}, problem
		}
	}
	if len(b.Scopes) > maxScopes {
		return body{}, bad(fmt.Sprintf("at most %d scopes", maxScopes))
	}
	return b, nil
}

// read reads the value of one member.
func (b *body) read(name string, d *json.Decoder) *httpapi.Problem {
	switch name {
	case "credential":
		return member(d, name, "a string", &b.Credential)
	case "audience":
		return member(d, name, "a string", &b.Audience)
	case "min_revision":
		return member(d, name, "a whole number", &b.MinRevision)
	case "scopes":
		const kind = "a list of strings"
		var scopes []*string
		if problem := member(d, name, kind, &scopes); problem != nil {
			return problem
		}
		for _, s := range scopes {
			if s == nil {
				return bad(name + " must be " + kind)
			}
			b.Scopes = append(b.Scopes, *s)
		}
		return nil
	}
	return bad("there is no field " + called(name) + "; the fields are credential, audience, scopes and min_revision")
}

// member reads a value. Null is refused: that no audience is wanted must not come of a
// variable that was never set.
func member[T any](d *json.Decoder, name, kind string, into *T) *httpapi.Problem {
	var v *T
	if err := d.Decode(&v); err != nil || v == nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return bad("the body is not JSON")
		}
		return bad(name + " must be " + kind)
	}
	*into = *v
	return nil
}

// called repeats a name only if it looks like one.
func called(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '-'
	}
	if len(name) > maxNamed || strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) >= 0 {
		return "of that name"
	}
	return `"` + name + `"`
}

func bad(detail string) *httpapi.Problem {
	const status = http.StatusBadRequest
	return httpapi.New(status, httpapi.CodeOf(status), detail)
}
