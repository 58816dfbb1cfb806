package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"veto/node/httpapi"
	"veto/record"
	"veto/record/limit"
)

// body is the JSON of POST /v1/validate.
type body struct {
	Credential  string
	given       bool // the credential is there, be it empty
	Audience    string
	Scopes      []string
	MinRevision record.Revision
	// MaxStaleness is zero if the question sets none.
	MaxStaleness time.Duration
	Explain      bool
	// Cost is 1 if the question says nothing of it.
	Cost uint32
}

const (
	// MaxScopes is how many scopes a question may ask for.
	MaxScopes = 100
	// maxNamed is how long a name may be to be repeated in an answer: shorter than any
	// credential, as one may stand where a name should.
	maxNamed = 32
)

// readBody reads the JSON strictly: one object, exact names, none twice, no null. Errors name
// the member, never its value. The standard library says whether it is JSON; what it would let
// pass or guess at is why the members are walked here.
func readBody(raw []byte) (body, *httpapi.Problem) {
	value, problem := readJSON(raw)
	if problem != nil {
		return body{}, problem
	}
	return readQuestion(value)
}

// readJSON cuts off the space before the value; after it there may be some.
func readJSON(raw []byte) ([]byte, *httpapi.Problem) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, bad("the body is not JSON")
	}
	return bytes.TrimLeft(raw, space), nil
}

// readQuestion reads one question out of a value that is JSON.
func readQuestion(raw []byte) (body, *httpapi.Problem) {
	var b body
	m := members{rest: raw}
	if m.rest[0] != '{' {
		return body{}, bad("a question must be a JSON object")
	}
	var seen [len(fields)]bool
	for m.next() {
		name, _ := text(m.name)
		i := slices.Index(fields[:], name)
		if i < 0 {
			return body{}, bad("there is no field " + called(name) + "; the fields are " + strings.Join(fields[:], ", "))
		}
		if seen[i] {
			return body{}, bad(called(name) + " is there twice")
		}
		seen[i] = true
		if kind, ok := b.read(name, m.value); !ok {
			return body{}, bad(name + " must be " + kind)
		}
	}
	if len(b.Scopes) > MaxScopes {
		return body{}, bad(fmt.Sprintf("at most %d scopes", MaxScopes))
	}
	return b, nil
}

var fields = [...]string{"credential", "audience", "scopes", "min_revision", "max_staleness", "explain", "cost"}

// read reads the value of a member, and says what it must be. Null is none of that: that no
// audience is wanted must not come of a variable that was never set.
func (b *body) read(name string, value []byte) (kind string, ok bool) {
	switch name {
	case "credential":
		b.Credential, ok = text(value)
		b.given = true
		return "a string", ok
	case "audience":
		b.Audience, ok = text(value)
		return "a string that is not empty: leave it out if none is wanted", ok && b.Audience != ""
	case "scopes":
		b.Scopes, ok = texts(value)
		return "a list of strings", ok
	case "max_staleness":
		b.MaxStaleness, ok = duration(value)
		return `a duration above zero in quotes, such as "5s"`, ok
	case "cost":
		v, err := strconv.ParseUint(string(value), 10, 32)
		b.Cost = uint32(v)
		return fmt.Sprintf("a whole number from 1 to %d", limit.MaxCost), err == nil && v >= 1 && v <= limit.MaxCost
	case "explain":
		b.Explain = string(value) == "true"
		return "true or false", b.Explain || string(value) == "false"
	}
	v, err := strconv.ParseUint(string(value), 10, 64)
	b.MinRevision = record.Revision(v)
	return "a whole number", err == nil
}

// text reads a JSON string.
func text(value []byte) (string, bool) {
	if value[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil && !brokenText(value, s)
}

// brokenText tells whether half a surrogate pair was read as U+FFFD: that would be another text
// than was sent.
func brokenText(value []byte, s string) bool {
	const replacement = "\uFFFD"
	return strings.Contains(s, replacement) && !bytes.Contains(value, []byte(replacement)) &&
		!bytes.Contains(bytes.ToLower(value), []byte(`\ufffd`))
}

// duration reads a JSON string such as "1m30s". One without a sign: of what is not above zero
// nobody could say what is meant.
func duration(value []byte) (time.Duration, bool) {
	s, ok := text(value)
	if !ok || s == "" || s[0] == '+' {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d > 0
}

// texts reads a JSON array of strings.
func texts(value []byte) ([]string, bool) {
	if value[0] != '[' {
		return nil, false
	}
	out := []string{}
	for list := (elements{rest: value}); list.next(); {
		s, ok := text(list.value)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
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
